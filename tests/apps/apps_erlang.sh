#!/bin/bash
# apps_erlang.sh - Erlang: gen_tcp sockets in their passive and active modes, handed to processes by the acceptor
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need escript

erlang_run() {
	local server

	free_port
	spawn server "${S[@]}" escript "$APPS/apps_erlang.erl" server $PORT
	server=$PID
	wait_port $PORT $server || return
	check "client" "${C[@]}" escript "$APPS/apps_erlang.erl" client $PORT
	check "client, again" "${C[@]}" escript "$APPS/apps_erlang.erl" client $PORT
	stop $server TERM 0
}

matrix erlang_run
