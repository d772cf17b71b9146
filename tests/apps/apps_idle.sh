#!/bin/bash
# apps_idle.sh - a Redis with 1000 idle connections: its processor time and memory, beside the native figures
#
# The figures are printed, not judged: they depend on the machine.  What is judged is that every
# connection works before and after the silence, and (both, eager) that they were lifted.
SIDES=${SIDES:-native both}
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need redis-server redis-cli
CONNECTIONS=1000 SILENCE=${SILENCE:-8}

idle() {
	local server n

	free_port
	spawn server "${S[@]}" redis-server --port $PORT --bind 127.0.0.1 --save "" --dir "$D" --maxclients 2000
	server=$PID
	wait_port $PORT $server || return
	check "clients" "${C[@]}" "$PYTHON" "$APPS/apps_idle.py" $PORT $CONNECTIONS $server "$SILENCE" || return
	awk -v side="$SIDE" -v n=$CONNECTIONS -v t="$SILENCE" -v hz="$(getconf CLK_TCK)" '
		{ cpu[$1] = $2; mem[$1] = $3 }
		END {
			printf "apps_idle: %s: %.3f %% of a core while idle, %.2f KB a connection\n",
				side, 100 * (cpu["end"] - cpu["begin"]) / hz / t, (mem["begin"] - mem["before"]) / n
		}' "$D/check.log"
	"${C[@]}" redis-cli -h 127.0.0.1 -p $PORT SHUTDOWN NOSAVE > /dev/null 2>&1
	until_true 60 ended $server || fail "SHUTDOWN does not end the server"
	# the clients exit first: their lines and the server's are both in the report
	n=$(grep -c 'path=shm' "$D/explain")
	[ ${#S[@]} = 0 ] || [ ${#C[@]} = 0 ] || [ "$n" -ge $CONNECTIONS ] || fail "$n of $CONNECTIONS connections were lifted"
}

matrix idle
