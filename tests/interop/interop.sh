#!/bin/bash
# interop.sh - the instance against the kernel's TCP over a TAP, in a network namespace of its own
#
# usage: interop.sh HOST_PROGRAM [quick|soak] [CASE...]
# Exit: 0 all passed, 1 a case failed, 77 no namespace or no TAP can be made here.
set -u

host=${1:?usage: interop.sh HOST_PROGRAM [quick|soak] [CASE...]}
length=${2:-quick}
shift $(($# < 2 ? $# : 2))

if [ "${INTEROP_INSIDE:-}" != 1 ]; then
	unshare -n true 2>/dev/null && [ -r /dev/net/tun ] || exit 77
	INTEROP_INSIDE=1 exec unshare -n "$0" "$host" "$length" "$@"
fi

work=$(mktemp -d)
failed=0
trap 'stop_all; rm -rf "$work"' EXIT
case $length in
soak) bulk=$((1024 * 1024 * 1024)) faulty=$bulk patience=1500 ;;
*) bulk=$((24 * 1024 * 1024)) faulty=$((bulk / 6)) patience=120 ;;
esac
host_pid='' helper_pid=''

stop_all() {
	[ -z "$host_pid" ] || { kill "$host_pid" && wait "$host_pid"; } 2>/dev/null
	[ -z "$helper_pid" ] || { kill "$helper_pid" && wait "$helper_pid"; } 2>/dev/null
	host_pid='' helper_pid=''
}

. "$(dirname "$(readlink -f "$0")")/web.sh"

listens() { # PORT: wait until the kernel has a listener there
	for _ in $(seq 1200); do
		[ -n "$(ss -Hltn "sport = :$1")" ] && return 0
		sleep 0.05
	done
	return 1
}

interface() { # MTU
	sysctl -qw net.ipv6.conf.zt0.accept_dad=0 net.ipv6.conf.zt0.accept_ra=0 2>/dev/null
	ip link set zt0 mtu "$1" up && ip addr add 10.9.0.1/24 dev zt0 &&
		{ [ "$1" -lt 1280 ] || ip addr add fd09::1/64 dev zt0 nodad; }
}

