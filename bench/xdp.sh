# xdp.sh - a veth whose two ends are two hosts, each shared by the kernel and one instance (AF_XDP); sourced after lib.sh
# shellcheck shell=bash
#
# xdp_init after bench_init. The kernel's configurations run without a program on the veth of pair.sh. xdp_ceiling at the end, and
# xdp_echo where a server alone is measured.

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

# What redis-benchmark on the kernel gets from a server that costs nothing but the device: no server on a stack can pass that.
xdp_echo() {
	local clients
	far "$ZTCP" nic detach v1 2>/dev/null
	for clients in 1 50; do
		xdp_echo_to "$clients" "$S_CORE" same 'on one core'
		xdp_echo_to "$clients" "$C_CORE" 11 'with a core each'
	done
}

xdp_echo_to() { # CLIENTS CORE PLACEMENT WORDS
	local rate
	taskset -c "$S_CORE" "${BENCH_DEV[@]}" echo xdp:v0 60 128 >/dev/null 2>"$TMP/echo.err" &
	SERVERS+=($!)
	sleep 0.5
	rate=$(far timeout 30 taskset -c "$2" redis-benchmark -h $HOST -p 7 -c "$1" -n $(($1 == 1 ? 30000 : 100000)) -t get --csv 2>/dev/null |
		awk -F'"' '$2 == "GET" { print $4 }')
	kill "${SERVERS[-1]}" 2>/dev/null
	wait "${SERVERS[-1]}" 2>/dev/null
	SERVERS=()
	printf '#echo_%s_%s\t%s\n' "$1" "$3" "${rate:--}" >>"$OUTDIR/$WORKLOAD.tsv"
	if [ -n "$rate" ]; then
		awk -v c="$1" -v r="$rate" -v w="$4" \
			'BEGIN { printf "A server of no cost but the device answers %.1f k requests a second of %d client%s %s.\n", r / 1e3, c, c == 1 ? "" : "s", w }'
	else
		echo "A server of no cost but the device, $1 clients $4: no answer in 30 s: $(tail -n 1 "$TMP/echo.err")"
	fi
}
