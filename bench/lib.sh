# lib.sh - what every benchmark shares: options, placement, interleaved rounds, records and the table
# shellcheck shell=bash
#
# A workload script sources this file, names its configurations, and gives two functions:
#   start    starts the servers of one configuration with serve()
#   measure  runs the clients with client() and hands each figure to put()
# bench_main() then runs every configuration once in each round, the order turned round in every
# second round, so that whatever else the machine does falls on all of them alike; stops each
# server by its own pid, after each round or, with BESIDE, after so many: then those of all configurations
# run side by side, and what is compared is measured within seconds; writes every figure to build/bench/<workload>.tsv; and prints the medians,
# their spread, and the ratios. app/cases.tsv says what is shown, which way is better and which
# ratio is asked for.
#
# A ratio is taken against Kbest, the kernel's best median in the same run over its placements,
# because "one core each" charges the kernel for waking another core, which a user who puts both
# ends on one core does not pay.
#
# Names with a meaning in a workload script: CFG (the configuration now measured), EXTRA (its free
# words), TMP (a directory of this run), PORT (a free port, new in each round), SECS (length of one
# measured part), OUT (the last client's output), QUICK (1 or empty).

set -u
export LC_ALL=C

BENCH_DIR=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
TREE=$(dirname -- "$BENCH_DIR")
OUTDIR=${BENCH_OUT:-$TREE/build/bench}
ZTCP_RUN=${ZTCP_RUN:-$TREE/build/release/bin/ztcp_run}

WORKLOAD='' ABOUT='' NEEDS=''
PAIRS=7 SECS=1 QUICK='' MORE='' KERNEL_ONLY='' IN_NETNS=''
LIMIT=90                   # no client may take longer than this, seconds
CFGS=()
declare -A CFG_KIND=() CFG_S=() CFG_C=() CFG_ZS=() CFG_ZC=() CFG_AGAINST=() CFG_EXTRA=()
declare -A LIFTED=() RATE=()
SERVERS=()
declare -A SERVED=() PORTS=()  # a configuration's own
CFG='' EXTRA='' PORT=0 ROUND=0 OUT='' TMP='' TSV='' LAST=''
BEFORE=0                   # rounds of runs before that count
CLIENT_CPU=0 SERVER_CPU=0
EXPECT_LIFT=1              # empty: figures count though nothing was lifted
EXPLAIN_ALWAYS=1           # empty: count lifted connections in the warming round only, because the
                           # line that is written for each costs as much as a short connection
EXPLAIN=()
LIFTED_LINE='path=shm'
BESIDE=0                   # rounds for which the servers of all configurations go on
WARMING=1                  # empty: a round counts from the first
SERVE_IN=() CLIENT_IN=()   # what goes before a server, and a client: another namespace or user

die() { echo "$(basename -- "$0"): $*" >&2; exit 1; }

bench_usage() {
	cat <<-END
	usage: $(basename -- "$0") [-n PAIRS] [-t SECONDS] [--quick] [--more] [--kernel] [--netns]
	$ABOUT
	  -n PAIRS    interleaved rounds of all configurations (default 7)
	  -t SECONDS  length of each measured part, a whole number (default 1)
	  --quick     3 rounds
	  --more      rounds that are added to those of the last run, of the same build
	  --kernel    the kernel's configurations only
	  --netns     inside a network namespace of its own
	The launcher is \$ZTCP_RUN (now $ZTCP_RUN).
	Cores: \$BENCH_CORES="SERVER CLIENT" (default: the second and the first this process may use).
	END
}

