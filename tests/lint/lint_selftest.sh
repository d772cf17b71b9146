#!/bin/bash
# lint_selftest.sh - each lint finds the fault it is there for: a small tree with one fault at a time, made in a
# temporary folder. A lint that cannot fail is worth nothing.
. "$(dirname "$(readlink -f "$0")")/lint_lib.sh"
need git gcc ar shellcheck clang-format clang-tidy cppcheck
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0

# A clean tree that every lint accepts.
tree() {
	rm -rf "${work:?}/t"
	mkdir -p "$work/t/stack/base" "$work/t/stack/tcp" "$work/t/shm" "$work/t/preload" "$work/t/docs" "$work/t/build"
	cd "$work/t" || exit 1
	cp "$here/../../.clang-format" "$here/../../.clang-tidy" .
	printf '/* base_a.h - a number */\n#pragma once\n#include <stdint.h>\n\nuint32_t base_a(uint32_t n);\n' >stack/base/base_a.h
	printf '/* base_a.c - a number and its successor */\n#include "stack/base/base_a.h"\n\n' >stack/base/base_a.c
	printf 'uint32_t base_a(uint32_t n)\n{\n\treturn n + 1;\n}\n' >>stack/base/base_a.c
	printf '/* tcp_a.h - another number */\n#pragma once\n#include "stack/base/base_a.h"\n' >stack/tcp/tcp_a.h
	printf '/* calls.def - calls */\nCALL(int, one, (int a), (a))\nCALL_AS(char *, two,\n\t(int a), (a))\n' >preload/calls.def
	printf 'int one(int a)\n{\n\treturn a;\n}\nchar *two(int a)\n{\n\treturn a ? "" : "a";\n}\n' >lib.txt
	printf '# A page\n\n[run](run.sh)\n' >docs/a.md
	printf '#!/bin/bash\n# run.sh - says\necho "$1"\n' >docs/run.sh
	printf 'may base\nmay stack base\nmay shm base\nt 0 base stack/base/base_a.c\nu 2 stack stack/tcp/tcp_a.h\nv 1 shm shm/s.c\n' >build/layers.txt
	printf '[{"directory": "%s", "command": "gcc -I%s -c stack/base/base_a.c", "file": "%s/stack/base/base_a.c"}]\n' \
		"$work/t" "$work/t" "$work/t" >build/compile_commands.json
	mkdir -p tests/unit/stack/tcp tests/packetdrill/scripts/ack tests/interop tests/fuzz/corpus/tcp
	printf '/* tcp_ack_test.c - one test */\nTest(tcp_ack, one__two)\n{\n}\n' >tests/unit/stack/tcp/tcp_ack_test.c
	touch tests/packetdrill/scripts/ack/a.pkt tests/fuzz/corpus/tcp/a
	printf 'case_get() { true; }\n' >tests/interop/interop.sh
	printf '# Compliance\n\n| a | yes | tcp_ack_test: one__* |\nack/a.pkt; tcp_fuzz\n## The kernel'"'"'s TCP\n| get | get |\n' >docs/compliance.md
	git init -q . && printf 'build\nlib.txt\n' >.gitignore && git add -A
}

# lint NAME ARGS...: run one lint on that tree.
lint() {
	local which=$1
	shift
	git add -A
	ZTCP_SOURCE=$work/t ZTCP_BUILD=$work/t/build bash "$here/lint_$which.sh" "$@" >"$work/out" 2>&1
}

good() { # good NAME ARGS...
	tree
	lint "$@" || { echo "lint_$1 refuses a clean tree (status $?):"; cat "$work/out"; failed=1; }
}

bad() { # bad WORD NAME ARGS...: it must fail, and name the fault
	local word=$1
	shift
	if lint "$@"; then
		echo "lint_$1 does not see: $word"
		failed=1
	elif ! grep -qE -- "$word" "$work/out"; then
		echo "lint_$1 does not name: $word"
		cat "$work/out"
		failed=1
	fi
	tree
}

library() { # library LINK...: lib.so out of lib.txt
	gcc -shared -fPIC -nostartfiles -o lib.so -x c lib.txt -x none "$@"
}

