# run_cli_publish.bash - what the scripts about ztcp's tools share: processes that publish connections without having any.
#
# Each check prints exactly what differs and remembers it; the script ends with publish_end.
set -u

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
build=${ZTCP_BUILD:-$(readlink -f "$here/../..")/build/release}
tool=$build/bin/ztcp
publish=$build/tests/bin/tool_publish
for f in "$tool" "$publish"; do
	[ -x "$f" ] || { echo "no $f: build it first"; exit 1; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/run_cli.XXXXXX")
failures=0
started=()
cleanup() {
	local pid
	for pid in "${started[@]}"; do
		kill -KILL "$pid" 2>/dev/null
	done
	rm -rf "$work"
}
trap cleanup EXIT

fail() {
	echo "FAIL: $*"
	failures=$((failures + 1))
}

# begin HOW...: start a publisher; sets pid, client, server, cookie
begin() {
	mkfifo "$work/in.$1" "$work/out.$1"
	"$publish" "$@" <"$work/in.$1" >"$work/out.$1" &
	started+=($!)
	disown
	exec {hold}>"$work/in.$1"
	read -r pid client server cookie <"$work/out.$1"
	[ -n "$pid" ] || { echo "$publish $* does not start"; exit 1; }
}

# usage WANT ARGS...: ztcp refuses these arguments with these words
usage() {
	local want=$1 got
	shift
	got=$("$tool" "$@" 2>&1)
	[ $? -eq 2 ] || fail "status of: ztcp $*"
	[ "$got" = "ztcp: $want" ] || fail "ztcp $* says: $got"
}

publish_end() {
	[ "$failures" -eq 0 ] && exit 0
	echo "$failures checks failed"
	exit 1
}
