#!/bin/bash
# nic.sh - an instance on each kind of device, with the kernel or another instance as its peer, in namespaces of its own
#
# usage: nic.sh HOST_PROGRAM ZTCP BENCH_DEV [CASE...]
# Here are v0 (10.9.0.2, fd09::2), a veth that instance and kernel share; its other end v1 (10.9.0.1, fd09::1)
# is in the namespace "peer". bpffs and /run/netns are private to the test, so that nothing is left behind, even by a kill.
# Exit: 0 all passed, 1 a case failed, 77 no namespace, veth or bpffs can be made here.
set -u

host=${1:?usage: nic.sh HOST_PROGRAM ZTCP BENCH_DEV [CASE...]}
ztcp=${2:?usage: nic.sh HOST_PROGRAM ZTCP BENCH_DEV [CASE...]}
bench=${3:?usage: nic.sh HOST_PROGRAM ZTCP BENCH_DEV [CASE...]}
shift 3

if [ "${NIC_INSIDE:-}" != 1 ]; then
	unshare -nm true 2>/dev/null || { echo "skipped: no namespaces of its own (root?)"; exit 77; }
	NIC_INSIDE=1 exec unshare -nm "$0" "$host" "$ztcp" "$bench" "$@"
fi

work=$(mktemp -d)
bulk=${BULK:-104857600} patience=120
host_pid='' helpers=()
trap 'stop_all; rm -rf "$work"' EXIT

stop_all() {
	local p
	for p in $host_pid "${helpers[@]}"; do
		{ kill "$p" && wait "$p"; } 2>/dev/null
	done
	host_pid='' helpers=()
}

. "$(dirname "$(readlink -f "$0")")/../interop/web.sh"
asker=(nsenter --net=/run/netns/peer)
peer() { nsenter --net=/run/netns/peer "$@"; }
peer_exec() { exec nsenter --net=/run/netns/peer "$@"; } # in the background: $! is then the program itself

# Wait until COMMAND succeeds.
until_ok() {
	for _ in $(seq 1200); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.05
	done
	return 1
}

listens() { [ -n "$(ss -Hltn "sport = :$1")" ]; }

setup() { # a fresh veth, with what `ip link add` is to be told of v0's queues; v1 has one, and so sends to queue 0
	ip link del v0 2>/dev/null
	ip link add v0 "$@" type veth peer name v1 numtxqueues 1 numrxqueues 1 netns peer || return 1
	for n in all v0; do sysctl -qw net.ipv6.conf.$n.accept_dad=0; done
	peer sysctl -qw net.ipv6.conf.v1.accept_dad=0
	ip addr add 10.9.0.2/24 dev v0 && ip addr add fd09::2/64 dev v0 nodad && ip link set v0 up &&
		peer ip addr add 10.9.0.1/24 dev v1 && peer ip addr add fd09::1/64 dev v1 nodad && peer ip link set v1 up
}

share() {
	setup && "$ztcp" nic attach v0
}

serve() { # options: start the web server of an instance
	"$host" "$@" serve 2>"$work/host.err" &
	host_pid=$!
	await "$work/host.err" ready || { cat "$work/host.err"; return 1; }
}

client() { # output file, options and command of the host
	local out=$1
	shift
	echo go | timeout $((patience * 2)) "$host" "$@" >"$out" 2>"$work/client.err" || { cat "$work/client.err"; return 1; }
}

both_ways() { fetch 10.9.0.2 "$bulk" && post 10.9.0.2 "$bulk"; }
both_ways6() { fetch '[fd09::2]' $((bulk / 8)) -g && post '[fd09::2]' $((bulk / 8)) -g; }

web() { # PORT: a server on the kernel's TCP, here
	mkdir -p "$work/www" && echo kernel >"$work/www/kernel" || return 1
	python3 -m http.server --directory "$work/www" "$1" >"$work/www.log" 2>&1 &
	helpers+=($!)
	until_ok listens "$1"
}

