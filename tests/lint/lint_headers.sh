#!/bin/bash
# lint_headers.sh - each header compiles by itself, with the flags of the build.
. "$(dirname "$(readlink -f "$0")")/lint_lib.sh"
need gcc
mapfile -t headers < <(files '*.h' | grep -v '\.bpf\.h$')
[ ${#headers[@]} -gt 0 ] || skip "no headers"
printf '%s\0' "${headers[@]}" | xargs -0 -P 2 -I{} sh -c '
	printf "#include \"%s\"\n" "$1" | gcc -std=gnu11 -D_GNU_SOURCE= -DZTCP_VERSION=\"0\" -Wall -Wextra -Werror \
		-I. -I"$2" -fsyntax-only -x c - || { echo "$1: does not compile by itself"; exit 1; }' _ {} "$build"