# bench_init WORKLOAD "what it measures" "programs it needs" "$@"
bench_init() {
	WORKLOAD=$1 ABOUT=$2 NEEDS=$3
	shift 3
	local args=("$@")
	while [ $# -gt 0 ]; do
		case $1 in
		-n) PAIRS=${2:?}; shift ;;
		-t) SECS=${2:?}; shift ;;
		--quick) QUICK=1; PAIRS=3 ;;
		--more) MORE=1 ;;
		--kernel) KERNEL_ONLY=1 ;;
		--netns) IN_NETNS=1 ;;
		-h|--help) bench_usage; exit 0 ;;
		*) bench_usage >&2; exit 2 ;;
		esac
		shift
	done
	[[ $PAIRS =~ ^[1-9][0-9]*$ && $SECS =~ ^[1-9][0-9]*$ ]] || { bench_usage >&2; exit 2; }
	if [ -n "$IN_NETNS" ] && [ -z "${BENCH_IN_NETNS:-}" ]; then
		BENCH_IN_NETNS=1 exec unshare -n -- bash -c \
			'ip link set lo up && exec "$@"' sh "$0" "${args[@]}"
	fi
	bench_setup
}

bench_setup() {
	local p
	for p in $NEEDS taskset awk timeout; do
		command -v "$p" >/dev/null || [ -x "/usr/sbin/$p" ] ||
			die "needs $p; cmake/deps.sh test installs the programs"
	done
	PATH=$PATH:/usr/sbin
	[ -n "$KERNEL_ONLY" ] || [ -x "$ZTCP_RUN" ] ||
		die "no $ZTCP_RUN: cmake --preset release && cmake --build --preset release (or --kernel)"
	TMP=$(mktemp -d "${TMPDIR:-/tmp}/ztcp-bench.XXXXXX") || exit 1
	trap bench_cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	bench_cores
	OUT=$TMP/client.out
}

# Server core, client core: the second and the first we may use; one core alone serves as both.
bench_cores() {
	local list=() part a b
	if [ -n "${BENCH_CORES:-}" ]; then
		read -r S_CORE C_CORE <<<"$BENCH_CORES"
		return
	fi
	for part in $(taskset -pc $$ | sed 's/.*: //; s/,/ /g'); do
		a=${part%-*} b=${part#*-}
		while [ "$a" -le "$b" ]; do list+=("$a"); a=$((a + 1)); done
	done
	C_CORE=${list[0]}
	S_CORE=${list[1]:-${list[0]}}
}

bench_cleanup() {
	stop_servers
	if [ "$(type -t bench_cleanup_more)" = function ]; then bench_cleanup_more; fi
	[ -z "$TMP" ] || rm -rf -- "$TMP"
}

# bench_config NAME KIND SERVER_CORE CLIENT_CORE WRAP [AGAINST [EXTRA]]
# KIND: kernel, ours (a bar applies), also (shown only). WRAP: both, server, client or none.
# AGAINST: the kernel configurations to compare with, "-" for all.
bench_config() {
	local name=$1 kind=$2

	[ -n "$KERNEL_ONLY" ] && [ "$kind" != kernel ] && return 0
	CFGS+=("$name")
	CFG_KIND[$name]=$kind CFG_S[$name]=$3 CFG_C[$name]=$4
	CFG_ZS[$name]='' CFG_ZC[$name]=''
	case $5 in
	both) CFG_ZS[$name]=1 CFG_ZC[$name]=1 ;;
	server) CFG_ZS[$name]=1 ;;
	client) CFG_ZC[$name]=1 ;;
	none) ;;
	*) die "bench_config: $5" ;;
	esac
	CFG_AGAINST[$name]=${6:--}
	CFG_EXTRA[$name]=${7:-}
}

# The kernel with one core each and with both on one core; ours with one core each.
bench_config_usual() {
	bench_config K11 kernel "$S_CORE" "$C_CORE" none
	bench_config Ksame kernel "$S_CORE" "$S_CORE" none
	bench_config ours ours "$S_CORE" "$C_CORE" both
}

# --- processes -----------------------------------------------------------------------------------

# A TCP port in no use at all in this network namespace, on which the kernel places no client.
free_port() {
	local p hex low
	read -r low _ </proc/sys/net/ipv4/ip_local_port_range
	[ "$low" -gt 12000 ] || low=32768
	while :; do
		p=$((10000 + (RANDOM * 32768 + RANDOM) % (low - 10000)))
		printf -v hex ':%04X ' "$p"
		grep -qs "$hex" /proc/net/tcp /proc/net/tcp6 || { echo "$p"; return; }
	done
}