kernel_answers() { # PORT
	[ "$(peer curl -sS --max-time 30 "http://10.9.0.2:$1/kernel")" = kernel ]
}

pings() { peer ping -q -c 3 -i 0.2 -W 10 10.9.0.2 >/dev/null && peer ping -q -c 3 -i 0.2 -W 10 fd09::2 >/dev/null; }

count() { "$ztcp" nic -j | python3 -c 'import json, sys; print(sum(i[sys.argv[1]] for i in json.load(sys.stdin)))' "$1"; }

refused() { # TEXT, options of the host: it does not open, and says TEXT
	local text=$1
	shift
	"$host" "$@" serve 2>"$work/refused.err" </dev/null && return 1
	grep -q -- "$text" "$work/refused.err" || { cat "$work/refused.err"; return 1; }
}

# ---- a TAP

case_tap() {
	local asker=()
	ip link del v0 2>/dev/null
	"$host" serve 2>"$work/host.err" &
	host_pid=$!
	await "$work/host.err" ready && ip addr add 10.9.0.1/24 dev zt0 || return 1
	both_ways && served
}

# ---- AF_XDP on a veth, shared with the kernel

case_xdp() { share && serve --dev xdp:v0 && both_ways && both_ways6 && served; }
case_xdp_mtu() { # the longest that fits
	setup && ip link set v0 mtu 3498 && peer ip link set v1 mtu 3498 && "$ztcp" nic attach v0 &&
		serve --dev xdp:v0 && both_ways && served
}
case_xdp_few_chunks() { share && serve --dev xdp:v0,chunks=256 && both_ways && served; }
case_xdp_parallel() {
	share && serve --dev xdp:v0 || return 1
	local pids=() p
	for i in $(seq 16); do
		peer curl -sS --max-time $patience "http://10.9.0.2/$((i * 50000))" -o "$work/p$i" &
		pids+=($!)
	done
	for p in "${pids[@]}"; do wait "$p" || return 1; done
	for i in $(seq 16); do cmp "$work/p$i" <("$host" pattern $((i * 50000))) || return 1; done
	served
}
case_xdp_connects() { # the instance opens: to the kernel, whose answers are the ones of a named flow
	share || return 1
	peer_exec "$host" ksink 9000 0 2>"$work/sink.err" &
	helpers+=($!)
	await "$work/sink.err" ready && client "$work/answer" --dev xdp:v0 send 10.9.0.1 9000 "$bulk" &&
		wait "${helpers[0]}" && [ "$(cat "$work/answer")" = "$bulk ok" ] || return 1
	peer_exec "$host" ksink 9001 0 2>"$work/sink6.err" &
	helpers+=($!)
	await "$work/sink6.err" ready && client "$work/answer" --dev xdp:v0 send fd09::1 9001 $((bulk / 8)) &&
		wait "${helpers[1]}" && [ "$(cat "$work/answer")" = "$((bulk / 8)) ok" ]
}
case_xdp_both_ends() { # no kernel TCP at all
	share && peer "$ztcp" nic attach v1 && serve --dev xdp:v0 || return 1
	echo go | peer timeout $patience "$host" --dev xdp:v1 get 10.9.0.2 80 "/$bulk" >"$work/got" 2>"$work/client.err" ||
		{ cat "$work/client.err"; return 1; }
	cmp "$work/got" <("$host" pattern "$bulk") && served
}

# The kernel's services on the same address, while the instance is busy.
case_xdp_shared() {
	share && serve --dev xdp:v0 && web 8022 && kernel_answers 8022 && pings || return 1
	fetch 10.9.0.2 "$bulk" &
	local loaded=$!
	for _ in 1 2 3 4 5; do
		pings && kernel_answers 8022 || return 1
	done
	peer ip neigh flush dev v1 # the kernel answers ARP
	kernel_answers 8022 && wait $loaded && both_ways || return 1
	[ "$(count taken)" -gt 1000 ] && [ "$(count passed)" -gt 10 ] && [ "$(count ports)" -eq 2 ] || { "$ztcp" nic; return 1; }
	served && [ "$(count ports)" -eq 0 ] || return 1
	! fetch 10.9.0.2 1 2>/dev/null && kernel_answers 8022 # the port is the kernel's again, and nobody listens
}

# A connection that the kernel has lives on when an instance takes the port; the next one is the instance's.
case_xdp_takes_over() {
	share || return 1
	python3 - >"$work/old.out" <<-'EOF' &
	import socket
	l = socket.socket()
	l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
	l.bind(('10.9.0.2', 80))
	l.listen()
	print('ready', flush=True)
	c, _ = l.accept()
	while d := c.recv(4096):
	    c.sendall(d)
	EOF
	helpers+=($!)
	await "$work/old.out" ready || return 1
	mkfifo "$work/go"
	peer_exec python3 - "$work/go" >"$work/new.out" <<-'EOF' &
	import socket, sys
	s = socket.create_connection(('10.9.0.2', 80))
	for word in ('before', 'after'):
	    s.sendall(word.encode())
	    print(s.recv(4096).decode(), flush=True)
	    word == 'before' and open(sys.argv[1]).read()
	EOF
	local asks=$!
	helpers+=("$asks")
	await "$work/new.out" before && serve --dev xdp:v0 && fetch 10.9.0.2 100000 && echo >"$work/go" &&
		wait $asks && await "$work/new.out" after && [ "$(count kernels)" -gt 0 ] && served
}

# After a kill the kernel resets what the instance had, as soon as the other end says something; the next instance has the queue.
case_xdp_killed() {
	share && serve --dev xdp:v0 && truncate -s 1G "$work/body" || return 1
	for _ in 1 2 3; do
		peer_exec curl -sS --max-time 60 --limit-rate 1M -T "$work/body" -X POST http://10.9.0.2/ -o /dev/null 2>"$work/curl.err" &
		local asks=$!
		until_ok eval '[ -n "$(peer ss -Htn state established dport = :80)" ]' && sleep 0.3 || return 1
		kill -9 "$host_pid"
		wait "$host_pid" 2>/dev/null
		wait $asks && return 1
		grep -q reset "$work/curl.err" || { cat "$work/curl.err"; return 1; }
		serve --dev xdp:v0 && fetch 10.9.0.2 100000 || return 1
	done
	served
}

# Addresses, routes and neighbours that change while it runs.
case_xdp_follows() {
	share && serve --dev xdp:v0 && fetch 10.9.0.2 1000 || return 1
	peer ip addr add 10.10.0.1/32 dev lo && ip route add unreachable 10.10.0.0/24 || return 1
	! peer curl -sS --max-time 2 --interface 10.10.0.1 http://10.9.0.2/1 -o /dev/null 2>/dev/null || return 1
	ip route replace 10.10.0.0/24 via 10.9.0.1 && fetch 10.9.0.2 1000000 --interface 10.10.0.1 || return 1
	ip route replace 10.10.0.0/24 via 10.9.0.1 mtu 600 && fetch 10.9.0.2 1000000 --interface 10.10.0.1 || return 1
	ip addr add 10.9.0.77/24 dev v0 && fetch 10.9.0.77 1000000 || return 1
	peer ip link set v1 address 02:aa:bb:cc:dd:ee && fetch 10.9.0.2 1000000 && served
}

# Two processes on two queues under one selector: neither disturbs the other, or can have its queue.
case_xdp_two_queues() {
	setup numrxqueues 2 numtxqueues 2 && "$ztcp" nic attach v0 && serve --dev xdp:v0,queue=0 || return 1
	refused 'queue 0 is taken' --dev xdp:v0,queue=0 || return 1
	local first=$host_pid
	helpers+=("$first")
	serve --dev xdp:v0,queue=1 && fetch 10.9.0.2 1000000 && [ "$(count ports)" -eq 4 ] && served &&
		fetch 10.9.0.2 1000000 && [ "$(count ports)" -eq 2 ]
}

# The kernel runs the program on its own buffers: long ones do not fit, so senders on this machine must not make any.
case_xdp_generic() {
	setup && peer ip link set v1 gso_max_size 1500 gso_max_segs 1 && "$ztcp" nic attach -g v0 && serve --dev xdp:v0 &&
		both_ways && [ "$(count long)" -eq 0 ] && served
}

# ---- DPDK

dpdk_here() { # the plug-in lies beside the product's libraries, not beside the test's programs
	export LD_LIBRARY_PATH=${ZTCP_BUILD:?}/lib
}

memif() { echo "dpdk:--vdev net_memif0,role=$1,id=0,socket=$work/memif,socket-abstract=no"; }

dpdk_both() { # SERVER'S CLIENT'S device: what comes is what was sent
	dpdk_here && serve --dev "$1" || return 1
	# The link is up when both have found each other; a station that does not answer in three seconds is given up.
	until_ok client "$work/got" --host 1 --dev "$2" get 10.9.0.2 80 /1000 &&
		client "$work/got" --host 1 --dev "$2" get 10.9.0.2 80 "/$bulk" && cmp "$work/got" <("$host" pattern "$bulk") && served
}
case_dpdk_memif() { dpdk_both "$(memif server)" "$(memif client)"; } # two processes, no kernel between them
case_dpdk_jumbo() { # packets of 9000 bytes; memif's driver takes none
	dpdk_here && refused 'set up its queues' --dev "$(memif server | sed 's/^dpdk:/&mtu=9000 /')" &&
		dpdk_both "dpdk:mtu=9000 mbufs=1024 --vdev net_vhost0,iface=$work/vhost" "dpdk:mtu=9000 mbufs=1024 --vdev net_virtio_user0,path=$work/vhost"
}
case_dpdk_vhost() { # the client's end leaves checksums to the server's
	dpdk_both "dpdk:--vdev net_vhost0,iface=$work/vhost" "dpdk:--vdev net_virtio_user0,path=$work/vhost"
}
# Whether packets longer than the MTU went, and came, is seen by the frames of BULK bytes: as FILE tells, of a host that has ended.
frames() { # FILE in|out
	sed -n "s/^frames: \([0-9]*\) in \([0-9]*\) out\$/$([ "$2" = in ] && echo '\1' || echo '\2')/p" "$1"
}
long_frames() { [ $(($(frames "$1" "$2") * 3000)) -lt "$bulk" ] || { echo "no long frames went $2: $(frames "$1" "$2")"; return 1; }; }
short_frames() { [ $(($(frames "$1" "$2") * 1460)) -ge "$bulk" ] || { echo "long frames went $2: $(frames "$1" "$2")"; return 1; }; }

case_dpdk_long() { # the server sends packets longer than the MTU: they come in pieces
	dpdk_both "dpdk:--vdev net_vhost0,iface=$work/vhost,tso=1" "dpdk:--vdev net_virtio_user0,path=$work/vhost" &&
		long_frames "$work/host.err" out && long_frames "$work/client.err" in
}
case_dpdk_cut() { # to a peer without buffers that merge, which takes none, the server's device cuts them
	dpdk_both "dpdk:--vdev net_vhost0,iface=$work/vhost,tso=1" "dpdk:--vdev net_virtio_user0,path=$work/vhost,mrg_rxbuf=0" &&
		long_frames "$work/host.err" out && short_frames "$work/client.err" in
}
case_dpdk_long_copied() { # the other way round; a virtio_user that listens opens when somebody comes
	dpdk_here
	until_ok client "$work/got" --host 1 --dev "dpdk:--vdev net_vhost0,iface=$work/user,client=1,tso=1" get 10.9.0.2 80 "/$bulk" &
	local asks=$!
	helpers+=("$asks")
	serve --dev "dpdk:--vdev net_virtio_user0,path=$work/user,server=1" && wait $asks && cmp "$work/got" <("$host" pattern "$bulk") && served &&
		long_frames "$work/host.err" out && long_frames "$work/client.err" in
}
case_dpdk_tap() { # its peer is the kernel
	local asker=()
	ip link del v0 2>/dev/null
	dpdk_here && serve --dev "dpdk:--vdev net_tap0,iface=zt0" && ip addr add 10.9.0.1/24 dev zt0 || return 1
	both_ways && served
}
case_dpdk_moves() { # frames go where these two take them: round, and nowhere
	dpdk_here && "$bench" loop "dpdk:--vdev net_ring0" 1 64 >"$work/ring" &&
		[ "$(awk '{ print ($3 > 0) }' "$work/ring")" = 1 ] &&
		"$bench" tx "dpdk:--vdev net_null0" 1 1448 >"$work/null" && [ "$(awk '{ print ($3 > 0) }' "$work/null")" = 1 ]
}
case_dpdk_refusals() {
	dpdk_here && refused 'EAL does not start' --dev 'dpdk:--nosuchoption' &&
		refused 'EAL found no port 3' --dev 'dpdk:port=3 --vdev net_null0' &&
		refused 'queue must be a number' --dev 'dpdk:queue=x --vdev net_null0' &&
		refused 'queue pairs' --dev 'dpdk:queues=64 --vdev net_tap0,iface=zt0' || return 1
	unset LD_LIBRARY_PATH
	refused 'is DPDK installed' --dev 'dpdk:--vdev net_null0'
}

# ---- what is missing, in words

case_refusals() {
	setup && refused 'the selector is not on this interface' --dev xdp:v0 && refused 'no such interface' --dev xdp:nosuch &&
		"$ztcp" nic attach v0 && "$ztcp" nic attach v0 || return 1
	refused 'no queue 9 on this interface' --dev xdp:v0,queue=9 || return 1
	setpriv --reuid 65534 --clear-groups --inh-caps=-all --bounding-set=-all "$host" --dev xdp:v0 serve 2>"$work/refused.err" &&
		return 1
	grep -q 'Permission denied\|not permitted' "$work/refused.err" || { cat "$work/refused.err"; return 1; }
	ip link set v0 mtu 9000 && refused "over AF_XDP's limit" --dev xdp:v0 || return 1
	"$ztcp" nic detach v0 && ! "$ztcp" nic detach v0 2>/dev/null && [ "$("$ztcp" nic -j)" = '[]' ] &&
		peer ip link set v1 mtu 9000 && ! "$ztcp" nic attach v0 2>"$work/mtu.err" && grep -q MTU "$work/mtu.err"
}

# An interface that goes takes its pins along, at the next look.
case_gone() {
	share && [ "$(count flows)" -eq 0 ] && ip link del v0 && [ "$("$ztcp" nic -j)" = '[]' ] && [ ! -e /sys/fs/bpf/ztcp-nic ]
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
	rm -rf "${work:?}"/*
	"$ztcp" nic detach v0 2>/dev/null
}

mkdir -p /run/netns && mount -t tmpfs netns /run/netns && mount -t bpf bpf /sys/fs/bpf ||
	{ echo "skipped: no bpffs can be mounted"; exit 77; }
ip link set lo up
ip netns add peer && peer ip link set lo up && setup 2>"$work/veth" || { echo "skipped: no veth: $(cat "$work/veth")"; exit 77; }
cases=("$@") failed=0
[ ${#cases[@]} -gt 0 ] || mapfile -t cases < <(declare -F | sed -n 's/^declare -f case_//p')
for c in "${cases[@]}"; do
	run_case "$c"
done
exit $failed
