#!/bin/bash
# lint_tidy.sh - clang-tidy by .clang-tidy over every source of the product that the build folder compiles, or FILE... .
# Tests are left to the sanitizers: they misuse calls on purpose.
. "$(dirname "$(readlink -f "$0")")/lint_lib.sh"
need clang-tidy perl
[ -f "$build/compile_commands.json" ] || die "no $build/compile_commands.json"
if [ $# -gt 0 ]; then sources=("$@"); else
	mapfile -t sources < <(comm -12 \
		<(perl -ne 'print "$1\n" if m{"file": "(.*)"}' "$build/compile_commands.json" | sed "s|^$root/||" | sort -u) \
		<(files 'stack/*.c' 'shm/*.c' 'daemon/*.c' 'preload/*.c' | sort))
fi
[ ${#sources[@]} -gt 0 ] || skip "no sources"
log=$(mktemp -d) || exit 1
trap 'rm -rf "$log"' EXIT
# Attributes and warnings that gcc alone knows are no finding. An unreadable answer is a failure too: the exit status counts, not the text.
printf '%s\0' "${sources[@]}" | xargs -0 -P 2 -I{} sh -c '
	out=$(timeout 240 clang-tidy --quiet --extra-arg=-Wno-unknown-attributes --extra-arg=-Wno-unknown-warning-option -p "$1" "$2" 2>"$3/$$.err") && exit 0
	printf "%s\n" "$2: clang-tidy:" "$out"; cat "$3/$$.err"; exit 1' _ "$build" {} "$log"
