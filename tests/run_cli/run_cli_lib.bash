# run_cli_lib.bash - what the scripts of this folder share: the program under test, a folder that goes away, checks.
#
# Each check prints exactly what differs and remembers it; the script ends with run_cli_end.
set -u

build=${ZTCP_BUILD:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/release}
run=$build/bin/ztcp_run
failures=0
work=$(mktemp -d "${TMPDIR:-/tmp}/run_cli.XXXXXX")
trap 'rm -rf "$work"' EXIT
unset LD_PRELOAD ${!ZTCP_@}
[ -x "$run" ] || { echo "no $run: build it first"; exit 1; }

# The program in a tree of its own with a stand-in for the library that does nothing: what is tested here
# is the program, whatever the library does.
mkdir -p "$work/tree/bin" "$work/tree/lib"
cp "$run" "$work/tree/bin/ztcp_run"
if ! echo 'int run_cli_stand_in;' | gcc -shared -fPIC -x c - -o "$work/tree/lib/libztcp_preload.so"; then
	echo "gcc cannot build a shared object"
	exit 1
fi
run=$work/tree/bin/ztcp_run
lib=$work/tree/lib/libztcp_preload.so

fail() {
	echo "FAIL: $*"
	failures=$((failures + 1))
}

# same WHAT WANT GOT
same() {
	[ "$2" = "$3" ] || fail "$1"$'\n'"  want: $2"$'\n'"  got:  $3"
}

# said COMMAND...: run it; its streams and status are in $out, $err, $status.
said() {
	out=$("$@" 2>"$work/stderr")
	status=$?
	err=$(cat "$work/stderr")
}

run_cli_end() {
	[ "$failures" -eq 0 ] && exit 0
	echo "$failures checks failed"
	exit 1
}
