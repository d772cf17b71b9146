# memif.sh - two processes joined by shared memory (DPDK's net_memif), without a kernel between them, against the kernel over a veth; sourced after lib.sh
# shellcheck shell=bash
#
# memif_begin "$0" "$@" before bench_init: the namespaces are this run's own. memif_init after it. The server is here, the client in the
# namespace "far". The kernel's configurations go over the veth (HOST 10.9.0.2); ours over memif, on which the same addresses are, so that
# each has the same command. memif_ready at the end of start(): the server has the device once something waits on its listener.

HOST=10.9.0.2

memif_begin() {
	local self=$1
	shift
	[ -z "${BENCH_IN_MEMIF-}" ] && [ "$(id -u)" = 0 ] || return 0
	BENCH_IN_MEMIF=1 exec unshare -n -m --propagation private -- bash "$self" "$@"
}

far() { nsenter --net=/run/netns/far "$@"; }

# memif_line ROLE ADDRESS: of the interface, for one of the two processes; BENCH_PORT=vhost: virtio_user and vhost
memif_line() {
	local vdev="net_memif0,role=$1,id=0,socket=$TMP/memif,socket-abstract=no${MEMIF_MORE-}"
	if [ "${BENCH_PORT-}" = vhost ]; then
		vdev="net_vhost0,iface=$TMP/memif,queues=1"
		[ "$1" = server ] || vdev="net_virtio_user0,path=$TMP/memif,queues=1,queue_size=1024"
	fi
	echo "interface m0 device=\"dpdk:--no-huge -m ${MEMIF_MB:-128} --vdev $vdev\" address=$2/24" >"$TMP/interfaces.$1"
}

memif_init() {
	[ "$(id -u)" = 0 ] || die "needs root"
	LIFTED_LINE='path=stack'
	EXPLAIN_ALWAYS=''
	export ZTCP_PATH=stack
	mkdir -p /run/netns && mount -t tmpfs netns /run/netns && ip netns add far && ip link set lo up && far ip link set lo up ||
		die "no namespaces"
	ip link add v0 numtxqueues 1 numrxqueues 1 type veth peer name v1 numtxqueues 1 numrxqueues 1 netns far &&
		ip addr add $HOST/24 dev v0 && ip link set v0 up && far ip addr add 10.9.0.1/24 dev v1 &&
		far ip link set v1 up || die "no veth"
	# short connections: the kernel's client would run out of ports, as it keeps each for a minute
	far sh -c 'echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse; echo 4096 65535 >/proc/sys/net/ipv4/ip_local_port_range' || die "no ports"
	memif_line server $HOST
	memif_line client 10.9.0.1
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
