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
	for _ in $(seq 400); do
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

case_refused() {
	refused "$small --vdev net_nothing0" "EAL does not start with.*net_nothing0" &&
		refused "$small port=3 --vdev net_null0" "EAL found no port 3 (of 1)" &&
		refused "$small --vdev net_memif0,role=client,socket=$work/none,socket-abstract=no" "port 0: start it" &&
		refused "$small queues=0 --vdev net_null0" "queues must be a number from 1 to 64" &&
		refused "$small queue=2 queues=2 --vdev net_null0" "queue 2 of 2" &&
		refused "$small mtu=1 --vdev net_null0" "mtu must be a number from 576" &&
		refused "$small mbufs=1000000 --vdev net_null0" "set up its queues: Cannot allocate memory"
}

# Without the plug-in, the error names it.
case_absent() {
	mkdir -p "$work/bin" && cp "$bench" "$work/bin" || return
	env -u LD_LIBRARY_PATH "$work/bin/bench_dev" tx "dpdk:--vdev net_null0" 1 64 > "$work/out" 2> "$work/err"
	[ $? = 77 ] || fail "it was opened" || return
	grep -q "libztcp_dpdk.so.*is DPDK installed" "$work/err" || fail "$(cat "$work/err")"
}

failed=0
[ $# -gt 0 ] || set -- ring null af_packet pcap tap memif vhost af_xdp refused absent
for name; do
	"case_$name"
	case $? in
	0) echo "ok	$name" ;;
	77) echo "skipped	$name" ;;
	*)
		echo "FAILED	$name"
		failed=1
		;;
	esac
done
exit $failed
