# memif.sh - two processes joined by shared memory (DPDK's net_memif, or net_virtio_user and net_vhost), without a kernel between them, against the kernel over a veth; sourced after lib.sh
# shellcheck shell=bash
#
# memif_init after bench_init. The kernel's configurations go over the veth of pair.sh; ours over memif, on which the same addresses
# are, so that each has the same command. memif_ready at the end of start(): the server has the device once something waits on
# its listener. memif_ceiling at the end.

. "$BENCH_DIR/pair.sh"

# memif_device ROLE: for one of the two processes; BENCH_PORT=vhost: virtio_user, which the server listens with, and vhost
memif_device() {
	local vdev="net_memif0,role=$1,id=0,socket=$TMP/memif,socket-abstract=no${MEMIF_MORE-}"
	if [ "${BENCH_PORT-}" = vhost ]; then
		vdev="net_virtio_user0,path=$TMP/memif,server=1,queues=1,queue_size=1024"
		[ "$1" = server ] || vdev="net_vhost0,iface=$TMP/memif,client=1,queues=1,tso=1"
	fi
	echo "dpdk:--no-huge -m ${MEMIF_MB:-128} --vdev $vdev"
}

# memif_line ROLE ADDRESS: of the interface
memif_line() {
	echo "interface m0 device=\"$(memif_device "$1")\" address=$2/24" >"$TMP/interfaces.$1"
}

memif_init() {
	pair_make
	EXPLAIN_ALWAYS=''
	# short connections: the kernel's client would run out of ports, as it keeps each for a minute
	far sh -c 'echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse; echo 4096 65535 >/proc/sys/net/ipv4/ip_local_port_range' || die "no ports"
	memif_line server $HOST
	memif_line client $FAR
	SERVE_IN=(env "ZTCP_INTERFACES=$TMP/interfaces.server")
	CLIENT_IN=(nsenter --net=/run/netns/far env "ZTCP_INTERFACES=$TMP/interfaces.client")
}

# Until the server has its end of the device.
memif_ready() {
	local i
	[ "${CFG_KIND[$CFG]}" != kernel ] || return 0
	for ((i = 0; i < 600; i++)); do
		! grep -q "^[^ ]* [^ ]* [^ ]* 00010000 .* $TMP/memif\$" /proc/net/unix || return 0
		sleep 0.05
	done
	cat "$TMP/server.log" >&2
	die "$CFG: the server has no device"
}

memif_ceiling() { pair_ceiling "$(memif_device server)" "$(memif_device client)"; }
