#!/bin/bash
# run_cli_preload.sh - LD_PRELOAD: in front, once, nested or not; and what is said when there is no library
. "$(dirname "${BASH_SOURCE[0]}")/run_cli_lib.bash"

preload() { sed -n 's/^LD_PRELOAD=//p'; }

same "alone" "$lib" "$("$run" env | preload)"
same "nested" "$lib" "$("$run" "$run" "$run" env | preload)"
same "nested through a shell" "$lib" "$("$run" sh -c "'$run' env" | preload)"

echo 'int other;' | gcc -shared -fPIC -x c - -o "$work/other.so" || exit 1
same "in front of another" "$lib:$work/other.so" "$(LD_PRELOAD=$work/other.so "$run" env | preload)"
same "blanks separate too" "$lib:$work/other.so" "$(LD_PRELOAD=" $work/other.so " "$run" env | preload)"
same "moved to the front" "$lib:$work/other.so" "$(LD_PRELOAD=$work/other.so:$lib "$run" env | preload)"
mkdir "$work/old"
cp "$lib" "$work/old/"
same "one of another place is replaced" "$lib" "$(LD_PRELOAD=$work/old/libztcp_preload.so "$run" env | preload)"

# The program really loads it.
"$run" grep -q "$lib" /proc/self/maps || fail "the library is not mapped"

# By a symbolic link the tree is still found.
ln -s "$run" "$work/link"
same "by a link" "$lib" "$("$work/link" env | preload)"

# Without a library the program runs, and one line says so.
mkdir -p "$work/bare/bin"
cp "$run" "$work/bare/bin/"
said "$work/bare/bin/ztcp_run" sh -c 'echo "<$LD_PRELOAD>"; exit 3'
same "no library: output" "<>" "$out"
same "no library: status" 3 "$status"
same "no library: lines" 1 "$(wc -l <<<"$err")"
grep -q "^ztcp_run: libztcp_preload.so is neither in $work/bare/bin/../lib nor in /.*; sh runs without acceleration$" \
	<<<"$err" || fail "no library: stderr: $err"

# A name that LD_PRELOAD cannot hold.
mkdir "$work/a b"
cp -r "$work/tree/bin" "$work/tree/lib" "$work/a b/"
said "$work/a b/bin/ztcp_run" sh -c 'echo "<$LD_PRELOAD>"'
same "a blank in the name: output" "<>" "$out"
grep -q "LD_PRELOAD cannot hold this name" <<<"$err" || fail "a blank in the name: stderr: $err"

run_cli_end
