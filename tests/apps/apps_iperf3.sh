#!/bin/bash
# apps_iperf3.sh - iperf3: one and many streams, both directions, small writes, its own sendfile
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need iperf3 python3

run() { # run OPTIONS...: a fixed number of bytes, so that both ends can be compared
	output "${C[@]}" iperf3 -c 127.0.0.1 -p $PORT -J "$@" > "$D/client.json" || { fail "iperf3 $*: exit $?: $(grep error "$D/client.json")"; return; }
	"$PYTHON" - "$D/client.json" > "$D/verdict" <<-'PY' || fail "iperf3 $*: $(cat "$D/verdict")"
	import json, sys
	j = json.load(open(sys.argv[1]))
	if 'error' in j:
	    sys.exit(print(j['error']) or 1)
	end = j['end']
	for way in ('', '_bidir_reverse'):
	    if 'sum_sent' + way not in end:
	        continue
	    sent, got = end['sum_sent' + way]['bytes'], end['sum_received' + way]['bytes']
	    # the end is told on another connection and overtakes the last bytes: at most the buffers are missing
	    if not 0 < got <= sent or sent - got > 64 << 20:
	        sys.exit(print(f'{way} sent {sent}, received {got}') or 1)
	PY
}

iperf3_run() {
	free_port
	spawn server "${S[@]}" iperf3 -s -B 127.0.0.1 -p $PORT
	local server=$PID
	wait_port $PORT $server || return
	run -n 400M
	run -n 400M -R
	run -n 40M -l 4K
	run -n 100M -P 4
	run -n 100M -P 4 -R
	run -n 200M -Z
	run -t 1 --bidir
	run -n 100M -w 64K -N
	run -n 40M -l 500
	stop $server TERM
}

matrix iperf3_run
