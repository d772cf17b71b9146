#!/bin/bash
# apps_scarcity.sh - where memory, descriptors, /proc or system calls are missing: the same account as natively
SIDES=${SIDES:-native both eager}
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need_file "$PROGRAMS/apps_talk" "$PROGRAMS/apps_scarce"
CONNECTIONS=6

# one CASE WHO CLIENT-ARGUMENT SCARCITY...: WHO (server, client, both) suffers it; what both ends print is compared
# with what they print natively in the same scarcity
one() {
	local case=$1 who=$2 how=$3 server="" client="" account

	shift 3
	case $who in server | both) server="$PROGRAMS/apps_scarce $*" ;; esac
	case $who in client | both) client="$PROGRAMS/apps_scarce $*" ;; esac
	free_port
	export ZTCP_EXPLAIN=$D/explain.$case.$who
	: > "$ZTCP_EXPLAIN"
	spawn server-$case-$who $server "${S[@]}" "$PROGRAMS/apps_talk" server $PORT $CONNECTIONS
	wait_port $PORT $PID || return
	timeout -k 5 60 $client "${C[@]}" "$PROGRAMS/apps_talk" client $PORT $CONNECTIONS $how > "$D/client-$case-$who.log" 2>&1 ||
		fail "$case, $who: client: exit $?"
	finish $PID "$case, $who: server"
	account=account.$case.$who
	cat "$D/client-$case-$who.log" "$D/server-$case-$who.log" > "$D/$account"
	cat "$ZTCP_EXPLAIN" >> "$D/explain"
	if [ "$SIDE" = native ]; then
		cp "$D/$account" "$T/$account"
		return
	fi
	if ! diff "$T/$account" "$D/$account" > "$D/diff"; then
		fail "$case, $who: the program notices (native is <):"
		head -n 6 "$D/diff"
	fi
	# where it ran is always told, with a reason
	! grep 'path=' "$ZTCP_EXPLAIN" | grep -vE 'reason=[A-Za-z0-9]' || fail "$case, $who: a connection without a reason"
}

# kernel CASE: nothing can have been lifted by an end that has no memory to share
kernel() {
	[ "$SIDE" = native ] || ! grep -q 'path=shm' "$D"/explain."$1".* || fail "$1: a connection was lifted all the same"
}

scarcity() {
	local call who

	# wrap_for names the report by env; here each case has one of its own
	S=(${S[@]+"${S[@]/ZTCP_EXPLAIN=*/APPS=1}"}) C=(${C[@]+"${C[@]/ZTCP_EXPLAIN=*/APPS=1}"})
	one none both ""
	for who in server client both; do
		for call in memfd_create memfd_create-perm memfd_create-nofile mmap-shared ftruncate; do
			one $call $who "" --deny $call
		done
		for call in eventfd membarrier seals socket-unix socket-netlink epoll-pwait2 process getrandom sched_yield close_range; do
			one $call $who "" --deny $call
		done
		one as $who "" --as 40000000
		one fsize $who "" --fsize 16384
		if [ "$(id -u)" = 0 ]; then
			one no-proc $who "" --no-proc
			one full-shm $who "" --full-shm
		fi
	done
	for call in memfd_create memfd_create-perm memfd_create-nofile mmap-shared ftruncate; do
		kernel $call
	done
	one bound client bound
	# descriptors: exactly as many as the program itself needs, before and after the talk
	one nofile client "" --nofile 10
	one fill client fill --nofile 40:40
	one fill-more client fill --nofile 40:400
	one fill-after client fill-after --nofile 60:400
	one fill-after-hard client fill-after --nofile 60:60
	one nofile-server server "" --nofile 12
}

matrix scarcity
