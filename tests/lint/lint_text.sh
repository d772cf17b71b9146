#!/bin/bash
# lint_text.sh - no path of one machine, no note of unfinished work, no blank at a line's end, no file beside the tree's
# folders, none that starts without saying what it is.
. "$(dirname "$(readlink -f "$0")")/lint_lib.sh"
mapfile -t all < <(files '*' | grep -vE '\.(svg|png|pcap|pcapng|bin|snap)$|/corpus/')
[ ${#all[@]} -gt 0 ] || skip "no files"
failed=0
report() { # report WHAT, lines on stdin
	local found
	found=$(cat)
	[ -z "$found" ] || { echo "$1:"; echo "$found"; failed=1; }
}
# Home folders, and wherever this copy of the tree lies; a short place such as / or /src says nothing.
report "absolute path of one machine" < <(
	grep -nIE '(^|[^A-Za-z0-9_.$}/-])/(home|root|Users)/[A-Za-z0-9_]' "${all[@]}"
	[ ${#root} -gt 6 ] && grep -nIF "$root/" "${all[@]}")
report "note of unfinished work" < <(grep -nIE '\b(TODO|FIXME|XXX)\b' "${all[@]}" | grep -v '^tests/lint/lint_text.sh:')
report "outside of the tree's folders" < <(
	printf '%s\n' "${all[@]}" | grep -vE '^((preload|stack|shm|daemon|tests|bench|cmake|docs|\.ci)/|\.[^/]*$|(CMakeLists\.txt|CMakePresets\.json|README\.md)$)')
mapfile -t text < <(printf '%s\n' "${all[@]}" | grep -E '\.(c|h|sh|cmake|def|md)$')
report "blank at the end of a line" < <(grep -nIE '[ 	]+$' "${text[@]}")
report "first line does not say what the file is (/* name - clause */)" < <(
	printf '%s\n' "${text[@]}" | grep -E '\.(c|h|def)$' | while IFS= read -r f; do
		head -1 "$f" | grep -qF "/* $(basename "$f") - " || echo "$f"
	done)
exit $failed
