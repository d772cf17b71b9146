#!/bin/bash
# lint_includes.sh LAYERS.TXT - #include lines obey the layers that the targets declare (cmake/ZtcpLayers.cmake wrote
# the file): paths from the top of the tree, never upwards, never into a folder that must not be known.
. "$(dirname "$(readlink -f "$0")")/lint_lib.sh"
table=$1
[ -f "$table" ] || die "$table: not written by cmake"
files 'stack/*.[ch]' 'shm/*.[ch]' 'daemon/*.[ch]' 'preload/*.[ch]' | grep -v '\.bpf\.c$' |
	xargs -r -d '\n' awk -v table="$table" '
function dirname(p) { sub(/\/[^\/]*$/, "", p); return p }
function stem(p) { sub(/\.[^.\/]*$/, "", p); return p }
function group(p) {
	if (p ~ /^stack\/base\//) return "base"
	if (p ~ /^daemon\/policy\//) return "policy"
	sub(/\/.*/, "", p); return p
}
# A header has the layer of the source of its name, or the lowest of its folder.
function layer(p) { return stem(p) in of_stem ? of_stem[stem(p)] : dirname(p) in of_dir ? of_dir[dirname(p)] : "" }
function bad(what) { printf "%s:%d: %s\n", FILENAME, FNR, what; failed = 1 }
BEGIN {
	while ((getline line < table) > 0) {
		n = split(line, f, " ")
		if (f[1] == "may") { for (i = 3; i <= n; i++) may[f[2], f[i]]; continue }
		of_stem[stem(f[4])] = f[2]
		d = dirname(f[4])
		if (!(d in of_dir) || f[2] < of_dir[d]) of_dir[d] = f[2]
	}
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
	split($0, q, "\""); to = q[2]
	if (to ~ /\.skel\.h$/) next
	if (to !~ /\//) { bad("\"" to "\": write the path from the top of the tree"); next }
	a = group(FILENAME); b = group(to)
	if (a != b && !((a, b) in may)) { bad(a " may not include " b ": " to); next }
	x = layer(FILENAME); y = layer(to)
	if (x != "" && y != "" && y > x) bad("layer " x " includes layer " y ": " to)
}
END { exit failed }'
