#!/bin/bash
# suites_run.sh - run one third-party suite natively and under ztcp_run, and compare test by test
#
#   suites_run.sh [quick|soak] SUITE [UNIT...]
#
# Every unit runs natively, then wrapped with the lift threshold at its default (pass "wrap"), then
# wrapped and lifted as soon as possible (pass "lift0"), each time in fresh network and process
# namespaces, so that nothing leaves the machine and nothing stays behind.  What passes natively and
# not wrapped is run three times more both ways before it is called lost: it is lost when all native
# reruns pass and at least one wrapped rerun does not, or all three when suites_flakes.txt names it as
# one that fails now and then without us.  The libraries' own reports (ZTCP_EXPLAIN) must show connections
# that were lifted, else the comparison would prove nothing.
#
# Environment: ZTCP_RUN   the program under test (default: bin/ztcp_run of the build folder)
#              SUITE_DIR  where results and builds go (default: suites in the build folder)
#              PASSES     "wrap lift0"; chaos, too: lifted and lowered at random
#              SEED       of chaos; printed
# Exit: 0 nothing lost, 1 tests lost or nothing lifted, 2 cannot run, 77 a package is missing.
set -u
here=$(dirname "$(readlink -f "$0")")
root=$(dirname "$(dirname "$here")")
build=${ZTCP_BUILD:-$root/build/release}
ZTCP_RUN=${ZTCP_RUN:-$build/bin/ztcp_run}
export SUITE_DIR=${SUITE_DIR:-$build/suites}
PASSES=${PASSES:-wrap lift0}
seed=${SEED:-$((RANDOM + 1))}
set_of=""
case ${1-} in quick | soak) set_of=$1; shift ;; esac
[ $# -ge 1 ] || { echo "usage: $0 [quick|soak] SUITE [UNIT...]" >&2; exit 2; }
suite=$1
shift
script=$here/suites_$suite.sh
[ -x "$script" ] || { echo "$0: no suite $suite" >&2; exit 2; }
[ -x "$ZTCP_RUN" ] || { echo "$0: $ZTCP_RUN is not there: build it first" >&2; exit 2; }
for p in $("$script" packages); do
	dpkg -s "$p" > /dev/null 2>&1 || { echo "$suite: skipped, Debian package $p is missing"; exit 77; }
done
out=$SUITE_DIR/$suite${set_of:+.$set_of}
mkdir -p "$out"
if ! flock "$SUITE_DIR/$suite.lock" "$script" prepare > "$out/prepare.log" 2>&1; then
	echo "$suite: cannot be built, see $out/prepare.log" >&2
	exit 2
fi

if [ "$(id -u)" = 0 ]; then
	spaces=(unshare -n -p -f --mount-proc --kill-child)
else
	spaces=(unshare -U -r -n -p -f --mount-proc --kill-child)
fi
"${spaces[@]}" true || { echo "$suite: skipped, namespaces are not allowed here"; exit 77; }

# run_unit UNIT PASS NAME: one unit once; results in $out/NAME.txt, output in $out/NAME.logs
run_unit() {
	local unit=$1 pass=$2 name=$3 logs=$out/$3.logs log explain=$out/$3.explain

	log=$logs/${unit//\//_}.log
	mkdir -p "$logs"
	: > "$log"
	(
		unset WRAP ZTCP_EXPLAIN ZTCP_LIFT ZTCP_CHAOS
		case $pass in
		base) ;;
		wrap) export WRAP="$ZTCP_RUN --" ZTCP_EXPLAIN=$explain ;;
		lift0) export WRAP="$ZTCP_RUN --" ZTCP_EXPLAIN=$explain ZTCP_LIFT=0 ;;
		chaos) export WRAP="$ZTCP_RUN --" ZTCP_EXPLAIN=$explain ZTCP_CHAOS=$seed ;;
		esac
		exec "${spaces[@]}" bash -c 'ip link set lo up; exec "$@"' - \
			"$script" run "$unit" "$out/$name.txt" "$log" < /dev/null
	)
}

# passed FILE WHAT TEST: whether the rerun in FILE has TEST right; NEW is a failure without a native twin
passed() {
	if [ "$2" = NEW ]; then
		! grep -qxF "FAIL	$3" "$1"
	else
		grep -qxF "PASS	$3" "$1"
	fi
}

