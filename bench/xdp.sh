# xdp.sh - a veth whose two ends are two hosts, each shared by the kernel and one instance (AF_XDP); sourced after lib.sh
# shellcheck shell=bash
#
# xdp_begin "$0" "$@" before bench_init: the namespaces are this run's own. xdp_init after it. The server is here, the client in
# the namespace "far". The kernel's configurations run without a program on the veth. xdp_ceiling at the end: how many packets a
# second this veth takes from one such socket to another, one processor a side, which no stack above it can pass.

HOST=10.9.0.2

xdp_begin() {
	local self=$1
	shift
	[ -z "${BENCH_IN_XDP-}" ] && [ "$(id -u)" = 0 ] || return 0
	BENCH_IN_XDP=1 exec unshare -n -m --propagation private -- bash "$self" "$@"
}

far() { nsenter --net=/run/netns/far "$@"; }

xdp_init() {
	[ "$(id -u)" = 0 ] || die "needs root"
	ZTCP=$(dirname "$ZTCP_RUN")/ztcp
	CLIENT_IN=(nsenter --net=/run/netns/far)
	LIFTED_LINE='path=stack'
	export ZTCP_PATH=stack ZTCP_INTERFACES=$TMP/interfaces
	printf 'interface %s device=xdp:%s\n' v0 v0 v1 v1 >"$ZTCP_INTERFACES"
	mkdir -p /run/netns && mount -t tmpfs netns /run/netns && mount -t bpf bpf /sys/fs/bpf && ip netns add far &&
		ip link set lo up && far ip link set lo up || die "no namespaces"
	ip link add v0 numtxqueues 1 numrxqueues 1 type veth peer name v1 numtxqueues 1 numrxqueues 1 netns far &&
		ip addr add $HOST/24 dev v0 && ip link set v0 up && far ip addr add 10.9.0.1/24 dev v1 &&
		far ip link set v1 up || die "no veth"
}

# The program goes with the configuration that needs it, as it changes how the veth works.
xdp_attach() {
	"$ZTCP" nic detach v0 2>/dev/null
	far "$ZTCP" nic detach v1 2>/dev/null
	[ "${CFG_KIND[$CFG]}" != kernel ] || return 0
	"$ZTCP" nic attach v0 || die "no selector on v0"
	[ -z "${CFG_ZC[$CFG]}" ] || far "$ZTCP" nic attach v1 || die "no selector on v1"
}

xdp_ceiling() {
	local bench bytes
	bench=$(dirname "$ZTCP_RUN")/../tests/bin/bench_dev
	"$ZTCP" nic attach v0 2>/dev/null
	far "$ZTCP" nic attach v1 2>/dev/null
	for bytes in 128 1514; do
		taskset -c "$S_CORE" "$bench" rx xdp:v0 2 $bytes >"$TMP/ceiling" 2>"$TMP/ceiling.err" &
		SERVERS+=($!)
		sleep 0.5
		far taskset -c "$C_CORE" "$bench" tx xdp:v1 3 $bytes >/dev/null 2>&1
		wait "${SERVERS[-1]}"
		SERVERS=()
		awk -v bytes=$bytes '{ printf "This veth takes %.0f k packets of %d bytes a second, one way.\n", $3 / 1e3, bytes }' "$TMP/ceiling"
	done
}
