#!/bin/bash
# apps_sockperf.sh - sockperf over TCP: ping-pong, under load, throughput; with its own check of the data
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need sockperf

run() { # run WHAT OPTIONS...
	local what=$1 n

	shift
	output "${C[@]}" sockperf "$what" --tcp -i 127.0.0.1 -p $PORT "$@" > "$D/client.log" || { fail "sockperf $what $*: exit $?"; tail -n 5 "$D/client.log"; return; }
	[ "$what" = throughput ] && n=$(sed -n 's/.*Total of \([0-9]*\) messages sent.*/\1/p' "$D/client.log") ||
		n=$(sed -n 's/.*ReceivedMessages=\([0-9]*\)$/\1/p' "$D/client.log" | tail -n 1)
	[ "${n:-0}" -gt 0 ] || fail "sockperf $what $*: ${n:-no} messages"
	[ "$what" = throughput ] || grep -q '# dropped messages = 0; # duplicated messages = 0; # out-of-order messages = 0' "$D/client.log" ||
		fail "sockperf $what $*: $(grep 'dropped messages' "$D/client.log")"
}

# In ping-pong sockperf makes room for 600000 messages a second, unless it is told a rate, and exits with "_seqN >
# m_maxSequenceNo" when there are more: a lifted connection has a million.  It sends no faster than the rate it is told,
# so with one it never sends more than it has room for.
RATE=--mps=2000000

sockperf_run() {
	local server mode

	for mode in recvfrom epoll; do
		free_port
		if [ $mode = recvfrom ]; then
			spawn server-$mode "${S[@]}" sockperf server --tcp -i 127.0.0.1 -p $PORT
		else
			for i in 0 1 2; do echo "T:127.0.0.1:$((PORT + i))"; done > "$D/feed"
			spawn server-$mode "${S[@]}" sockperf server -f "$D/feed" -F $mode
		fi
		server=$PID
		wait_port $PORT $server || return
		case $mode in
		recvfrom)
			run ping-pong -t 1 -m 14 $RATE --data-integrity
			run throughput -t 1 -m 64
			run under-load -t 1 -m 8000 --mps=5000 --reply-every=1
			;;
		*)
			run ping-pong -t 1 -m 64 $RATE --nonblocked --data-integrity
			;;
		esac
		stop $server INT
	done
}

matrix sockperf_run