# again UNIT PASS: three reruns both ways, in $out/again.N.{base,PASS}.txt
again() {
	local i

	rm -f "$out"/again.*.txt
	for i in 1 2 3; do
		run_unit "$1" base again.$i.base
		run_unit "$1" "$2" again.$i.$2
	done
}

# judge PASS WHAT TEST: whether the reruns say that the test is lost
judge() {
	local i native=0 wrapped=0 enough=3

	for i in 1 2 3; do
		passed "$out/again.$i.base.txt" "$2" "$3" && native=$((native + 1))
		passed "$out/again.$i.$1.txt" "$2" "$3" && wrapped=$((wrapped + 1))
	done
	verdict="native $native of 3, wrapped $wrapped of 3"
	known_flake "$3" && enough=1 && verdict="$verdict; known: $reason"
	[ $native = 3 ] && [ $wrapped -lt $enough ]
}

# known_flake TEST: its reason in $reason
known_flake() {
	reason=$(awk -F'\t' -v s="$suite" -v t="$1" \
		'!/^#/ && NF == 3 && $1 == s && t ~ ("^(" $2 ")$") { print $3; exit }' "$here/suites_flakes.txt")
	[ -n "$reason" ]
}

count() { # count FILE...: lines of PASS
	cat "$@" 2> /dev/null | grep -c '^PASS'
}

if [ $# -gt 0 ]; then units=("$@"); else readarray -t units < <("$script" units $set_of); fi
rm -rf "$out"/{base,wrap,lift0,chaos,again*}.{txt,logs,explain}
lost=0 noise=0
for unit in "${units[@]}"; do
	began=$SECONDS
	run_unit "$unit" base unit.base
	for pass in $PASSES; do
		run_unit "$unit" $pass unit.$pass
		"$here/suites_results.py" lost "$out/unit.base.txt" "$out/unit.$pass.txt" > "$out/lost.$pass"
		[ ! -s "$out/lost.$pass" ] || again "$unit" $pass
		while IFS=$'\t' read -r what test; do
			if judge $pass "$what" "$test"; then
				echo "$suite: $pass: LOST $test ($what; $verdict)"
				lost=$((lost + 1))
			else
				echo "$suite: $pass: failed once, not lost: $test ($what; $verdict)"
				noise=$((noise + 1))
			fi
		done < "$out/lost.$pass"
		cat "$out/unit.$pass.txt" >> "$out/$pass.txt"
		cat "$out/unit.$pass.explain" >> "$out/$pass.explain" 2> /dev/null
	done
	cat "$out/unit.base.txt" >> "$out/base.txt"
	printf '%s\t%d s\n' "$unit" $((SECONDS - began)) >> "$out/times.txt"
	rm -rf "$out"/unit.*.txt "$out"/unit.*.explain
	for pass in base $PASSES; do
		mkdir -p "$out/$pass.logs" && cp -a "$out/unit.$pass.logs/." "$out/$pass.logs/" && rm -rf "$out/unit.$pass.logs"
	done
done

rc=0
[ $lost = 0 ] || rc=1
: > "$out/summary.txt"
base=$(count "$out/base.txt")
[ "$base" -gt 0 ] || { echo "$suite: not one test passed natively" >&2; rc=1; }
for pass in $PASSES; do
	connections=$(grep -c 'path=' "$out/$pass.explain" 2> /dev/null)
	lifted=$(grep -c 'path=shm' "$out/$pass.explain" 2> /dev/null)
	echo "$suite: $pass: ${#units[@]} units, $base tests passed natively, $(count "$out/$pass.txt") wrapped;" \
		"${connections:-0} connections seen, ${lifted:-0} lifted"
	echo "| $suite${set_of:+, $set_of} | $pass | $base | $(count "$out/$pass.txt") | $lost | ${connections:-0} | ${lifted:-0} |" >> "$out/summary.txt"
	if [ "${lifted:-0}" = 0 ] && [ $# = 0 ]; then
		echo "$suite: $pass: no connection was lifted, so nothing was tested" >&2
		rc=1
	fi
done
[ "$PASSES" = "${PASSES/chaos/}" ] || echo "$suite: chaos: seed $seed"
echo "$suite: $lost tests lost, $noise failed once; ${SECONDS} s"
exit $rc