for simple in headers format shape text shell links compliance; do good $simple; done
good includes build/layers.txt
good tidy
good cppcheck

echo 'static uint8_t x(void) { return undeclared; }' >>stack/tcp/tcp_a.h && bad tcp_a.h headers
echo 'int  x ;' >>stack/base/base_a.c && bad base_a.c format
yes 'int x;' | head -801 >>stack/base/base_a.c && bad 'more than 800' shape
{ echo 'int x(void)'; echo '{'; yes '	a();' | head -120; echo '}'; } >>stack/base/base_a.c && bad 'more than 120' shape
echo "path=/hom""e/me/x" >>docs/run.sh && bad 'one machine' text
echo "# TO""DO" >>docs/run.sh && bad 'unfinished' text
echo 'a ' >>docs/run.sh && bad 'blank' text
touch stray && git add stray && bad 'stray' text
sed -i 1d stack/base/base_a.c && bad 'base_a.c' text
echo '[a](b.md)' >>docs/a.md && bad 'no such file: b.md' links
echo 'tcp_ack_test: one__*, two__*' >>docs/compliance.md && bad 'no such test in tcp_ack_test: two__' compliance
echo 'tcp_no_test' >>docs/compliance.md && bad 'no such program: tcp_no_test' compliance
echo 'ack/b.pkt' >>docs/compliance.md && bad 'no such script: ack/b' compliance
echo '| loss | get, lost |' >>docs/compliance.md && bad 'no such case of interop.sh: lost' compliance
echo 'ip_fuzz' >>docs/compliance.md && bad 'no such fuzzer: ip' compliance
echo 'cd $1; rm $a' >>docs/run.sh && bad SC2164 shell
echo '#include "stack/tcp/tcp_a.h"' >>stack/base/base_a.c && bad 'base may not include stack' includes build/layers.txt
printf '/* s.c - s */\n#include "stack/tcp/tcp_a.h"\n' >shm/s.c && bad 'shm may not include stack' includes build/layers.txt
echo '#include "base_a.h"' >>stack/base/base_a.c && bad 'from the top' includes build/layers.txt
printf '/* tcp_b.c - b */\n#include "stack/tcp/tcp_a.h"\n' >stack/tcp/tcp_b.c
echo 'w 1 stack stack/tcp/tcp_b.c' >>build/layers.txt && sed -i 's/^u 2/u 3/' build/layers.txt
bad 'layer 1 includes layer 3' includes build/layers.txt
printf 'int base_b(const int *p);\nint base_b(const int *p)\n{\n\tif (!p)\n\t\treturn *p;\n\treturn 0;\n}\n' >>stack/base/base_a.c
bad 'clang-analyzer-core.NullDereference' tidy
printf 'int base_b(void);\nint base_b(void)\n{\n\tint a[2] = { 0, 0 };\n\treturn a[2];\n}\n' >>stack/base/base_a.c
bad 'arrayIndexOutOfBounds' cppcheck

library && lint exports lib.so preload/calls.def || { echo "lint_exports refuses a matching list"; cat "$work/out"; failed=1; }
library && lint needed lib.so || { echo "lint_needed refuses a library without needs"; cat "$work/out"; failed=1; }
echo 'int three(void) { return 3; }' >>lib.txt && library && bad 'exports what .* three' exports lib.so preload/calls.def
library && echo 'CALL(int, four, (void), ())' >>preload/calls.def && bad 'does not export: four' exports lib.so preload/calls.def
library && echo 'CALL(int, one, (void), ())' >>preload/calls.def && bad 'twice: one' exports lib.so preload/calls.def
echo 'double cos(double); double three(double x) { return cos(x); }' >>lib.txt && library -lm && bad 'libm' needed lib.so
gcc -I. -c stack/base/base_a.c && ar rc build/a.a base_a.o && lint pure build/a.a ||
	{ echo "lint_pure refuses a pure library"; cat "$work/out"; failed=1; }
printf '#include <stdlib.h>\nvoid *base_m(void)\n{\n\treturn malloc(1);\n}\n' >>stack/base/base_a.c
gcc -I. -c stack/base/base_a.c && ar rc build/a.a base_a.o && bad 'malloc' pure build/a.a
exit $failed
