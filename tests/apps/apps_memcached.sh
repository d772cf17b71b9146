#!/bin/bash
# apps_memcached.sh - memcached with one and with four threads: its own hand-over of connections between threads
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need memcached memcaslap

slap() { # slap OPTIONS...: every operation done, no value missing, none wrong
	local what

	output "${C[@]}" memcaslap -s "127.0.0.1:$port" -F "$D/slap.cnf" -x 32000 -v 0.3 "$@" > "$D/slap.log" ||
		fail "memcaslap $*: exit $?"
	for what in get_misses verify_misses verify_failed; do
		same "memcaslap $*: $what" "$(sed -n "s/^$what: //p" "$D/slap.log")" 0
	done
	grep -q 'Ops: 32000 ' "$D/slap.log" || fail "memcaslap $*: $(tail -n 1 "$D/slap.log")"
}

memcached_run() {
	local threads server user=()

	[ "$(id -u)" = 0 ] && user=(-u root)
	printf 'key\n16 32 1\nvalue\n1 200 0.7\n201 4000 0.2\n4001 50000 0.1\ncmd\n0 0.2\n1 0.8\n' > "$D/slap.cnf"
	for threads in 1 4; do
		free_port
		port=$PORT
		spawn server$threads "${S[@]}" memcached "${user[@]}" -l 127.0.0.1 -p $port -t $threads -U 0 -m 256
		server=$PID
		wait_port $port $server || return
		check "clients, -t $threads" "${C[@]}" "$PYTHON" "$APPS/apps_memcached.py" $port 16 30
		slap -T 1 -c 32
		slap -T 2 -c 16 -d 10
		slap -T 1 -c 16 -B
		slap -T 1 -c 8 -n 4
		stop $server TERM 0
	done
}

matrix memcached_run
