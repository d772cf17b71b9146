#!/bin/bash
# run_cli_docs.sh - pages say what the programs do: examples of the policy page, options, commands, reasons.
#
# With --write the list of reasons is made anew from stack/base/reasons.def.
set -u
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
build=${ZTCP_BUILD:-$root/build/release}
failures=0

fail() {
	echo "FAIL: $*"
	failures=$((failures + 1))
}

reasons() {
	cat <<'P'
# Reasons

Why a connection is on its path. `ztcp ss`, `ztcp why PID:FD` and `ztcp_run --explain` name the reason; numbers and names are stable.
This page is made from `stack/base/reasons.def` by `tests/run_cli/run_cli_docs.sh --write`, and a test compares them.

| number | name | |
| --- | --- | --- |
P
	sed -n 's/^REASON(\([0-9]*\), \([A-Z0-9_]*\), "\(.*\)")$/| \1 | `\2` | \3 |/p' "$root/stack/base/reasons.def"
}

if [ "${1-}" = --write ]; then
	reasons >"$root/docs/reasons.md"
	exit
fi
[ "$(grep -c '^REASON(' "$root/stack/base/reasons.def")" = "$(reasons | grep -c '^| [0-9]')" ] ||
	fail "reasons.def has a row that docs/reasons.md cannot hold: one line, one sentence each"
diff <(reasons) "$root/docs/reasons.md" || fail "docs/reasons.md differs from reasons.def: tests/run_cli/run_cli_docs.sh --write"

