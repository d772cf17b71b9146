#!/bin/bash
# interop_cc.sh - our CUBIC and the kernel's, each sending over the same emulated link, in real time
#
# usage: interop_cc.sh HOST_PROGRAM [BYTES [SEEDS]]
# The link is the fault device of our host (the kernel here has no netem): a rate of 10 Mbit/s, a delay, a queue, and loss by
# chance from a seed, both ways. One flow at a time: with ours the kernel receives, with the kernel's we do. Prints
# goodput in percent of the link, the median over the seeds. Fails when a transfer is not whole, or when ours gets less than
# half of what the kernel's gets: the rest is for people to read (docs/performance.md).
# Exit: 0, 1 failed, 77 no namespace or no TAP can be made here.
set -u
host=${1:?usage: interop_cc.sh HOST_PROGRAM [BYTES [SEEDS]]}
bytes=${2:-4000000} seeds=${3:-3}
if [ "${INTEROP_INSIDE:-}" != 1 ]; then
	unshare -n true 2>/dev/null && [ -r /dev/net/tun ] || exit 77
	INTEROP_INSIDE=1 exec unshare -n "$0" "$host" "$bytes" "$seeds"
fi
rate=1250000
patience=300 # seconds for a transfer that takes 3 on the bare link
work=$(mktemp -d)
host_pid=''
trap '[ -z "$host_pid" ] || kill "$host_pid" 2>/dev/null; rm -rf "$work"' EXIT
ip link set lo up

. "$(dirname "$(readlink -f "$0")")/web.sh"

# shellcheck disable=SC2317 # called through "$who"
up() { ip link set zt0 mtu 1500 up && ip addr add 10.9.0.1/24 dev zt0; }

# Each prints the milliseconds of one transfer.
# shellcheck disable=SC2317
ours() { # options of the link
	timeout "$patience" "$host" ksink 9000 0 2>"$work/sink" &
	local sink=$! rc
	await "$work/sink" ready || return 1
	mkfifo "$work/go" && exec 9<>"$work/go" && rm "$work/go"
	timeout "$patience" "$host" "$@" --cc cubic send 10.9.0.1 9000 "$bytes" <&9 >"$work/out" 2>"$work/err" &
	host_pid=$!
	await "$work/err" ready && up && sleep 0.1 && echo go >&9 && wait "$host_pid" && wait "$sink"
	rc=$?
	kill "$host_pid" "$sink" 2>/dev/null
	host_pid=''
	exec 9>&-
	sed -n 's/ ms$//p' "$work/sink"
	return "$rc"
}

# shellcheck disable=SC2317
kernels() { # options of the link
	timeout "$patience" "$host" "$@" serve 2>"$work/err" &
	host_pid=$!
	await "$work/err" ready && up && "$host" pattern "$bytes" >"$work/body" && python3 - "$work/body" "$patience" <<-'EOF'
	import socket, sys, time
	socket.setdefaulttimeout(float(sys.argv[2]))
	body = open(sys.argv[1], 'rb').read()
	s = socket.socket()
	s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b'cubic')
	s.connect(('10.9.0.2', 80))
	begin = time.monotonic()
	s.sendall(b'POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n' % len(body) + body)
	answer = b''
	while True:
	    got = s.recv(4096)
	    if not got: break
	    answer += got
	print(int((time.monotonic() - begin) * 1000))
	sys.exit(not answer.endswith(b'ok\n'))
	EOF
	local rc=$?
	kill "$host_pid" 2>/dev/null
	wait "$host_pid"
	host_pid=''
	return "$rc"
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

failed=0
printf '%-8s %-6s %-8s %6s %6s\n' loss RTT packets ours Linux
for cell in "0 10 50" "0 50 50" "0 50 250" "1000 10 50" "1000 50 50" "10000 10 50" "10000 50 50"; do
	read -r loss rtt packets <<<"$cell"
	link=(--rate "$rate" --queue $((packets * 1514)) --loss "$loss" --delay $((rtt * 500)))
	for who in ours kernels; do
		for seed in $(seq "$seeds"); do
			rm -f "$work/err" "$work/sink" # what an earlier one said is not for this one
			"$who" "${link[@]}" --seed "$seed" || { echo "FAIL $who $cell seed $seed" >&2; cat "$work/err" >&2; echo 999999999; }
		done | median >"$work/$who"
	done
	a=$((bytes * 100000 / rate / $(cat "$work/ours"))) b=$((bytes * 100000 / rate / $(cat "$work/kernels")))
	printf '%-8s %-6s %-8s %6d %6d\n' "$((loss / 10000)).$((loss / 1000 % 10)) %" "$rtt ms" "$packets" "$a" "$b"
	[ $a -gt 0 ] && [ $((a * 2)) -ge "$b" ] || failed=1
done
exit $failed
