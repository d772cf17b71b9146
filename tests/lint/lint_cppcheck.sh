#!/bin/bash
# lint_cppcheck.sh - cppcheck over the product. A false finding is answered beside the line (// cppcheck-suppress id) or
# in lint_cppcheck.txt.
. "$(dirname "$(readlink -f "$0")")/lint_lib.sh"
need cppcheck
mapfile -t sources < <(files 'stack/*.c' 'shm/*.c' 'daemon/*.c' 'preload/*.c' | grep -v '\.bpf\.c$')
[ ${#sources[@]} -gt 0 ] || skip "no sources"
cppcheck -q -j 2 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 --std=c11 \
	--suppressions-list="$here/lint_cppcheck.txt" --suppress=missingIncludeSystem --suppress=unmatchedSuppression --max-configs=4 \
	-D_GNU_SOURCE= -D__x86_64__ -D__linux__ -DZTCP_VERSION='"0"' -I. -I"$build" \
	--template='{file}:{line}: {id}: {message}' "${sources[@]}" 2>&1
