#!/bin/bash
# apps_sockperf.sh - sockperf over TCP: ping-pong, under load, throughput; with its own check of the data
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need sockperf

# Nothing twice, nothing out of order, all answered; but under load, sockperf stops listening 50 ms after it has sent the last,
# and calls what it has not heard by then dropped: on a busy machine it stops in the middle.
clean() { # clean LOG
	local sent got
	read -r sent got < <(sed -n 's/.*Total Run.*SentMessages=\([0-9]*\); ReceivedMessages=\([0-9]*\)$/\1 \2/p' "$1")
	grep -q 'duplicated messages = 0; # out-of-order messages = 0' "$1" && [ "${sent:-0}" -le $((got * 2)) ] &&
		{ [ "$what" = under-load ] || grep -q 'dropped messages = 0;' "$1"; }
}

run() { # run WHAT OPTIONS...
	local what=$1 n

	shift
	output "${C[@]}" sockperf "$what" --tcp -i 127.0.0.1 -p $PORT "$@" > "$D/client.log" || { fail "sockperf $what $*: exit $?"; tail -n 5 "$D/client.log"; return; }
	[ "$what" = throughput ] && n=$(sed -n 's/.*Total of \([0-9]*\) messages sent.*/\1/p' "$D/client.log") ||
		n=$(sed -n 's/.*ReceivedMessages=\([0-9]*\)$/\1/p' "$D/client.log" | tail -n 1)
	[ "${n:-0}" -gt 0 ] || fail "sockperf $what $*: ${n:-no} messages"
	[ "$what" = throughput ] || clean "$D/client.log" || fail "sockperf $what $*: $(grep -E 'Total Run|dropped messages' "$D/client.log")"
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
