#!/bin/bash
# run_cli_options.sh - options become environment, and wrong ones are refused before anything runs
. "$(dirname "${BASH_SOURCE[0]}")/run_cli_lib.bash"

said "$run" --path shm --spin=7 --explain --only -- env
for want in ZTCP_PATH=shm ZTCP_SPIN=7 ZTCP_EXPLAIN=1 ZTCP_ONLY=1; do
	grep -qx "$want" <<<"$out" || fail "no $want in the environment of the program"
done
same "stderr of a good run" "" "$err"

said "$run" env
same "no option, no variable" "" "$(grep ZTCP_ <<<"$out")"

ZTCP_SPIN=1 said "$run" --spin 2 sh -c 'echo $ZTCP_SPIN'
same "an option wins over the environment" 2 "$out"

(cd "$work" && "$run" --explain=report sh -c 'echo $ZTCP_EXPLAIN') >"$work/out"
same "a relative file is made absolute" "$work/report" "$(cat "$work/out")"

said "$run" --version
grep -qE '^ztcp_run [0-9]+\.[0-9]+\.[0-9]+$' <<<"$out" || fail "--version prints '$out'"
same "--version status" 0 "$status"

said "$run" --help
same "--help status" 0 "$status"
for option in path spin policy explain only version help; do
	grep -qE -- "^  (-., )?--$option" <<<"$out" || fail "--help does not name --$option"
done
grep -qi chaos <<<"$out" && fail "--help names a test hook"

"$run" --help >/dev/full 2>/dev/null && fail "--help onto a full device succeeds"

# wrong STDERR ARGS...
wrong() {
	local want=$1
	shift
	said "$run" "$@"
	same "stderr of: $*" "ztcp_run: $want" "$err"
	same "status of: $*" 2 "$status"
	same "stdout of: $*" "" "$out"
}
wrong "which program? see ztcp_run --help"
wrong "which program? see ztcp_run --help" --
wrong "which program? see ztcp_run --help" --only
wrong "unknown option '--frob'; see ztcp_run --help" --frob echo ran
wrong "unknown option '-x'; see ztcp_run --help" -x echo ran
wrong "unknown option '--lift=1'; see ztcp_run --help" --lift=1 echo ran
wrong "unknown option '--pathx=shm'; see ztcp_run --help" --pathx=shm echo ran
wrong "a value is missing behind '--spin'; see ztcp_run --help" --spin
wrong "no value belongs behind '--only'; see ztcp_run --help" --only=1 echo ran
wrong "--spin: expected a number from 0 to 1000000, found 'x'" --spin x echo ran
wrong "--spin: expected a number from 0 to 1000000, found '1000001'" --spin=1000001 echo ran
wrong "--spin: expected a number from 0 to 1000000, found ''" --spin= echo ran
wrong "--path: expected auto, kernel, shm or stack, found 'tcp'" --path=tcp echo ran
wrong "--explain: expected a file name, found ''" --explain= echo ran
export ZTCP_SPIN=fast
wrong "ZTCP_SPIN: expected a number from 0 to 1000000, found 'fast'" echo ran
unset ZTCP_SPIN
export ZTCP_CHAOS=0
wrong "ZTCP_CHAOS: expected a number from 1 to 9223372036854775807, found '0'" echo ran
unset ZTCP_CHAOS

run_cli_end
