#!/bin/bash
# apps_python.sh - Python: asyncio, threaded and forking servers, with asyncio clients and threads at once
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"

python_run() {
	local kind

	for kind in asyncio threads fork; do
		free_port
		spawn $kind "${S[@]}" "$PYTHON" "$APPS/apps_asyncio.py" server $kind $PORT
		wait_port $PORT $PID || return
		check "clients of $kind" "${C[@]}" "$PYTHON" "$APPS/apps_asyncio.py" client $PORT
		stop $PID TERM 0
	done
}

matrix python_run
