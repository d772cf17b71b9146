#!/bin/bash
# daemon_handed.sh - a server on the stack is killed while it hands its connections to threads, children, other programs and
# processes: each peer is reset or goes on being served, the queue is free, nothing is left named
#
# ROUNDS=N of each way; from one to the next the kill comes later.
. "$(dirname "$(readlink -f "$0")")/daemon_lib.sh"
need python3 nsenter curl
. "$HERE/daemon_net.bash"
. "$HERE/daemon_xdp.bash"

ROUNDS=${ROUNDS:-4}
PORT=7121
in_a() { nsenter --net=/run/netns/a "$@"; }
in_b() { nsenter --net=/run/netns/b "$@"; }

# ztcpd has no lease of it any more: what it resets is reset
done_with() { [ "$(curl -s http://127.0.0.1:9464/metrics | sed -n 's/^ztcpd_leases //p')" = 0 ]; }
empty() { [ "$(named flows) $(named ports)" = "0 0" ]; }
serves() { [ "$(named ports)" -gt 0 ]; }
alone() { ! in_b ss -Htnp state established "sport = :$PORT" | grep -q .; }

knock() { # the device comes with the first wait on the listener
	in_a python3 -c 'import socket
socket.create_connection(("10.9.0.2", '$PORT'), 5).close()' 2>/dev/null
	serves
}

killed() { # MODE ROUND
	begin nsenter --net=/run/netns/b env "ZTCP_INTERFACES=$T/interfaces" "$RUN" --path stack python3 "$HERE/daemon_handed.py" serve "$1" $PORT
	local server=$PID
	until_true 60 knock || { fail "$1: not on the stack: $(tail -n 3 "$T/ztcpd.err")"; return; }
	rm -f "$T/over"
	begin nsenter --net=/run/netns/a timeout 120 python3 "$HERE/daemon_handed.py" ask "$server" $PORT 10.9.0.2 $(($2 * 7)) "$T/over" >"$T/said" 2>"$T/deaf"
	local asks=$PID
	wait "$server" 2>/dev/null
	until_true 60 empty || fail "$1, round $2: left behind: $(named flows) flows, $(named ports) ports"
	until_true 60 done_with || fail "$1, round $2: ztcpd keeps a lease"
	touch "$T/over"
	wait "$asks" || fail "$1, round $2: $(tail -n 1 "$T/deaf")"
	echo "$1 $(cat "$T/said")" >>"$T/all"
	until_true 60 alone || fail "$1, round $2: connections of nobody: $(in_b ss -Htnp "sport = :$PORT")"
}

share
policy "direct path=stack" kernel
daemon --metrics 127.0.0.1:9464
for mode in ${MODES:-thread fork rights exec}; do
	for ((round = 0; round < ROUNDS; round++)); do
		killed "$mode" "$round"
	done
done
awk '{ served[$1] += $2; reset[$1] += $3; if ($4 > most[$1]) most[$1] = $4 }
	END { for (m in served) printf "%s: %d served, %d reset, the last after %.1f ms\n", m, served[m], reset[m], most[m] }' "$T/all"
end
