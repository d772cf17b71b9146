#!/bin/bash
# dpdk.sh - each kind of DPDK port opens and moves packets, and what cannot be opened says why in one line
#
# usage: dpdk.sh BUILD [CASE...]
# In a network namespace of its own; without hugepages. Frames are made and counted by bench_dev.
# Exit: 0 all passed, 1 a case failed, 77 no namespace or no DPDK can be had here.
set -u

build=${1:?usage: dpdk.sh BUILD [CASE...]}
if [ "${DPDK_INSIDE:-}" != 1 ]; then
	[ -n "$(find /usr/lib -name 'librte_net_null.so*' -print -quit)" ] && unshare -nm true 2> /dev/null || exit 77
	DPDK_INSIDE=1 exec unshare -n -m -p -f --mount-proc --kill-child "$0" "$@"
fi
shift
bench=$(readlink -f "$build")/tests/bin/bench_dev
pair=$(readlink -f "$build")/tests/bin/bench_pair
show=$(readlink -f "$build")/tests/bin/dpdk_show
LD_LIBRARY_PATH=$(readlink -f "$build")/lib # where the plug-in is
export LD_LIBRARY_PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ip link set lo up
small="--no-huge -m 64"

fail() {
	echo "	$*"
	return 1
}

# moves MODE SPEC [BYTES]: packets are counted, one at least
moves() {
	timeout 60 "$bench" "$1" "dpdk:$small $2" 1 "${3:-64}" > "$work/out" 2> "$work/err" ||
		fail "$1 $2: $(tail -n 1 "$work/err")" || return
	awk '$3 > 0 { n++ } END { exit n != 1 }' "$work/out" || fail "$1 $2: $(cat "$work/out")"
}

# pair SERVER CLIENT [BYTES]: from the client's process to the server's
pair() {
	: > "$work/rx.err"
	timeout 60 "$bench" rx "dpdk:$small $1" 1 "${3:-64}" > "$work/rx" 2> "$work/rx.err" &
	local receiver=$!
	for _ in $(seq 1200); do
		grep -q ready "$work/rx.err" && break
		sleep 0.05
	done
	moves tx "$2" "${3:-64}" || return
	wait "$receiver" || fail "rx $1: $(tail -n 1 "$work/rx.err")" || return
	awk '$3 > 0 { n++ } END { exit n != 1 }' "$work/rx" || fail "nothing has arrived at $1"
}

# refused SPEC TEXT: it does not open, and the last line says TEXT
refused() {
	timeout 60 "$bench" tx "dpdk:$1" 1 64 > "$work/out" 2> "$work/err"
	[ $? = 77 ] || fail "$1 was not refused" || return
	tail -n 1 "$work/err" | grep -q "$2" || fail "$1: $(tail -n 1 "$work/err")"
}

case_ring() { moves loop "--vdev net_ring0" && moves loop "--vdev net_ring0" 1514; }
case_null() { moves tx "--vdev net_null0" && moves rx "--vdev net_null0,size=128"; }
case_af_packet() { moves loop "--vdev net_af_packet0,iface=lo"; }

case_pcap() {
	python3 -c 'import struct, sys
frame = b"\xff" * 6 + bytes((2, 0, 0, 0, 0, 9)) + b"\x08\x00" + bytes(50)
out = struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1)
for i in range(100):
    out += struct.pack("<IIII", i, 0, len(frame), len(frame)) + frame
open(sys.argv[1], "wb").write(out)' "$work/in.pcap"
	moves rx "--vdev net_pcap0,rx_pcap=$work/in.pcap,tx_pcap=$work/out.pcap" || return
	moves tx "--vdev net_pcap0,rx_pcap=$work/in.pcap,tx_pcap=$work/out.pcap" || return
	[ "$(stat -c %s "$work/out.pcap")" -gt 1000 ] || fail "nothing was written"
}

case_tap() {
	[ -r /dev/net/tun ] || return 77
	moves tx "--vdev net_tap0,iface=dtap0"
}

case_memif() {
	local socket="id=0,socket=$work/memif,socket-abstract=no" bytes
	for bytes in 64 1514; do # the second time over a socket that was left behind
		pair "--vdev net_memif0,role=server,$socket" "--vdev net_memif0,role=client,$socket" $bytes || return
	done
}

case_vhost() {
	pair "--vdev net_vhost0,iface=$work/vhost" "--vdev net_virtio_user0,path=$work/vhost"
}

case_af_xdp() {
	ip link add v0 numtxqueues 1 numrxqueues 1 type veth peer name v1 numtxqueues 1 numrxqueues 1 &&
		ip link set v0 up && ip link set v1 up && mount -t bpf bpf /sys/fs/bpf || return 77
	pair "--vdev net_af_xdp0,iface=v0" "--vdev net_af_packet0,iface=v1"
}

# both MODE THREADS [EAL [CLIENT]]: two ports of memif in one process, which are each other's peers, with a queue for each thread
both() {
	local memif="id=0,socket=$work/both,socket-abstract=no"
	local eal="--no-huge -m 256 ${3-} --vdev net_memif0,role=server,$memif --vdev net_memif1,role=client,$memif${4-}"
	timeout 100 "$pair" "$1" "$2" 1 "dpdk:queues=$2 port=0 $eal" "dpdk:queues=$2 port=1 $eal" > "$work/out" 2> "$work/err" ||
		fail "$1 $2: $(tail -n 1 "$work/err")"
}

