#!/bin/bash
# lint_needed.sh LIBRARY - the preloaded library needs libc alone: it is loaded into every child of every script.
. "$(dirname "$(readlink -f "$0")")/lint_lib.sh"
lib=$1
[ -f "$lib" ] || die "$lib was not built"
need readelf
dynamic=$(readelf -dW "$lib") || die "readelf cannot read $lib"
other=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' <<<"$dynamic" | grep -vE '^(libc\.so\.6|ld-linux-[a-z0-9_-]+\.so\.[0-9]+)$')
[ -z "$other" ] || { echo "$lib needs more than libc:" $other; exit 1; }
! grep -E 'TEXTREL|RPATH|RUNPATH|EXECSTACK' <<<"$dynamic" || die "$lib must not have these entries"
