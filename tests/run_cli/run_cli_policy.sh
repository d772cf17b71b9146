#!/bin/bash
# run_cli_policy.sh - a policy is read and checked before the program starts
. "$(dirname "${BASH_SOURCE[0]}")/run_cli_lib.bash"

mkdir "$work/policy.d"
printf 'lift port=6379\ninclude policy.d/*\nkernel\n' >"$work/policy"
said "$run" --policy "$work/policy" sh -c 'echo $ZTCP_POLICY'
same "a good policy" "$work/policy" "$out"
same "a good policy: stderr" "" "$err"

(cd "$work" && "$run" --policy policy sh -c 'cd /; echo $ZTCP_POLICY') >"$work/out"
same "a relative name" "$work/policy" "$(cat "$work/out")"

# refused WANT COMMAND...
refused() {
	local want=$1
	shift
	said "$@" sh -c 'echo ran'
	same "status of: $*" 2 "$status"
	same "the program does not run: $*" "" "$out"
	same "stderr of: $*" "ztcp_run: $want" "$err"
}
refused "$work/none: expected a file that exists" "$run" --policy "$work/none"
printf 'lift\n  kernel port=70000\n' >"$work/bad"
want="$work/bad:2:15: expected a port or range of ports, 0 to 65535, found '70000'"
refused "$want" "$run" --policy "$work/bad"
refused "$want" env ZTCP_POLICY="$work/bad" "$run"
printf 'lift remote=nowhere\n' >"$work/policy.d/x"
refused "$work/policy.d/x:1:13: expected an IPv4 or IPv6 prefix, found 'nowhere'" "$run" --policy "$work/policy"

run_cli_end
