# xdp.sh - a veth whose two ends are two hosts, each shared by the kernel and one instance (AF_XDP); sourced after lib.sh
# shellcheck shell=bash
#
# xdp_init after bench_init. The kernel's configurations run without a program on the veth of pair.sh. xdp_ceiling at the end.

. "$BENCH_DIR/pair.sh"

xdp_init() {
	pair_make
	ZTCP=$(dirname "$ZTCP_RUN")/ztcp
	CLIENT_IN=(nsenter --net=/run/netns/far)
	export ZTCP_INTERFACES=$TMP/interfaces
	printf 'interface %s device=xdp:%s\n' v0 v0 v1 v1 >"$ZTCP_INTERFACES"
	mount -t bpf bpf /sys/fs/bpf || die "no bpffs"
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
	"$ZTCP" nic attach v0 2>/dev/null
	far "$ZTCP" nic attach v1 2>/dev/null
	pair_ceiling xdp:v0 xdp:v1
}
