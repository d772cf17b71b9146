#!/bin/bash
# lint_format.sh - the tree is as clang-format writes it. lint_format.sh --fix [FILE...] makes it so.
. "$(dirname "$(readlink -f "$0")")/lint_lib.sh"
need clang-format
if [ "${1-}" = --fix ]; then
	shift
	[ $# -gt 0 ] || mapfile -t fix < <(files '*.c' '*.h')
	exec clang-format -i "$@" ${fix+"${fix[@]}"}
fi
mapfile -t sources < <(files '*.c' '*.h')
[ ${#sources[@]} -gt 0 ] || skip "no sources"
bad=$(printf '%s\0' "${sources[@]}" | xargs -0 clang-format --dry-run -Werror 2>&1 |
	sed -n 's/^\([^ :]*\):[0-9]*:[0-9]*: error.*/\1/p' | sort | uniq -c)
[ -z "$bad" ] || { echo "not as clang-format writes it (places, file); tests/lint/lint_format.sh --fix FILE:"; echo "$bad"; exit 1; }
