#!/bin/bash
# lint_shape.sh - size of files and functions. A file above 800 lines, or a function above 120, fails; the longest are
# reported. The shape to aim at: functions of 10 to 40 lines, 70 at most.
. "$(dirname "$(readlink -f "$0")")/lint_lib.sh"
mapfile -t sources < <(files '*.c' '*.h' '*.sh')
[ ${#sources[@]} -gt 0 ] || skip "no sources"
awk '
FNR == 1 { name = ""; if (!FILENAME_seen[FILENAME]++) files++ }
{ lines[FILENAME]++ }
FILENAME ~ /\.sh$/ { next }
/^[A-Za-z_].*\(/ && !/;[ \t]*$/ && !/^#/ { head = $0 }
/^\{/ { start = FNR; name = head; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
/^\}/ && start { n = FNR - start + 1; functions++; if (n > 70) long[FILENAME ":" start ": " name] = n; start = 0 }
END {
	for (f in lines) if (lines[f] > 800) { printf "%s: %d lines: more than 800\n", f, lines[f]; failed = 1 }
	for (f in long) {
		printf "%s() has %d lines%s\n", f, long[f], (long[f] > 120 ? ": more than 120" : "")
		if (long[f] > 120) failed = 1
		over++
	}
	printf "%d files, %d functions, %d functions above 70 lines\n", files, functions, over
	exit failed
}' "${sources[@]}"
