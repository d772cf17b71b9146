# pair.sh - two hosts joined by a veth, for the workloads that go from one to the other; sourced by memif.sh and xdp.sh
# shellcheck shell=bash
#
# pair_begin "$0" "$@" before bench_init: the namespaces are this run's own. pair_make after it: the server is here, at HOST,
# the client in the namespace "far". pair_ceiling at the end.

HOST=10.9.0.2 FAR=10.9.0.1

pair_begin() {
	local self=$1
	shift
	[ -z "${BENCH_IN_PAIR-}" ] && [ "$(id -u)" = 0 ] || return 0
	BENCH_IN_PAIR=1 exec unshare -n -m --propagation private -- bash "$self" "$@"
}

far() { nsenter --net=/run/netns/far "$@"; }

pair_make() {
	[ "$(id -u)" = 0 ] || die "needs root"
	LIFTED_LINE='path=stack'
	export ZTCP_PATH=stack
	BENCH_DEV=(env "LD_LIBRARY_PATH=$(dirname "$ZTCP_RUN")/../lib" "$(dirname "$ZTCP_RUN")/../tests/bin/bench_dev")
	mkdir -p /run/netns && mount -t tmpfs netns /run/netns && ip netns add far && ip link set lo up && far ip link set lo up ||
		die "no namespaces"
	ip link add v0 numtxqueues 1 numrxqueues 1 type veth peer name v1 numtxqueues 1 numrxqueues 1 netns far &&
		ip addr add $HOST/24 dev v0 && ip link set v0 up && far ip addr add $FAR/24 dev v1 &&
		far ip link set v1 up || die "no veth"
}

# pair_ceiling DEVICE FAR_DEVICE: packets a second from one to the other, one processor a side, which no stack above them can pass.
pair_ceiling() {
	local bytes pps
	for bytes in 128 1514; do
		taskset -c "$S_CORE" "${BENCH_DEV[@]}" rx "$1" 2 $bytes >"$TMP/ceiling" 2>"$TMP/ceiling.err" &
		SERVERS+=($!)
		sleep 0.5
		far taskset -c "$C_CORE" "${BENCH_DEV[@]}" tx "$2" 3 $bytes >/dev/null 2>&1
		wait "${SERVERS[-1]}"
		SERVERS=()
		pps=$(awk '{ print $3 }' "$TMP/ceiling")
		printf '#ceiling_%s\t%s\n' $bytes "${pps:--}" >>"$OUTDIR/$WORKLOAD.tsv"
		awk -v bytes=$bytes -v pps="$pps" \
			'BEGIN { printf "The devices take %.0f k packets of %d bytes a second, one way.\n", pps / 1e3, bytes }'
	done
}