port_listens() {
	local hex
	printf -v hex ':%04X [0-9A-F:]+ 0A ' "$1"
	grep -Eqs "$hex" /proc/net/tcp /proc/net/tcp6
}

wait_port() {
	local i
	for ((i = 0; i < 600; i++)); do
		port_listens "$1" && return 0
		kill -0 "${SERVERS[-1]}" 2>/dev/null || break
		sleep 0.05
	done
	cat "$TMP/server.log" >&2
	die "$CFG: nothing listens on port $1"
}

# serve COMMAND...: in the background on the server's core, wrapped where CFG says so.
serve() { serve_on "${CFG_S[$CFG]}" "$@"; }

serve_on() {
	local core=$1 wrap=()
	shift
	[ -z "${CFG_ZS[$CFG]}" ] || wrap=(env "${EXPLAIN[@]/%/server}" "$ZTCP_RUN" --)
	"${SERVE_IN[@]}" taskset -c "$core" "${wrap[@]}" "$@" </dev/null >>"$TMP/server.log" 2>&1 &
	SERVERS+=($!)
	SERVED[$CFG]+=" $!"
}

# By pid and in reverse order; a server that ignores SIGTERM for 5 s is killed.
stop_servers() {
	local i pid n
	for ((i = ${#SERVERS[@]} - 1; i >= 0; i--)); do
		pid=${SERVERS[i]}
		kill -TERM "$pid" 2>/dev/null
		for ((n = 0; n < 250; n++)); do
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.02
		done
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	SERVERS=() SERVED=() PORTS=()
}

descendants() {
	local c
	echo "$1"
	for c in $(cat "/proc/$1/task/"*/children 2>/dev/null); do descendants "$c"; done
}

# CPU time the servers of this configuration have used, in ns (user and system).
server_cpu_ns() {
	local p d
	for p in ${SERVED[$CFG]-}; do
		for d in $(descendants "$p"); do cat "/proc/$d/task/"*/schedstat; done
	done 2>/dev/null | awk '{ s += $1 } END { printf "%.0f\n", s }'
}

# CPU time all processes of the machine have used, steal included, in ns.
machine_cpu_ns() {
	awk -v hz="$(getconf CLK_TCK)" \
		'$1 == "cpu" { printf "%.0f\n", ($2 + $3 + $4 + $7 + $8 + $9) * 1e9 / hz }' /proc/stat
}

# client COMMAND...: on the client's core, wrapped where CFG says so; output in $OUT.
# Sets CLIENT_CPU and SERVER_CPU, the seconds of CPU both ends used meanwhile.
client() { client_on "${CFG_C[$CFG]}" "$@"; }

client_on() {
	local core=$1 wrap=() s0 s1 m0 m1 u s r rc TIMEFORMAT='%3U %3S %3R'
	shift
	[ -z "${CFG_ZC[$CFG]}" ] || wrap=(env "${EXPLAIN[@]/%/client}" "$ZTCP_RUN" --)
	s0=$(server_cpu_ns) m0=$(machine_cpu_ns)
	{ time timeout -k 5 "$LIMIT" "${CLIENT_IN[@]}" taskset -c "$core" "${wrap[@]}" "$@" \
		</dev/null >"$OUT" 2>"$OUT.err"; } 2>"$OUT.time"
	rc=$?
	s1=$(server_cpu_ns) m1=$(machine_cpu_ns)
	if [ $rc -ne 0 ]; then
		tail -n 5 "$OUT" "$OUT.err" "$TMP/server.log" >&2
		die "$CFG: status $rc: $*"
	fi
	read -r u s r <"$OUT.time"
	read -r CLIENT_CPU SERVER_CPU FOREIGN < <(awk -v u="$u" -v s="$s" -v r="$r" -v s0="$s0" \
		-v s1="$s1" -v m0="$m0" -v m1="$m1" 'BEGIN {
			c = u + s; v = (s1 - s0) / 1e9; f = (m1 - m0) / 1e9 - c - v
			print c, v, (r > 0 && f > 0) ? 100 * f / r : 0 }')
	[ "$ROUND" -eq 0 ] || echo "$FOREIGN" >>"$TMP/foreign"
}

# --- records -------------------------------------------------------------------------------------

# put CASE METRIC VALUE: one figure of this configuration and round. Round 0 warms up: not kept.
put() {
	[[ $3 =~ ^[0-9.eE+-]+$ ]] || { tail -n 5 "$OUT" "$OUT.err" >&2; die "$CFG $1 $2: no figure"; }
	[ "$ROUND" -eq 0 ] && return
	printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$CFG" "${CFG_KIND[$CFG]}" "$ROUND" "$3" >>"$TSV"
}


# operations CASE: how many fill SECS, from the last rate seen in this configuration.
operations() {
	local r=${RATE[$1,$CFG]:-0}
	awk -v r="$r" -v t="$SECS" 'BEGIN { printf "%d\n", r ? r * t + 1 : 20000 }'
}

# Nanoseconds that a cache line takes between the two cores and back, now.
line_trip() {
	local program=$TREE/build/release/tests/bin/micro_line ns
	[ -x "$program" ] && [ "$S_CORE" != "$C_CORE" ] || return 0
	ns=$(timeout 10 "$program" "$S_CORE" "$C_CORE") && echo "$ns" >>"$TMP/line"
}

psi() { awk '/^some/ { sub("avg10=", "", $2); print $2 }' /proc/pressure/cpu 2>/dev/null || echo -; }

# Other work on the machine must have died down before a run whose figures are to be kept.
wait_quiet() {
	local i
	[ -n "$QUICK" ] && return
	for ((i = 0; i < 30; i++)); do
		awk -v p="$(psi)" 'BEGIN { exit !(p == "-" || p < 5) }' && return
		sleep 1
	done
}

fact() { printf '#%s\t%s\n' "$1" "$2" >>"$TSV"; }

tree_version() { git -C "$TREE" describe --always --dirty 2>/dev/null || echo -; }

# A fact of the last run.
last() { awk -F'\t' -v k="#$1" '$1 == k { sub("^[^\t]*\t", ""); print }' "$LAST"; }

# What the last run has counted is counted on.
take_last() {
	local c s n
	LAST=$OUTDIR/$WORKLOAD.tsv
	[ -f "$LAST" ] || die "--more: no $LAST"
	[ "$(last version) $(last seconds)" = "$(tree_version) $SECS" ] ||
		die "--more: $LAST is of $(last version), $(last seconds) s each"
	BEFORE=$(last pairs)
	last line_each | xargs -rn1 >"$TMP/line"
	last foreign_each | xargs -rn1 >"$TMP/foreign"
	grep -v '^#' "$LAST" >"$TMP/before"
	while IFS=$'\t' read -r c s n; do LIFTED[$c,server]=$s LIFTED[$c,client]=$n; done < <(last lifted)
}

machine_facts() {
	fact workload "$WORKLOAD"
	fact about "$ABOUT"
	fact date "$(date -u +%Y-%m-%dT%H:%MZ)"
	fact cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc --all) cores"
	fact memory "$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)"
	fact virtual "$(lscpu 2>/dev/null | sed -n 's/^Hypervisor vendor: *\(.*\)/\1 guest/p')"
	fact kernel "$(uname -r)"
	fact system "$(. /etc/os-release && echo "$PRETTY_NAME $(cat /etc/debian_version 2>/dev/null)")"
	fact version "$(tree_version)"
	fact pairs "$((BEFORE + PAIRS))"
	fact seconds "$SECS"
}

# Lines of lifted connections that both ends of each configuration wrote at their exit.
count_lifted() {
	local c side n
	for c in "${CFGS[@]}"; do
		for side in server client; do
			n=$(grep -cs "$LIFTED_LINE" "$TMP/explain.$c.$side")
			LIFTED[$c,$side]=$((${LIFTED[$c,$side]:-0} + ${n:-0}))
			rm -f -- "$TMP/explain.$c.$side"
		done
	done
}

# --- the run -------------------------------------------------------------------------------------

one_round() {
	local order=("${CFGS[@]}") i
	if ((ROUND % 2 == 0)); then
		order=()
		for ((i = ${#CFGS[@]} - 1; i >= 0; i--)); do order+=("${CFGS[i]}"); done
	fi
	for CFG in "${order[@]}"; do
		EXTRA=${CFG_EXTRA[$CFG]}
		EXPLAIN=()
		[ "$ROUND" -gt 0 ] && [ -z "$EXPLAIN_ALWAYS" ] || EXPLAIN=("ZTCP_EXPLAIN=$TMP/explain.$CFG.")
		if [ -z "${PORTS[$CFG]-}" ]; then
			PORT=$(free_port) PORTS[$CFG]=$PORT
			: >"$TMP/server.log"
			start
		fi
		PORT=${PORTS[$CFG]}
		measure
		[ "$BESIDE" -gt 0 ] || end_servers
	done
	[ "$BESIDE" -eq 0 ] || ((ROUND % BESIDE != 0 && ROUND != BEFORE + PAIRS)) || end_servers
}

end_servers() {
	stop_servers
	count_lifted
}

bench_main() {
	local c before
	mkdir -p -- "$OUTDIR" || exit 1
	TSV=$TMP/$WORKLOAD.tsv
	: >"$TMP/foreign"
	: >"$TMP/before"
	: >"$TMP/line"
	[ -z "$MORE" ] || take_last
	machine_facts
	for c in "${CFGS[@]}"; do
		fact config "$c	${CFG_KIND[$c]}	${CFG_S[$c]}/${CFG_C[$c]}	${CFG_AGAINST[$c]}"
	done
	cat "$TMP/before" >>"$TSV"
	wait_quiet
	before=$(psi)
	ROUND=0
	[ -z "$WARMING" ] || one_round
	for ((ROUND = BEFORE + 1; ROUND <= BEFORE + PAIRS; ROUND++)); do
		line_trip
		one_round
	done
	line_trip
	fact pressure "$before	$(psi)"
	fact line_each "$(xargs <"$TMP/line")"
	fact foreign_each "$(xargs <"$TMP/foreign")"
	[ ! -s "$TMP/line" ] || fact line "$(sort -g "$TMP/line" |
		awk '{ v[NR] = $1 } END { printf "%d\t%d\t%d\n", v[int((NR + 1) / 2)], v[1], v[NR] }')"
	fact foreign "$(sort -g "$TMP/foreign" |
		awk '{ v[NR] = $1 } END { printf "%.0f\t%.0f\n", v[int((NR + 1) / 2)], v[NR] }')"
	for c in "${CFGS[@]}"; do
		[ -z "${CFG_ZS[$c]}${CFG_ZC[$c]}" ] ||
			fact lifted "$c	${LIFTED[$c,server]:-0}	${LIFTED[$c,client]:-0}"
	done
	cp -- "$TSV" "$OUTDIR/$WORKLOAD.tsv" || exit 1
	bench_table "$OUTDIR/$WORKLOAD.tsv"
	bench_check_lifted
}

bench_table() { awk -v cases="$BENCH_DIR/app/cases.tsv" -f "$BENCH_DIR/table.awk" "$1"; }

# A figure of ours that no lifted connection carried is no figure of ours.
bench_check_lifted() {
	local c
	[ -n "$EXPECT_LIFT" ] || return 0
	for c in "${CFGS[@]}"; do
		[ -n "${CFG_ZS[$c]}" ] && [ -n "${CFG_ZC[$c]}" ] || continue
		[ "${LIFTED[$c,server]:-0}" -gt 0 ] && [ "${LIFTED[$c,client]:-0}" -gt 0 ] ||
			die "$c: no connection was lifted at one end or both; these figures are not ours"
	done
}
