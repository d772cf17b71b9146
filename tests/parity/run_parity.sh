#!/bin/bash
# run_parity.sh - run the parity programs natively and under ztcp_run and compare what they print
#
# usage: run_parity.sh [options] [PROGRAM...]        (default: every par_* program of the build)
#   --mode M      default, lift0, chaos, kernel, stack or shared; may be given several times (default: the first four;
#                 --table: all but shared)
#   --case REGEX  only cases whose NAME.FLAVOUR matches
#   --seed N      seed of the chaos mode (default 1)
#   --jobs N      cases run at once (default: one a processor)
#   --limit N     seconds a case may take before it is called a hang (default 60)
#   --build DIR   the build folder (default: $ZTCP_BUILD, or build/release of this tree)
#   --out DIR     keep what was printed there (default: a temporary folder, removed)
#   --native N    no comparison with ztcp_run: run natively N times and compare these
#   --table       write docs/compatibility.md from the results
#   --unlifted    also list the cases whose connection should have been lifted and was not
#
# A case prints a line for each call it makes. The native run is what is expected; a case agrees in
# a mode if its output, its standard error and its exit status are the same, and if it does not take
# seconds longer: waits in the cases give up after 5 s, which would hide that a wake-up was lost. A busy machine makes any
# run long: so one that took long is run again while no other case is, each time beside a new native run, and is slow if
# it is so each time; else the report names it. The time in which its namespace is made does not count. In mode stack both
# runs have a network namespace of their own with an address for each side of a case: 10.9.0.2 for the program, and
# for its servant 10.9.0.1, the kernel's side of the TAP that carries the stack's frames. In mode shared these are the two
# ends of a veth, whose near one the stack shares with the kernel, and the servant is in the far one's namespace. What is
# listed in known_differences.txt, each with its reason, does not fail; if it passes it is named. The folder kept by
# --out has PROGRAM/CASE.MODE with the output and PROGRAM/CASE.MODE.explain with the paths.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$(cd "$here/../.." && pwd)
build=${ZTCP_BUILD:-$tree/build/release}
slow_ms=3500    # longer than the native run by this is too long
slow_tries=4    # and that often, the last ones alone
lifted_least=90 # percent of the warm cases of a program that must have used the shm path

apart=(unshare -n -m "$0" --on-wire) # MODE native|ztcp COMMAND...: in namespaces of the mode's
modes=() programs=() regex=. seed=1 jobs=$(nproc) limit=60 out='' native=0 table='' unlifted=''

die() {
	echo "run_parity: $*" >&2
	exit 2
}

mode_env() {
	case $1 in
	default) ;;
	lift0) echo ZTCP_LIFT=0 ;;
	chaos) echo ZTCP_CHAOS="$seed" ;;
	kernel) echo ZTCP_PATH=kernel ;;
	stack | shared) echo "ZTCP_PATH=stack ZTCP_INTERFACES=$out/interfaces.$1" ;;
	*) die "no mode $1" ;;
	esac
}

