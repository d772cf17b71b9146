#!/bin/bash
# apps_under.sh - a server and a client under other people's tools: debuggers, checkers, sandboxes, limits, other libraries
# loaded first.  The same account and exit code as natively, with the tool inside of ztcp_run and around it.
SIDES=${SIDES:-native both eager}
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
TALK=$PROGRAMS/apps_talk
need_file "$TALK"
need gcc strace gdb valgrind fakeroot
CONNECTIONS=2
gcc -O1 -fsanitize=address,undefined -o "$T/talk_asan" "$APPS/apps_talk.c" || exit 77
chmod 755 "$T/talk_asan"

# account LOG: what the program said, without what the tools add
account() {
	grep -aE '^(connection|next descriptor|read:|write:|server:|==[0-9]+==(ERROR|ASan)|==[0-9]+== +(Invalid|Syscall|ERROR SUMMARY))' "$1" | sed 's/^==[0-9]*==/==/'
}

# talk NAME PROGRAM COMMAND...: both ends of it, started by COMMAND
talk() {
	local name=$1 program=$2 client server
	shift 2

	free_port
	spawn "server-$name" "${S[@]}" "$@" "$program" server $PORT $CONNECTIONS
	server=$PID
	wait_port $PORT "$server" || return
	spawn "client-$name" "${C[@]}" "$@" "$program" client $PORT $CONNECTIONS
	client=$PID
	finish "$client" "$name: client" "${LIMIT:-60}"
	finish "$server" "$name: server" "${LIMIT:-60}"
	{ account "$D/client-$name.log"; account "$D/server-$name.log"; } > "$T/account.$name.$SIDE"
	grep -q '^connection 1: ' "$T/account.$name.$SIDE" || fail "$name: it did not talk"
	diff "$T/account.$name.native" "$T/account.$name.$SIDE" > "$D/diff" || {
		fail "$name: the program notices (native is <):"
		head -n 6 "$D/diff"
	}
}

# around NAME PROGRAM COMMAND...: talk(), and again with COMMAND around ztcp_run
around() {
	local name=$1 program=$2 s=("${S[@]}") c=("${C[@]}")
	shift 2

	talk "$name" "$program" "$@"
	S=("$@" "${S[@]}") C=("$@" "${C[@]}")
	talk "$name-around" "$program"
	S=("${s[@]}") C=("${c[@]}")
}

under() {
	talk plain "$TALK"
	talk asan "$T/talk_asan" env -u ASAN_OPTIONS
	talk valgrind "$TALK" valgrind --error-exitcode=9
	talk callgrind "$TALK" valgrind --tool=callgrind --callgrind-out-file=/dev/null
	around strace "$TALK" strace -f -o /dev/null
	talk gdb "$TALK" gdb -q -batch -nx -ex run -ex 'quit $_exitcode' --args
	around setsid "$TALK" setsid -w
	if [ "$(id -u)" = 0 ]; then
		around pids "$TALK" unshare -p -f --mount-proc
		around nnp "$TALK" setpriv --no-new-privs --bounding-set -all
	fi
	around script "$TALK" bash -c 'exec script -q -e -c "$*" /dev/null' -
	around closed "$TALK" bash -c 'exec "$@" <&-' -
	around many "$TALK" bash -c 'for i in {10..200}; do eval "exec $i</dev/null"; done; exec "$@"' -
	around ignored "$TALK" bash -c 'trap "" PIPE HUP INT TERM CHLD USR1 USR2 IO; exec "$@"' -
	around nofile "$TALK" bash -c 'ulimit -n 16; exec "$@"' -
	around space "$TALK" bash -c 'ulimit -v 100000; exec "$@"' -
	around locked "$TALK" bash -c 'ulimit -l 0 -s 256 -c 0; exec "$@"' -
	around fakeroot "$TALK" fakeroot
}

matrix under
