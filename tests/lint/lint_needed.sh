#!/bin/bash
# lint_needed.sh LIBRARY... - the preloaded library needs libc alone: it is loaded into every child of every script. So does
# the stack, which is opened inside any program.
. "$(dirname "$(readlink -f "$0")")/lint_lib.sh"
need readelf
[ $# -gt 0 ] || die "no library named"
for lib in "$@"; do
	[ -f "$lib" ] || die "$lib was not built"
	dynamic=$(readelf -dW "$lib") || die "readelf cannot read $lib"
	other=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' <<<"$dynamic" | grep -vE '^(libc\.so\.6|ld-linux-[a-z0-9_-]+\.so\.[0-9]+)$')
	[ -z "$other" ] || { echo "$lib needs more than libc:" $other; exit 1; }
	! grep -E 'TEXTREL|RPATH|RUNPATH|EXECSTACK' <<<"$dynamic" || die "$lib must not have these entries"
done