# Lines of other processes than the case's own are marked "| " and set apart: their order is free.
run_case() { # FILE COMMAND...; leaves in $took the milliseconds
	local file=$1 status start=${EPOCHREALTIME//[.,]/}
	shift
	rm -f "$file.begun"
	{ PARITY_BEGUN=$file.begun timeout -k 1 "$limit" "$@" >"$file.raw" 2>"$file.err" </dev/null 9>&-; } 2>/dev/null
	status=$?
	[ ! -s "$file.begun" ] || read -r start <"$file.begun"
	took=$(((${EPOCHREALTIME//[.,]/} - start) / 1000))
	{
		grep -av '^| ' "$file.raw"
		grep -a '^| ' "$file.raw"
		[ -s "$file.err" ] && sed 's/^/stderr: /' "$file.err"
		echo "status $status"
	} >"$file"
	rm -f "$file.raw" "$file.err" "$file.begun"
}

# In a namespace of its own: the addresses of both sides, the program's one left to the stack or not.
wire_stack() { # native|ztcp
	ip link set lo up && ip tuntap add zt0 mode tap && ip link set zt0 up && ip address add 10.9.0.1/24 dev zt0 &&
		ip address add fd09::1/64 dev zt0 nodad || exit 97
	if [ "$1" = native ]; then
		ip address add 10.9.0.2/24 dev zt0 && ip address add fd09::2/128 dev lo nodad || exit 97
		wire_route fd09::2 from fd09::1
	fi
}

wire_shared() { # native|ztcp
	export PARITY_FAR_NET=/run/netns/far
	mkdir -p /run/netns && mount -t tmpfs netns /run/netns && mount -t bpf bpf /sys/fs/bpf && ip netns add far &&
		ip link set lo up && ip -n far link set lo up &&
		ip link add v0 numtxqueues 1 numrxqueues 1 type veth peer name v1 numtxqueues 1 numrxqueues 1 netns far &&
		ip address add 10.9.0.2/24 dev v0 && ip address add fd09::2/64 dev v0 nodad && ip link set v0 up &&
		ip -n far address add 10.9.0.1/24 dev v1 && ip -n far address add fd09::1/64 dev v1 nodad &&
		ip -n far link set v1 up || exit 97
	wire_route fd09::1
	[ "$1" = native ] || "$build/bin/ztcp" nic attach v0 >/dev/null || exit 97
}

wire_route() { # ADDRESS...: a route comes when the kernel gets to it
	for _ in {1..5000}; do
		ip -6 route get "$@" >/dev/null 2>&1 && return
		sleep 0.01
	done
}

on_wire() { # stack|shared native|ztcp COMMAND...
	export PARITY_WIRE=1
	"wire_$1" "$2"
	shift 2
	[ -z "${PARITY_BEGUN:-}" ] || echo "${EPOCHREALTIME//[.,]/}" >"$PARITY_BEGUN"
	unset PARITY_BEGUN
	exec "$@"
}

is_wire() { # MODE
	[ "$1" = stack ] || [ "$1" = shared ]
}

# What the kernel says: natively, and for the mode stack over the same addresses as there. Leaves in $took the milliseconds.
run_native() { # MODE PROGRAM CASE
	if is_wire "$1"; then
		run_case "$out/$2/$3.native_$1" "${apart[@]}" "$1" native "$build/tests/bin/$2" "$3"
	else
		run_case "$out/$2/$3.native" "$build/tests/bin/$2" "$3"
	fi
}

run_mode() { # MODE PROGRAM CASE
	local prefix=()
	! is_wire "$1" || prefix=("${apart[@]}" "$1" ztcp)
	run_case "$out/$2/$3.$1" "${prefix[@]}" env ZTCP_EXPLAIN="$out/$2/$3.$1.explain" $(mode_env "$1") \
		"$build/bin/ztcp_run" "$build/tests/bin/$2" "$3"
}

native_of() { # PROGRAM CASE MODE
	if is_wire "$3"; then echo "$out/$1/$2.native_$3"; else echo "$out/$1/$2.native"; fi
}

verdict() { # NATIVE OTHER
	if cmp -s "$1" "$2"; then
		if grep -q '^status 77$' "$2"; then echo skipped; else echo same; fi
	elif grep -qE '^status (124|137)$' "$2"; then
		echo hangs
	else
		echo differs
	fi
}

# Whether a connection used the path that the mode is about.
used_path() { # EXPLAIN MODE
	local path=shm also=path=shm
	! is_wire "$2" || path=stack also="lowers=1 "
	[ -s "$1" ] && grep -qE "path=$path|$also" "$1"
}

# Whether known_differences.txt says that the case has nothing to say in the mode.
applies() { # PROGRAM CASE MODE
	! awk -v p="$1" -v c="$2" -v m="no-$3" '!/^#/ && $3 == m && p ~ "^(" $1 ")$" && c ~ "^(" $2 ")$" { found = 1 }
		END { exit !found }' "$here/known_differences.txt"
}

# One case in all modes; appends a line "PROGRAM CASE WARMTH MODE VERDICT LIFTED" for each.
one_case() { # PROGRAM CASE WARMTH
	local program=$1 case=$2 warmth=$3 base=$out/$1/$2 mode v lifted natively try native last=''
	exec 9>>"$out/alone"
	flock -s 9
	for mode in "${modes[@]}"; do
		if ! applies "$program" "$case" "$mode"; then
			echo "$program $case $warmth $mode skipped no"
			continue
		fi
		native=$(native_of "$program" "$case" "$mode")
		if [ "$native" != "$last" ]; then
			run_native "$mode" "$program" "$case"
			natively=$took last=$native
			grep -qE '^(\| )?harness:|WRONG BYTE|TOO EARLY|^status (124|137|9[0-9])$' "$native" &&
				echo "$program $case $warmth native broken no"
		fi
		for ((try = 1; try <= slow_tries; try++)); do
			rm -f "$base.$mode.explain"
			run_mode "$mode" "$program" "$case"
			v=$(verdict "$native" "$base.$mode")
			[ "$v" = same ] && [ "$took" -gt $((natively + slow_ms)) ] || break
			v=slow
			echo "$program $case ($mode): $took ms, natively $natively" >>"$out/waited"
			[ $try -lt $slow_tries ] || break
			flock -u 9 && flock 9
			run_native "$mode" "$program" "$case" && natively=$took
		done
		flock -s 9
		lifted=no
		used_path "$base.$mode.explain" "$mode" && lifted=yes
		echo "$program $case $warmth $mode $v $lifted"
	done
}

native_case() { # PROGRAM CASE WARMTH
	local base=$out/$1/$2 i
	for ((i = 1; i <= native; i++)); do
		run_case "$base.$i" "$build/tests/bin/$1" "$2"
		if grep -qE '^(\| )?harness:|WRONG BYTE|TOO EARLY|^status (124|137|9[0-9])$' "$base.$i"; then
			echo "$1 $2 $3 native broken no"
		fi
		if ! cmp -s "$base.1" "$base.$i"; then
			echo "$1 $2 $3 native differs no"
			return
		fi
	done
	echo "$1 $2 $3 native same no"
}

while [ $# -gt 0 ]; do
	case $1 in
	--mode) modes+=("$2") && shift 2 ;;
	--case) regex=$2 && shift 2 ;;
	--seed) seed=$2 && shift 2 ;;
	--jobs) jobs=$2 && shift 2 ;;
	--limit) limit=$2 && shift 2 ;;
	--build) build=$2 && shift 2 ;;
	--out) out=$2 && shift 2 ;;
	--native) native=$2 && shift 2 ;;
	--table) table=yes && shift ;;
	--unlifted) unlifted=yes && shift ;;
	--on-wire) # internal: run by unshare
		shift
		on_wire "$@"
		;;
	--one) # internal: run by xargs
		build=$2 out=$3 seed=$4 native=$5 limit=$6
		read -ra modes <<<"$7"
		shift 7
		if [ "$native" -gt 0 ]; then native_case "$@"; else one_case "$@"; fi
		exit
		;;
	-h | --help)
		sed -n '2,/^set -u/{/^set -u/d;s/^# \{0,1\}//;p}' "$0"
		exit 0
		;;
	-*) die "unknown option $1" ;;
	*) programs+=("$1") && shift ;;
	esac