# Buffers that are sent by reference come out as they went in, and no device has copied a byte.
case_copies() {
	both bulk 1 || return
	awk '$3 > 0 && $4 == 0 { n++ } END { exit n != 1 }' "$work/out" || fail "copied: $(cat "$work/out")"
}

# A client whose memory the server reads sends from DPDK's memory alone; what comes out is what went in.
case_in_place() {
	both bulk 1 --single-file-segments ,zero-copy=yes || return
	awk '$3 > 0 && $4 > 0 { n++ } END { exit n != 1 }' "$work/out" || fail "not copied: $(cat "$work/out")"
}

# Two threads with two instances each, a queue for each pair: nothing of one comes to the other.
case_queues() {
	both rr 2 || return
	awk '$3 > 0 && $5 == 0 { n++ } END { exit n != 1 }' "$work/out" || fail "crossed: $(cat "$work/out")" || return
	both bulk 2 || return
	awk '$3 > 0 && $5 == 0 { n++ } END { exit n != 1 }' "$work/out" || fail "crossed: $(cat "$work/out")"
}

# shows SPEC...: in $work/out, a line for each
shows() {
	timeout 60 "$show" "$@" > "$work/out" 2> "$work/err" || fail "$*: $(tail -n 1 "$work/err")"
}

# A port that hashes says by which key and table; without a number a device has the first queue that is free.
case_rss() {
	local null="$small mbufs=512 queues=4 --vdev net_null0" q
	shows "dpdk:$null" "dpdk:queue=2 $null" "dpdk:$null" "dpdk:$null" || return
	q=$(sed 's/.*rss=128 ours=32 queue=\([0-9]\) key=6d5a/\1/' "$work/out" | tr -d '\n')
	[ "$q" = 0213 ] || fail "queues: $(cat "$work/out")" || return
	timeout 60 "$show" "dpdk:$null" "dpdk:$null" "dpdk:$null" "dpdk:$null" "dpdk:$null" > "$work/out" 2> "$work/err"
	grep -q "all queues have a device" "$work/err" || fail "a fifth of four: $(cat "$work/err")"
}

# The other end of a memif dies under load, over and over: its rings go while they are read, and the reader lives on.
case_killed() {
	local socket="id=0,socket=$work/killed,socket-abstract=no" server client n tries
	: > "$work/rx.err" # what an earlier case has left there is not this server's
	"$bench" rx "dpdk:$small --vdev net_memif0,role=server,$socket" 200 64 > "$work/rx" 2> "$work/rx.err" &
	server=$!
	await grep -q ready "$work/rx.err"
	for ((n = tries = 0; n < 50 && tries < 80; tries++)); do # a server that has not yet seen the last one's end refuses the next
		"$bench" tx "dpdk:$small --vdev net_memif0,role=client,$socket" 60 1514 2> /dev/null &
		client=$!
		until connected "$work/killed" || ! kill -0 "$client" 2> /dev/null; do
			sleep 0.02
		done
		sleep 0.05
		kill -9 "$client" 2> /dev/null && n=$((n + 1))
		wait "$client" 2> /dev/null
		kill -0 "$server" || fail "the server has died with client $n: $(cat "$work/rx.err")" || return
	done
	[ $n = 50 ] || fail "only $n of $tries clients were connected" || return
	moves tx "--vdev net_memif0,role=client,$socket" || return
	kill "$server"
	wait "$server" 2> /dev/null
	[ $? = 143 ] || fail "the server ended by itself"
}

# Two ends of one, besides who listens.
connected() { [ "$(grep -c " $1\$" /proc/net/unix)" -ge 2 ]; }

await() {
	local i
	for ((i = 0; i < 1200; i++)); do
		"$@" && return
		sleep 0.05
	done
	fail "waited in vain for: $*"
}

case_refused() {
	refused "$small --vdev net_nothing0" "EAL does not start with.*net_nothing0" &&
		refused "$small port=3 --vdev net_null0" "EAL found no port 3 (of 1)" &&
		refused "$small --vdev net_memif0,role=client,socket=$work/none,socket-abstract=no" "port 0: start it" &&
		refused "$small queues=0 --vdev net_null0" "queues must be a number from 1 to 64" &&
		refused "$small queue=2 queues=2 --vdev net_null0" "queue 2 of 2" &&
		refused "$small mtu=1 --vdev net_null0" "mtu must be a number from 576" &&
		refused "$small mbufs=1000000 --vdev net_null0" "set up its queues: Cannot allocate memory"
}

# A configuration that does not say --no-huge runs where there are no hugepages, too.
case_no_huge() {
	sed 's/\(HugePages_Free: *\)[0-9]*/\10/' /proc/meminfo > "$work/meminfo" && mount --bind "$work/meminfo" /proc/meminfo || return 77
	small="-m 64" moves loop "--vdev net_ring0"
	local rc=$?
	umount /proc/meminfo
	return $rc
}

# Without the plug-in, the error names it.
case_absent() {
	mkdir -p "$work/bin" && cp "$bench" "$work/bin" || return
	env -u LD_LIBRARY_PATH "$work/bin/bench_dev" tx "dpdk:--vdev net_null0" 1 64 > "$work/out" 2> "$work/err"
	[ $? = 77 ] || fail "it was opened" || return
	grep -q "libztcp_dpdk.so.*is DPDK installed" "$work/err" || fail "$(cat "$work/err")"
}

run_case() { "case_$1"; }

. "$(dirname "$(readlink -f "$0")")/nic_cases.bash"
[ $# -gt 0 ] || set -- ring null af_packet pcap tap memif vhost af_xdp copies in_place queues rss killed refused no_huge absent
run_cases "$@"