for f in ztcp ztcp_run; do
	[ -x "$build/bin/$f" ] || { echo "no $build/bin/$f: build it first"; exit 1; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/run_cli_docs.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Blocks "policy NAME" become files; in "console" blocks each command's output is the line behind it.
awk -v dir="$work/" '
/^```policy / { out = dir $2; blocks++; next }
/^```console$/ { out = dir "console"; next }
/^```/ { out = ""; next }
out { print > out }
END { exit !(blocks > 5) }' "$root/docs/policy.md" || fail "docs/policy.md has fewer than 6 examples"
mkdir "$work/folder.d"
echo 'lift port=6379' >"$work/folder.d/10-redis.policy"
echo 'lift port=80' >"$work/folder.d/20-shop.policy"
cd "$work" || exit 1
for policy in *; do
	case $policy in
	console | *.d) ;;
	*) "$build/bin/ztcp" policy check "$policy" >/dev/null || fail "the example $policy" ;;
	esac
done
commands=0
while IFS= read -r command && IFS= read -r want; do
	commands=$((commands + 1))
	[ "${command#\$ ztcp }" != "$command" ] || fail "not a command of ztcp: $command"
	read -ra words <<<"${command#\$ ztcp }"
	got=$("$build/bin/ztcp" "${words[@]}" 2>&1)
	[ "$got" = "$want" ] || fail "$command"$'\n'"  the page: $want"$'\n'"  it says:  $got"
done <console
[ "$commands" -gt 10 ] || fail "docs/policy.md has only $commands commands"

# Every option, its variable and its sentence: in the manual page, in --help, in the completion.
page=$(sed 's/^\.[A-Z]* //; s/\\-/-/g' "$root/docs/man/ztcp_run.1")
help=$("$build/bin/ztcp_run" --help)
grep -c '^OPTION(' "$root/stack/base/options.def" >"$work/count"
options=0
while IFS=$'\t' read -r name env doc; do
	options=$((options + 1))
	grep -q -- "--$name" <<<"$page" || fail "ztcp_run.1 does not name --$name"
	grep -q -- "$env" <<<"$page" || fail "ztcp_run.1 does not name $env"
	grep -qF -- "$doc" <<<"$page" || fail "ztcp_run.1 does not say of --$name: $doc"
	grep -qF -- "$doc" <<<"$help" || fail "--help does not say of --$name: $doc"
	grep -q -- "--$name" "$root/docs/completion/ztcp_run" || fail "the completion does not offer --$name"
done < <(perl -0777 -ne 'print "$1\t$2\t$3\n" while /^OPTION\((\w+),\s*"([^"]*)",[^"]*"([^"]*)"\)/mg' \
	"$root/stack/base/options.def")
[ "$options" = "$(cat "$work/count")" ] || fail "options.def: $(cat "$work/count") options, $options understood"

for option in "-h, --help" "-V, --version"; do
	grep -q -- "^  $option " <<<"$help" || fail "ztcp_run --help does not say $option"
	[ -n "$("$build/bin/ztcp_run" "${option%%,*}")" ] || fail "ztcp_run ${option%%,*} says nothing"
done

while read -r command; do
	grep -q "\"$command\"\( \|$\)" <(sed 's/\\-/-/g' "$root/docs/man/ztcp.1") || fail "ztcp.1 does not name: $command"
done < <("$build/bin/ztcp" --help | sed -n 's/^  \(ztcp [a-z]* *\(check\|explain\|load\|unload\)\{0,1\}\).*/\1/p' | sed 's/ *$//' | sort -u)

warnings=$(mandoc -Tlint -W warning "$root"/docs/man/*) || fail "manual pages: $warnings"

# offers FUNCTION WANT WORDS...: the completion of the last word
offers() {
	local function=$1 want=$2
	shift 2
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	"$function" 2>/dev/null
	[ "${COMPREPLY[*]}" = "$want" ] || fail "completion of '$*': want '$want', got '${COMPREPLY[*]}'"
}
# shellcheck source=/dev/null
. "$root/docs/completion/ztcp_run"
# shellcheck source=/dev/null
. "$root/docs/completion/ztcp"
offers _ztcp_run "--path --policy" ztcp_run --p
offers _ztcp_run "--spin" ztcp_run --only --sp
offers _ztcp_run "kernel" ztcp_run --path k
offers _ztcp_run "auto kernel shm stack" ztcp_run --path = ""
offers _ztcp_run "" ztcp_run --spin ""
offers _ztcp_run "redis" ztcp_run --policy red
offers _ztcp_run "redis" ztcp_run --only cat red
offers _ztcp "ss stat" ztcp s
offers _ztcp "metrics" ztcp m
offers _ztcp "check" ztcp policy c
offers _ztcp "redis" ztcp policy check red
offers _ztcp "-j -a" ztcp ss -
offers _ztcp "remote=" ztcp policy explain redis rem
# An interface may have come back from a container with any name.
(
	ls() { echo '$(>ran) eth0 $PWD *'; }
	cd "$work" && offers _ztcp '\$\(\>ran\) eth0 \$PWD \*' ztcp nic attach ""
	[ ! -e ran ] && [ "$failures" = 0 ]
) || fail "completion runs names"

# each WORD...: those that begin with a dash, one a line
options_in() {
	grep -oE -- '(^|[^a-zA-Z.-])--?[a-zA-Z][a-z-]*' | sed 's/^[^-]*//' | sort -u
}

# Every option of every command: in --help, in the completion, which offers no others, and in the manual page.
lines=0
while read -r _ command sub rest; do
	case $command-$sub in
	policy-* | rule-* | nic-attach | nic-detach) words=(ztcp "$command" "$sub" -) ;;
	-*) continue ;;
	*) words=(ztcp "$command" -) rest="$sub $rest" ;;
	esac
	lines=$((lines + 1))
	COMP_WORDS=("${words[@]}") COMP_CWORD=$((${#words[@]} - 1))
	_ztcp 2>/dev/null
	want=$(options_in <<<"${rest%%  *}")
	[ "$want" = "$(options_in <<<"${COMPREPLY[*]}")" ] || fail "completion of '${words[*]}': want ${want//$'\n'/ }, got ${COMPREPLY[*]}"
	section=$(sed 's/\\-/-/g; s/\\f[A-Z]//g; s/^\.[A-Z]* //; s/[" ]//g' "$root/docs/man/ztcp.1")
	[ "${#words[@]}" = 4 ] || sub=
	line=$(grep -m1 "^ztcp$command$sub\(\[\|[-A-Z]\|$\)" <<<"$section")
	for option in $want; do
		[[ $line = *$option* ]] || fail "ztcp.1: the line of 'ztcp $command $sub' lacks $option: $line"
	done
done < <("$build/bin/ztcp" --help | sed -n '/^  ztcp [a-z]/p')
[ "$lines" -gt 15 ] || fail "ztcp --help has only $lines commands"
# shellcheck source=/dev/null
. "$root/docs/completion/ztcpd"
COMP_WORDS=(ztcpd -) COMP_CWORD=1
_ztcpd
want=$("$build/bin/ztcpd" --help | options_in)
[ "$want" = "$(options_in <<<"${COMPREPLY[*]}")" ] || fail "completion of ztcpd: want ${want//$'\n'/ }, got ${COMPREPLY[*]}"
for option in $want; do
	sed 's/\\-/-/g' "$root/docs/man/ztcpd.8" | grep -q -- "$option" || fail "ztcpd.8 does not name $option"
done

[ "$failures" -eq 0 ] || { echo "$failures checks failed"; exit 1; }
