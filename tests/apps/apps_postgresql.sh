#!/bin/bash
# apps_postgresql.sh - PostgreSQL over TCP with pgbench: own cluster, forked back ends, COPY, cancel, notify, restart
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
B=$(ls -d /usr/lib/postgresql/*/bin 2> /dev/null | tail -n 1)
need_file "$B/postgres" "$B/pgbench" "$B/psql"

# PostgreSQL refuses to run as root; as root both ends run as the user that Debian makes for it, who may not be able to look
# where the tree is, such as in /root
AS=()
if [ "$(id -u)" = 0 ]; then
	AS=(runuser -u postgres --)
	# not under $T, which is removed at the end
	mount -t tmpfs -o mode=755 tmpfs /mnt && mkdir /mnt/build && mount --bind "$BUILD" /mnt/build || exit 2
	ZTCP_RUN=/mnt/build/bin/ztcp_run
fi

sql() { # sql STATEMENT: not wrapped, over the Unix socket
	output "${AS[@]}" "$B/psql" -h "$D/run" -p "$port" -U postgres -d postgres -XAtqc "$1"
}

# client PROGRAM OPTIONS...: the command of a client of the test, over TCP, in $CLIENT
client() {
	local program=$B/$1

	shift
	CLIENT=("${AS[@]}" "${C[@]}" "$program" -h 127.0.0.1 -p "$port" -U postgres "$@")
}

balanced() { # what pgbench did is consistent, and nothing is lost
	local n

	n=$(sql "SELECT count(*) FROM pgbench_history")
	[ "${n:-0}" -ge "$1" ] || fail "pgbench_history holds ${n:-nothing}, expected $1 at least"
	same "balances" "$(sql "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = s AND (SELECT sum(tbalance) FROM pgbench_tellers) = s
		AND (SELECT sum(bbalance) FROM pgbench_branches) = s FROM (SELECT coalesce(sum(delta), 0) AS s FROM pgbench_history) AS h")" t
}

bench() { # bench TRANSACTIONS OPTIONS...: per client
	local want

	client pgbench -n "$@" postgres
	output "${CLIENT[@]}" > "$D/pgbench.log" 2>&1 || fail "pgbench $*: exit $?"
	grep -q '^number of failed transactions: 0 ' "$D/pgbench.log" || fail "pgbench $*: $(tail -n 3 "$D/pgbench.log")"
	want=$(sed -n 's|^number of transactions actually processed: \([0-9]*\)/\([0-9]*\)|\1 \2|p' "$D/pgbench.log")
	[ -n "$want" ] && [ "${want% *}" = "${want#* }" ] || fail "pgbench $*: processed $want"
}

copies() { # 4 MB through COPY in both directions, unchanged
	seq 1 40000 | awk '{ printf "%d\t", $1; for (i = 0; i < 10; i++) printf "%08x", $1 * 2654435761 % 4294967296; print "" }' > "$D/copy.in"
	sql "CREATE TABLE copied (n int, t text)"
	client psql -d postgres -Xqc "\\copy copied from stdin"
	timeout 60 "${CLIENT[@]}" < "$D/copy.in" ||
		fail "COPY FROM: exit $?"
	client psql -d postgres -Xqc "\\copy (SELECT * FROM copied ORDER BY n) to stdout"
	output "${CLIENT[@]}" > "$D/copy.out" || fail "COPY TO: exit $?"
	same "checksum after COPY" "$(sum "$D/copy.out")" "$(sum "$D/copy.in")"
}

cancels() { # a cancel request comes over a connection of its own
	local sleeper

	client psql -d postgres -XAtqc "SELECT count(*) FROM copied" -c "SELECT pg_sleep(120)"
	spawn sleeper "${CLIENT[@]}"
	sleeper=$PID
	until_true 60 eval '[ "$(sql "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '"'%pg_sleep(120)'"' AND state = '"'active'"' AND pid <> pg_backend_pid()")" = 1 ]' ||
		fail "no sleeping query"
	# psql sends it when it gets SIGINT
	kill -INT "$(descendants $sleeper | tail -n 1)" 2> /dev/null
	until_true 60 ended $sleeper || fail "cancel has no effect"
	grep -q 'canceling statement due to user request' "$D/sleeper.log" || fail "cancel: $(cat "$D/sleeper.log")"
}

notifies() {
	local i psql in

	mkfifo "$D/statements"
	client psql -d postgres -XAtq
	timeout 120 "${CLIENT[@]}" < "$D/statements" > "$D/notified" 2>&1 &
	psql=$!
	PIDS+=("$psql")
	exec {in}> "$D/statements"
	for i in 1 2 3 4 5; do echo "SELECT count(*) FROM copied;" >&"$in"; done
	echo "LISTEN news; SELECT 'listening';" >&"$in"
	until_true 60 grep -q listening "$D/notified" || fail "LISTEN: $(tail -n 3 "$D/notified")"
	sql "NOTIFY news, 'hello'"
	# psql looks for news after each statement
	for i in $(seq 1 200); do
		echo "SELECT pg_sleep(0.1);" >&"$in"
		sleep 0.1
		grep -q Asynchronous "$D/notified" && break
	done
	exec {in}>&-
	finish $psql "psql that listens"
	grep -q 'Asynchronous notification "news" with payload "hello"' "$D/notified" || fail "NOTIFY: $(tail -n 3 "$D/notified")"
}

postgresql() {
	local server killed

	free_port
	port=$PORT
	[ "$(id -u)" = 0 ] && chown postgres "$D"
	mkdir -p "$D/run"
	chmod 777 "$D/run"
	check "initdb" "${AS[@]}" "$B/initdb" -D "$D/data" -U postgres -A trust --no-sync --locale=C -E UTF8 || return
	spawn server "${AS[@]}" "${S[@]}" "$B/postgres" -D "$D/data" -c listen_addresses=127.0.0.1 -c port=$port \
		-c unix_socket_directories="$D/run" -c fsync=off -c shared_buffers=32MB
	server=$PID
	wait_port $port $server || return
	until_true 60 sql "SELECT 1" > /dev/null
	check "pgbench -i" "${AS[@]}" "${C[@]}" "$B/pgbench" -h 127.0.0.1 -p "$port" -U postgres -i -q -s 2 postgres
	bench -c 8 -j 2 -t 150
	bench -c 4 -j 1 -t 200 -M prepared
	bench -c 4 -j 2 -t 500 -S -M extended
	bench -c 4 -j 1 -t 25 -C
	balanced $((8 * 150 + 4 * 200 + 4 * 25))
	copies
	cancels
	notifies
	# a back end that is terminated: its client is told, the others go on
	client psql -d postgres -XAtqc "SELECT count(*) FROM copied" -c "SELECT pg_sleep(121)"
	spawn victim "${CLIENT[@]}"
	killed=$PID
	until_true 60 eval '[ "$(sql "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '"'%pg_sleep(121)'"' AND pid <> pg_backend_pid()")" = 1 ]' ||
		fail "nobody to terminate"
	until_true 60 ended $killed || fail "the terminated back end's client does not notice"
	grep -qE 'terminating connection|server closed the connection' "$D/victim.log" || fail "terminate: $(cat "$D/victim.log")"
	bench -c 2 -j 1 -t 50
	kill -INT "$(head -n 1 "$D/data/postmaster.pid")"
	until_true 60 ended $server || fail "the server does not end"
	! grep -E 'PANIC|was terminated by signal' "$D/server.log" || fail "a back end crashed"
}

matrix postgresql
