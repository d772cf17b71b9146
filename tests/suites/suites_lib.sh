# suites_lib.sh - what every suite script shares; sourced, never run
#
# A suite script names its suite, defines suite_units, suite_quick_units, suite_soak_units and suite_run UNIT,
# and ends with `suite_main "$@"`.  A unit is the smallest part that can be run again alone: a test module, a
# test program, a stressor.  suites_run.sh runs every unit natively and wrapped, each in namespaces
# of its own, and compares the two lists of results test by test.
#
#   suites_NAME.sh packages          the Debian packages it needs
#   suites_NAME.sh units [SET]       one unit a line: of a full run; SET quick: of every change; SET soak: all there are
#   suites_NAME.sh prepare           builds what has to be built, under $SUITE_DIR/NAME
#   suites_NAME.sh run UNIT RES LOG  runs it under $WRAP; appends "PASS|FAIL|SKIP <tab> test" to RES
set -u

SUITES=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
ROOT=$(dirname "$(dirname "$SUITES")")
SUITE_DIR=${SUITE_DIR:-${ZTCP_BUILD:-$ROOT/build/release}/suites}
PYTHON=/usr/bin/python3
read -ra WRAP <<< "${WRAP-}"

# result PASS|FAIL|SKIP TEST
result() {
	printf '%s\t%s\n' "$1" "$2" >> "$RES"
}

# results_from KIND FILE [PREFIX [EXIT]]: translate what a test runner wrote into result lines
results_from() {
	"$PYTHON" "$SUITES/suites_results.py" "$@" >> "$RES"
}

# bounded SECONDS COMMAND...: run it under $WRAP, all output to $LOG; gives the command's exit code
bounded() {
	local limit=$1
	shift
	timeout -k 5 "$limit" ${WRAP[@]+"${WRAP[@]}"} "$@" >> "$LOG" 2>&1
}

suite_packages() {
	printf '%s\n' $PACKAGES
}

suite_prepare() {
	:
}

suite_soak_units() {
	suite_units
}

suite_main() {
	local verb=${1-}

	OUT=$SUITE_DIR/$NAME
	mkdir -p "$OUT"
	case $verb in
	packages) suite_packages ;;
	units)
		case ${2-} in
		quick) suite_quick_units ;;
		soak) suite_soak_units ;;
		*) suite_units ;;
		esac
		;;
	prepare) suite_prepare ;;
	run)
		RES=$(readlink -m "$3")
		LOG=$(readlink -m "$4")
		WORK=$(mktemp -d "$OUT/work.XXXXXX")
		trap 'rm -rf "$WORK"' EXIT
		cd "$WORK" || exit 2
		suite_run "$2"
		;;
	*)
		echo "usage: $0 packages | units [soak] | prepare | run UNIT RESULTS LOG" >&2
		exit 2
		;;
	esac
}