done

if [ ${#modes[@]} -eq 0 ]; then
	modes=(default lift0 chaos kernel)
	[ -z "$table" ] || modes+=(stack)
fi
for m in "${modes[@]}"; do mode_env "$m" >/dev/null || exit 2; done
build=$(cd "$build" 2>/dev/null && pwd) || die "no build folder $build"
export ZTCP_BUILD=$build
if [ ${#programs[@]} -eq 0 ]; then
	for p in "$build"/tests/bin/par_*; do [ -x "$p" ] && programs+=("${p##*/}"); done
fi
[ ${#programs[@]} -gt 0 ] || die "no parity programs in $build/tests/bin: build the tree first"
if [ "$native" -eq 0 ] && [ ! -x "$build/bin/ztcp_run" ]; then
	echo "run_parity: no $build/bin/ztcp_run" >&2
	exit 77
fi
if [ -z "$out" ]; then
	out=$(mktemp -d)
	trap 'rm -rf "$out"' EXIT
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)
echo "interface zt0 device=tap:zt0 address=10.9.0.2/24,fd09::2/64" >"$out/interfaces.stack"
echo "interface v0 device=xdp:v0" >"$out/interfaces.shared"
for m in "${modes[@]}"; do
	if is_wire "$m" && ! "${apart[@]}" "$m" ztcp true; then
		echo "run_parity: no namespace, no TAP or no bpffs can be had here, so no mode $m" >&2
		exit 77
	fi
done
: >"$out/cases"
: >"$out/waited"
for p in "${programs[@]}"; do
	mkdir -p "$out/$p"
	"$build/tests/bin/$p" --list >"$out/$p/list" || die "$p --list failed"
	awk -F'\t' -v p="$p" -v re="$regex" '$1 ~ re { print p, $1, $2 }' "$out/$p/list" >>"$out/cases"
done
[ -s "$out/cases" ] || die "no case matches $regex"

xargs -P "$jobs" -L 1 "$0" --one "$build" "$out" "$seed" "$native" "$limit" "${modes[*]}" <"$out/cases" |
	sort >"$out/results"

# Report ------------------------------------------------------------------------------------------
show_difference() { # PROGRAM CASE MODE
	echo "--- $1 $2 ($3): - native, + ztcp_run"
	diff "$(native_of "$1" "$2" "$3")" "$out/$1/$2.$3" | grep -a '^[<>]' | sed 's/^</-/;s/^>/+/' |
		awk '++lines[substr($0, 1, 1)] <= 8'
}

# A sixth field becomes a seventh for what is known: the line of known_differences.txt.
awk 'NR == FNR {
		if (/^#/ || NF < 4) next
		n++; program[n] = "^(" $1 ")$"; name[n] = "^(" $2 ")$"; mode[n] = "^(" $3 ")$"; line[n] = FNR
		next
	}
	{
		known = 0
		for (i = 1; i <= n && !known; i++)
			if ($1 ~ program[i] && $2 ~ name[i] && $4 ~ mode[i]) known = line[i]
		print $0, known
	}' "$here/known_differences.txt" "$out/results" >"$out/judged"

bad=0 known_bad=0 known_good=()
while read -r p c _ m v _ known; do
	case $v in
	differs | hangs | slow)
		if [ "$known" != 0 ]; then
			known_bad=$((known_bad + 1))
			continue
		fi
		bad=$((bad + 1))
		if [ "$native" -gt 0 ]; then echo "$p $c: two native runs differ"; else
			echo "$p $c: $v in mode $m"
			[ $bad -le 40 ] && show_difference "$p" "$c" "$m"
		fi
		;;
	broken)
		bad=$((bad + 1))
		echo "$p $c: broken in the native run"
		;;
	same) [ "$known" != 0 ] && [ "$native" -eq 0 ] && known_good+=("$p $c $m") ;;
	esac
done <"$out/judged"
[ $known_bad -gt 0 ] && echo "known differences: $known_bad"
not_run=$(grep -c ' skipped no' "$out/results")
[ "$not_run" -gt 0 ] && echo "skipped, or not for the mode: $not_run"
echo "the same: $(grep -c ' same ' "$out/results") of $(grep -vc ' native ' "$out/results")"
sed 's/^/took long: /' "$out/waited"
[ ${#known_good[@]} -gt 0 ] && printf 'known, but the same this time: %s\n' "${known_good[@]}"

# Warm cases must have been lifted, and all have been on the stack in its mode, or the comparison proves nothing; with
# ZTCP_PATH=kernel and with a far end that is not under ztcp_run none may be.
lift_report() {
	awk -v least=$lifted_least -v list="$unlifted" '
		$4 == "native" || $5 == "skipped" || ($7 && $5 != "same") { next }
		$4 == "kernel" || ($3 == "half" && $4 != "stack" && $4 != "shared") {
			if ($6 == "yes" && $4 == "kernel") { print $1, $2 ": lifted in mode " $4; bad = 1 }
			next
		}
		$3 == "warm" || ($3 != "plain" && ($4 == "stack" || $4 == "shared")) {
			warm[$1 " " $4]++
			if ($6 == "yes") lifted[$1 " " $4]++
			else if (list) print $1, $2 ": not lifted in mode " $4
		}
		END {
			for (k in warm)
				if (lifted[k] * 100 < warm[k] * least) {
					split(k, part, " ")
					printf "%s: only %d of %d cases were lifted in mode %s\n",
						part[1], lifted[k], warm[k], part[2]
					bad = 1
				}
			exit bad
		}' "$out/judged"
}
if [ "$native" -eq 0 ]; then
	lift_report || bad=$((bad + 1))
fi

if [ -n "$table" ]; then
	for p in "${programs[@]}"; do sed "s/^/$p\t/" "$out/$p/list"; done >"$out/abouts"
	"$here/compatibility.awk" "$here/known_differences.txt" "$out/abouts" "$out/judged" >"$tree/docs/compatibility.md.new" &&
		mv "$tree/docs/compatibility.md.new" "$tree/docs/compatibility.md"
fi
[ $bad -eq 0 ]
