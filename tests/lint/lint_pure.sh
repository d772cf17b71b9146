#!/bin/bash
# lint_pure.sh LIBRARY... - PURE libraries make no system call, read no clock, allocate nothing and start no thread:
# all that they leave undefined is in each other, or in the list below.
. "$(dirname "$(readlink -f "$0")")/lint_lib.sh"
[ $# -gt 0 ] || skip "no library is PURE yet"
need nm
set -o pipefail

# Functions of libc and libm that only compute on what they are given.
allowed='mem(cpy|move|set|cmp|chr|rchr|mem|pcpy)|stpn?cpy|str(n?len|n?cmp|n?casecmp|r?chr|chrnul|c?spn|pbrk|str)|strto(u?ll?|d)
__ctype_(b|tolower|toupper)_loc|__isoc(99|23)_(strtou?ll?|sscanf)|v?snprintf|bsearch|inet_(pton|ntop)|__errno_location
cbrt|__stack_chk_fail|__assert_fail|abort|_GLOBAL_OFFSET_TABLE_|__(asan|ubsan|tsan|sanitizer|sancov)_.*'

allowed=$(tr '\n' '|' <<<"$allowed" | sed 's/|$//')
bad=$({ nm --defined-only "$@" && echo undefined && nm -A -u "$@"; } | awk -v allowed="^($allowed)$" '
	$1 == "undefined" { second = 1 }
	!second { if (NF == 3) have[$3]; next }
	NF > 1 && $(NF - 1) ~ /^[Uw]$/ && $NF !~ allowed && !($NF in have) { print $NF, $1 }') || die "nm or awk failed"
[ -z "$bad" ] || { echo "symbols that a PURE library may not use (symbol, object):"; echo "$bad"; exit 1; }
