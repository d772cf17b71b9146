#!/bin/bash
# apps_node.sh - Node.js: http and net servers, alone and as a cluster that passes connections to its workers
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need node

node_run() {
	local role server

	for role in server cluster; do
		free_port
		spawn $role "${S[@]}" node "$APPS/apps_node.js" $role $PORT
		server=$PID
		wait_port $PORT $server && wait_port $((PORT + 1)) $server || return
		check "client of a $role" "${C[@]}" node "$APPS/apps_node.js" client $PORT
		check "client of a $role, again" "${C[@]}" node "$APPS/apps_node.js" client $PORT
		output "${C[@]}" curl -sS -o "$D/got" "http://127.0.0.1:$PORT/300000" || fail "curl: exit $?"
		same "length by curl" "$(stat -c %s "$D/got")" 300000
		stop $server TERM 0
	done
}

matrix node_run