mtu_of() {
	local mtu=1500
	while [ $# -gt 1 ]; do
		[ "$1" = --mtu ] && mtu=$2
		shift
	done
	echo "$mtu"
}

serve() { # options: start the host's web server
	"$host" "$@" serve 2>"$work/host.err" &
	host_pid=$!
	await "$work/host.err" ready && interface "$(mtu_of "$@" x)"
}

client() { # output file, options and command of the host
	local out=$1
	shift
	mkfifo "$work/go.$$" && exec 9<>"$work/go.$$" && rm "$work/go.$$"
	"$host" "$@" <&9 >"$out" 2>"$work/host.err" &
	host_pid=$!
	await "$work/host.err" ready && interface "$(mtu_of "$@" x)" && sleep 0.1 && echo go >&9
	wait "$host_pid"
	local rc=$?
	host_pid=
	exec 9>&-
	[ $rc -eq 0 ] || { cat "$work/host.err"; return 1; }
}

sink() { # SECONDS: the kernel's slow reader
	"$host" ksink 9000 "$1" 2>"$work/sink.err" &
	helper_pid=$!
	await "$work/sink.err" ready
}

sunk() {
	wait "$helper_pid"
	local rc=$?
	helper_pid=
	return $rc
}

send() { # ADDR BYTES SECONDS options: our bytes to the kernel, FIN, its answer back
	local addr=$1 bytes=$2 seconds=$3
	shift 3
	sink "$seconds" && client "$work/answer" "$@" send "$addr" 9000 "$bytes" && sunk &&
		[ "$(cat "$work/answer")" = "$bytes ok" ]
}

faults=(--loss 5000 --dup 2000 --corrupt 2000 --reorder 20000 --delay 500 --jitter 3000)

case_get4() { serve && fetch 10.9.0.2 $bulk && served; }
case_get6() { serve && fetch '[fd09::2]' $bulk -g && served; }
case_get_small() { serve && for n in 0 1 100 1447 1448 1449 65536; do fetch 10.9.0.2 $n || return 1; done && served; }
case_post4() { serve && post 10.9.0.2 $bulk && served; }
case_post6() { serve && post '[fd09::2]' $((bulk / 2)) && served; }
case_get_mtu576() { serve --mtu 576 && fetch 10.9.0.2 $((bulk / 8)) && post 10.9.0.2 $((bulk / 8)) && served; }
case_get_mtu9000() { serve --mtu 9000 && fetch 10.9.0.2 $bulk && post 10.9.0.2 $bulk && served; }
case_no_timestamps() { serve --no-ts && fetch 10.9.0.2 $((bulk / 4)) && post 10.9.0.2 $((bulk / 4)) && served; }
case_no_window_scale() { serve --no-ws && fetch 10.9.0.2 $((bulk / 4)) && post 10.9.0.2 $((bulk / 4)) && served; }
case_no_sack() { serve --no-sack "${faults[@]}" && fetch 10.9.0.2 $((bulk / 24)) && post 10.9.0.2 $((bulk / 24)) && served; }
case_kernel_plain() {
	sysctl -qw net.ipv4.tcp_timestamps=0 net.ipv4.tcp_window_scaling=0 net.ipv4.tcp_sack=0
	serve && fetch 10.9.0.2 $((bulk / 4)) && post 10.9.0.2 $((bulk / 4)) && served
	local rc=$?
	sysctl -qw net.ipv4.tcp_timestamps=1 net.ipv4.tcp_window_scaling=1 net.ipv4.tcp_sack=1
	return $rc
}
case_ecn() {
	sysctl -qw net.ipv4.tcp_ecn=1
	serve && fetch 10.9.0.2 $((bulk / 4)) && served
	local rc=$?
	sysctl -qw net.ipv4.tcp_ecn=2
	return $rc
}
case_faults_get4() { serve "${faults[@]}" && fetch 10.9.0.2 "$faulty" && served; }
case_faults_get6() { serve "${faults[@]}" --seed 2 && fetch '[fd09::2]' "$faulty" -g && served; }
case_faults_post4() { serve "${faults[@]}" --seed 3 && post 10.9.0.2 "$faulty" && served; }
case_faults_reno() { serve "${faults[@]}" --cc reno && fetch 10.9.0.2 $((bulk / 12)) && served; }
case_parallel() {
	serve --loss 2000 || return 1
	local pids=() p
	for i in $(seq 16); do
		curl -sS --max-time 120 "http://10.9.0.2/$((i * 50000))" -o "$work/p$i" & pids+=($!)
	done
	for p in "${pids[@]}"; do wait "$p" || return 1; done
	for i in $(seq 16); do cmp "$work/p$i" <("$host" pattern $((i * 50000))) || return 1; done
	served
}
case_slow_reader() { serve && fetch 10.9.0.2 4000000 --limit-rate 1M && served; }
case_send4() { send 10.9.0.1 $bulk 0; }
case_send6() { send fd09::1 $bulk 0; }
case_zero_window() { send 10.9.0.1 20000000 $([ "$length" = soak ] && echo 60 || echo 4); }
case_send_faults() { send 10.9.0.1 $((bulk / 12)) 0 "${faults[@]}"; }
case_get_from_kernel() {
	mkdir -p "$work/www" && "$host" pattern $bulk >"$work/www/bulk" || return 1
	python3 -m http.server --directory "$work/www" 8000 >"$work/www.log" 2>&1 &
	helper_pid=$!
	listens 8000 && client "$work/got" get 10.9.0.1 8000 /bulk && cmp "$work/got" "$work/www/bulk"
	local rc=$?
	kill $helper_pid; wait $helper_pid 2>/dev/null
	helper_pid=
	return $rc
}
case_refused() {
	! client "$work/out" get 10.9.0.1 7999 / >"$work/log" && grep -q 'Connection refused' "$work/log"
}
echo_ask() { # ADDR BYTES SECONDS [BACK]: one ICMP echo; true when the same bytes, or BACK of them, come back in that time
	python3 - "$1" "$2" "$3" "${4:-$2}" <<-'EOF'
	import os, socket, struct, sys
	v6 = ':' in sys.argv[1]
	s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, 58 if v6 else 1)
	s.settimeout(float(sys.argv[3]))
	body = os.urandom(int(sys.argv[2]))
	m = struct.pack('!BBHHH', 128 if v6 else 8, 0, 0, 77, 1) + body
	if not v6:
	    p = m + bytes(len(m) & 1)
	    c = sum(struct.unpack('!%dH' % (len(p) // 2), p))
	    while c >> 16: c = (c & 0xffff) + (c >> 16)
	    m = m[:2] + struct.pack('!H', ~c & 0xffff) + m[4:]
	s.sendto(m, (sys.argv[1], 0))
	try:
	    while True:
	        r = s.recv(65536)
	        r = r if v6 else r[20:]
	        if r[0] == (129 if v6 else 0): sys.exit(r[8:] != body[:int(sys.argv[4])])
	except socket.timeout:
	    sys.exit(1)
	EOF
}
case_echo() {
	serve && for n in 0 1 3 57 1400 1471; do echo_ask 10.9.0.2 $n 30 && { [ $n -gt 1452 ] || echo_ask fd09::2 $n 30; } || return 1; done && served
}
case_echo_fragments() { # what would have to be sent in fragments comes back cut over IPv4, not at all over IPv6
	serve && echo_ask 10.9.0.2 1472 30 && echo_ask fd09::2 1452 30 && echo_ask 10.9.0.2 1473 30 1472 &&
		echo_ask 10.9.0.2 4000 30 1472 && echo_ask 10.9.0.2 65507 30 1472 && ! echo_ask fd09::2 4000 1 &&
		fetch 10.9.0.2 1000 && served
}
fragmented_syn() { # ADDR: a SYN with 3000 bytes, which the kernel cuts; true when it is answered with SYN and ACK
	python3 - "$1" <<-'EOF'
	import os, socket, struct, sys
	v6 = ':' in sys.argv[1]
	fam = socket.AF_INET6 if v6 else socket.AF_INET
	src = socket.inet_pton(fam, 'fd09::1' if v6 else '10.9.0.1')
	dst = socket.inet_pton(fam, sys.argv[1])
	s = socket.socket(fam, socket.SOCK_RAW, 6)
	s.settimeout(30)
	s.bind(('fd09::1' if v6 else '10.9.0.1', 0))
	port = 20000 + os.getpid() % 10000
	m = struct.pack('!HHIIBBHHH', port, 80, 1000, 0, 0x50, 2, 1000, 0, 0) + os.urandom(3000)
	p = src + dst + (struct.pack('!II', len(m), 6) if v6 else struct.pack('!HH', 6, len(m))) + m
	c = sum(struct.unpack('!%dH' % (len(p) // 2), p))
	while c >> 16: c = (c & 0xffff) + (c >> 16)
	m = m[:16] + struct.pack('!H', ~c & 0xffff) + m[18:]
	s.sendto(m, (sys.argv[1], 0))
	try:
	    while True:
	        r = s.recv(65536)
	        r = r if v6 else r[(r[0] & 15) * 4:]
	        sport, dport, seq, ack, off, flags = struct.unpack('!HHIIBB', r[:14])
	        if (sport, dport) == (80, port): sys.exit(flags & 0x12 != 0x12 or ack != 1001)
	except socket.timeout:
	    sys.exit(1)
	EOF
}
case_fragments() {
	serve && fragmented_syn 10.9.0.2 && fragmented_syn fd09::2 && fetch 10.9.0.2 1000 && served
}
neigh_is() { # ADDR STATE: wait until the kernel says so of the neighbour
	for _ in $(seq 600); do
		ip neigh show "$1" dev zt0 | grep -q "$2" && return 0
		sleep 0.05
	done
	ip neigh show dev zt0
	return 1
}
# The kernel's view of us: asked by all, and by unicast where it has its doubts.
case_neighbour_states() {
	serve || return 1
	local a
	for a in 10.9.0.2 fd09::2; do
		ip neigh flush dev zt0
		echo_ask $a 10 30 && neigh_is $a REACHABLE || return 1
		ip neigh change $a dev zt0 nud probe && neigh_is $a REACHABLE || return 1
		ip neigh change $a dev zt0 nud stale && echo_ask $a 10 30 && neigh_is $a REACHABLE || return 1
	done
	served
}
# The kernel takes another station's address in the middle of a connection, and says nothing of it: we ask, and follow.
case_neighbour_moves() {
	serve || return 1
	local to
	for to in 10.9.0.2 '[fd09::2]'; do
		fetch "$to" 3000000 -g --limit-rate 500K & helper_pid=$!
		sleep 2
		ip link set zt0 address 02:00:00:00:99:"$((RANDOM % 90 + 10))" || return 1
		ip neigh flush dev zt0
		wait $helper_pid || return 1
		helper_pid=
	done
	served
}
case_duplicate_address() { # the kernel asks whether fd09::2 is free: we say that it is not
	serve || return 1
	sysctl -qw net.ipv6.conf.zt0.accept_dad=1 net.ipv6.conf.zt0.dad_transmits=1
	ip addr add fd09::2/64 dev zt0
	for _ in $(seq 600); do
		ip -6 addr show dev zt0 | grep -q 'fd09::2/64.*dadfailed' && break
		sleep 0.05
	done
	ip -6 addr show dev zt0 | grep -q 'fd09::2/64.*dadfailed' || return 1
	ip addr del fd09::2/64 dev zt0
	fetch '[fd09::2]' 1000 -g && served
}
too_long4() { # packets that the kernel did not forward because they were too long
	awk '$1 == "Ip:" { for (i = 1; i <= NF; i++) if (at) { if (i == at) print $i } else if ($i == "FragFails") found = i; at = found }' \
		/proc/net/snmp
}
# A router between: the kernel forwards to another namespace over a link of 1300 bytes, and tells us.
case_path_mtu() {
	serve || return 1
	unshare -n sleep 600 & helper_pid=$!
	for _ in $(seq 600); do
		[ "$(readlink /proc/$helper_pid/ns/net)" != "$(readlink /proc/$$/ns/net)" ] && break
		sleep 0.05
	done
	ip link add far0 type veth peer name far1 netns "$helper_pid" && ip link set far0 mtu 1300 up &&
		ip addr add 10.10.0.1/24 dev far0 && ip addr add fd10::1/64 dev far0 nodad &&
		sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 || return 1
	asker=(nsenter -t "$helper_pid" -n)
	"${asker[@]}" sh -c 'ip link set far1 up && ip addr add 10.10.0.2/24 dev far1 && ip addr add fd10::2/64 dev far1 nodad &&
		ip route add default via 10.10.0.1 && ip -6 route add default via fd10::1' &&
		fetch 10.9.0.2 3000000 && fetch '[fd09::2]' 3000000 -g
	local rc=$?
	asker=()
	[ "$(awk '$1 == "Icmp6OutPktTooBigs" { print $2 }' /proc/net/snmp6)" -gt 0 ] && [ "$(too_long4)" -gt 0 ] || rc=1
	ip link del far0
	sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
	[ $rc -eq 0 ] && served
}
case_syn_flood() {
	serve || return 1
	python3 - <<-'EOF' &
	import random, socket, struct, time
	def csum(b):
	    s = sum(struct.unpack('!%dH' % (len(b) // 2), b))
	    while s >> 16: s = (s & 0xffff) + (s >> 16)
	    return ~s & 0xffff
	raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
	dst = socket.inet_aton('10.9.0.2')
	for i in range(20000):
	    src = struct.pack('!I', 0x0b000000 | random.getrandbits(24))
	    tcp = struct.pack('!HHIIBBHHH', random.randrange(1024, 65535), 80, random.getrandbits(32), 0, 0x50, 2, 1000, 0, 0)
	    c = csum(src + dst + struct.pack('!HH', 6, 20) + tcp)
	    tcp = tcp[:16] + struct.pack('!H', c) + tcp[18:]
	    ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 40, 0, 0, 64, 6, 0, src, dst)
	    raw.sendto(ip + tcp, ('10.9.0.2', 0))
	    if i % 200 == 0: time.sleep(0.02)
	EOF
	helper_pid=$!
	sleep 0.5
	for _ in 1 2 3 4 5; do fetch 10.9.0.2 200000 || return 1; done
	sunk && fetch 10.9.0.2 200000 && served
}

run_case() {
	local begin=$SECONDS
	if "case_$1" >"$work/case.log" 2>&1; then
		[ -z "${VERBOSE:-}" ] || echo "pass $1 $((SECONDS - begin)) s"
	else
		echo "FAIL $1"
		sed 's/^/    /' "$work/case.log" | tail -20
		failed=1
	fi
	stop_all
	rm -f "$work"/*.err "$work/got" "$work/body"
}

ip link set lo up
cases=("$@")
[ ${#cases[@]} -gt 0 ] || mapfile -t cases < <(declare -F | sed -n 's/^declare -f case_//p')
for c in "${cases[@]}"; do
	run_case "$c"
done
exit $failed
