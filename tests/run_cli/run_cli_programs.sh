#!/bin/bash
# run_cli_programs.sh - what cannot be accelerated runs all the same, and one line says why
. "$(dirname "${BASH_SOURCE[0]}")/run_cli_lib.bash"

cat >"$work/hello.c" <<'C'
#include <stdio.h>
int main(void)
{
	puts("hello");
	return 5;
}
C
gcc "$work/hello.c" -o "$work/dynamic" && gcc -static "$work/hello.c" -o "$work/static" &&
	gcc -static-pie "$work/hello.c" -o "$work/static-pie" || exit 1

# runs WHAT WANT-STDERR COMMAND...: it runs, and says this.
runs() {
	local what=$1 want=$2
	shift 2
	said "$@"
	same "$what: output" hello "$out"
	same "$what: status" 5 "$status"
	same "$what: stderr" "$want" "$err"
}
tail=": it runs without acceleration"

runs dynamic "" "$run" "$work/dynamic"
for kind in static static-pie; do
	runs $kind "ztcp_run: $work/$kind is linked statically and loads no library$tail" "$run" "$work/$kind"
done

# A static program may start others that can be accelerated; one for another loader cannot use it.
cat >"$work/child.c" <<'C'
#include <stdlib.h>
int main(void)
{
	return system("echo \"<$LD_PRELOAD>\"") ? 1 : 0;
}
C
gcc -static "$work/child.c" -o "$work/static-child" || exit 1
said "$run" "$work/static-child"
same "children of a static program" "<$lib>" "$out"
said "$run" --only "$work/static-child"
same "children of a static program under --only" "<>" "$out"

# Go: its linker's note, put into a C program by the assembler; and its section alone.
cat >"$work/note.s" <<'S'
	.section .note.go.buildid, "a", %note
	.balign 4
	.long 4, 8, 4
	.asciz "Go\0"
	.ascii "buildid0"
	.section .note.GNU-stack, "", %progbits
S
gcc "$work/hello.c" "$work/note.s" -o "$work/go-note" && gcc -static "$work/hello.c" "$work/note.s" -o "$work/go-static" &&
	objcopy --rename-section .note.go.buildid=.note.other "$work/go-note" "$work/go-note-only" || exit 1
head -c 32 /dev/zero >"$work/info"
objcopy --add-section .go.buildinfo="$work/info" "$work/dynamic" "$work/go-section" || exit 1
for kind in go-note go-static go-note-only go-section; do
	runs $kind "ztcp_run: $work/$kind is a Go program, which makes system calls without libc$tail" "$run" "$work/$kind"
done

# Another machine: an ELF header is enough for the line. What then becomes of it is as under env(1).
printf '\177ELF\1\1\1\0\0\0\0\0\0\0\0\0\2\0\3\0\1\0\0\0' >"$work/i386"
head -c 100 /dev/zero >>"$work/i386"
printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\267\0\1\0\0\0' >"$work/arm64"
head -c 100 /dev/zero >>"$work/arm64"
chmod +x "$work/i386" "$work/arm64"
for pair in i386:i386 arm64:arm64; do
	file=$work/${pair%:*}
	[ "$(uname -m)" = aarch64 ] && [ "${pair#*:}" = arm64 ] && continue
	said "$run" "$file"
	same "$pair: first line" "ztcp_run: $file is a program for ${pair#*:}$tail" "$(head -1 <<<"$err")"
	env "$file" >/dev/null 2>&1
	same "$pair: status, by env" $? "$status"
done

# A real 32-bit program, where the compiler can make one.
if gcc -m32 -nostdlib -static -x c - -o "$work/real32" 2>/dev/null <<'C'
void _start(void)
{
	__asm__ volatile("int $0x80" : : "a"(4), "b"(1), "c"("hello\n"), "d"(6));
	__asm__ volatile("int $0x80" : : "a"(1), "b"(5));
}
C
then
	"$work/real32" >/dev/null 2>&1
	[ $? -eq 5 ] && runs "32-bit" "ztcp_run: $work/real32 is a program for i386$tail" "$run" "$work/real32"
fi

# Another C library: a loader of another name.
cp "$(sed -n 's/[^/]*\(\/[^ ]*ld-linux[^ ]*\)$/\1/p' /proc/self/maps | head -1)" "$work/ld-musl-x.so.1" &&
	gcc "$work/hello.c" -Wl,--dynamic-linker="$work/ld-musl-x.so.1" -o "$work/other-libc" || exit 1
runs "another C library" "ztcp_run: $work/other-libc uses another C library, with the loader $work/ld-musl-x.so.1$tail" \
	"$run" "$work/other-libc"

# Scripts: the interpreter decides, also through two of them.
printf '#!%s\n' "$work/static" >"$work/script"
printf '#! %s -x\n' "$work/script" >"$work/script2"
chmod +x "$work/script" "$work/script2"
runs script "ztcp_run: $work/static is linked statically and loads no library$tail" "$run" "$work/script"
runs script2 "ztcp_run: $work/static is linked statically and loads no library$tail" "$run" "$work/script2"

# Found by PATH, an empty element being the current folder.
cd "$work" || exit 1
said env PATH="/nowhere::" "$run" static
same "by PATH: the line names the file" "ztcp_run: static is linked statically and loads no library$tail" "$err"
cd /

# The loader run by hand takes the library along.
said "$run" "$(readlink -f "$work/ld-musl-x.so.1")" "$work/dynamic"
same "the loader is not called static" "" "$err"

# set-id bits count when they change an id.
cp "$work/dynamic" "$work/setuid" && cp "$work/dynamic" "$work/setgid" && chmod 755 "$work"
chmod u+s "$work/setuid"
runs "setuid to oneself" "" "$run" "$work/setuid"
if [ "$(id -u)" -eq 0 ]; then
	chown 65534 "$work/setuid" && chmod u+s "$work/setuid"
	chgrp 65534 "$work/setgid" && chmod g+s "$work/setgid"
	runs setuid "ztcp_run: $work/setuid is setuid, for which the loader ignores LD_PRELOAD$tail" "$run" "$work/setuid"
	runs setgid "ztcp_run: $work/setgid is setgid, for which the loader ignores LD_PRELOAD$tail" "$run" "$work/setgid"
	runs "setuid without new privileges" "" setpriv --no-new-privs "$run" "$work/setuid"
	chmod 755 "$work/tree" "$work/tree/bin" "$work/tree/lib"
	cp "$work/dynamic" "$work/caps"
	if setcap cap_net_raw+ep "$work/caps" 2>/dev/null; then
		runs "capabilities" "ztcp_run: $work/caps has file capabilities, for which the loader ignores LD_PRELOAD$tail" \
			setpriv --reuid 65534 --clear-groups "$run" "$work/caps"
		runs "capabilities, as root" "" "$run" "$work/caps"
	fi
fi

run_cli_end
