#!/bin/bash
# daemon_killed.sh - a server on the stack is killed under load: ztcpd resets its peers, also those that only wait, removes
# what it had named and gives its queue back; the next server is accelerated again
#
# KILLS=N of them. What each peer waited for it is printed, and asserted by nothing but that it comes.
. "$(dirname "$(readlink -f "$0")")/daemon_lib.sh"
need redis-server redis-benchmark redis-cli python3 nsenter
. "$HERE/daemon_net.bash"
. "$HERE/daemon_xdp.bash"

KILLS=${KILLS:-100}
A=(nsenter --net=/run/netns/a) B=(nsenter --net=/run/netns/b) # ip netns exec would hide bpffs
in_a() { "${A[@]}" "$@"; }
in_b() { "${B[@]}" "$@"; }

answers() { [ "$(in_a timeout 5 redis-cli -h 10.9.0.2 -p "$PORT" ping 2>/dev/null)" = PONG ]; }
accelerated() { answers && [ "$(named ports)" -gt 0 ]; }

server() { # in $SERVER; on the stack once it has been asked for something
	begin "${B[@]}" env "ZTCP_INTERFACES=$T/interfaces" "$RUN" --path stack redis-server --bind 0.0.0.0 :: \
		--port $PORT --protected-mode no --save '' --appendonly no --dir / >"$T/redis"
	SERVER=$PID
	until_true 60 accelerated || fail "round $1: not on the stack: $(named ports) ports named; $(tail -n 3 "$T/ztcpd.err")"
}

empty() { [ "$(named flows) $(named ports)" = "0 0" ]; }

killed() { # ROUND
	server "$1"
	begin "${A[@]}" timeout 60 redis-benchmark -h 10.9.0.2 -p $PORT -c 20 -n 100000000 -t get -q >/dev/null 2>&1
	local load=$PID
	in_a timeout 120 python3 "$HERE/daemon_killed.py" "$SERVER" $PORT 10.9.0.2 fd09::2 >>"$T/times" ||
		fail "round $1: not all were told"
	wait "$SERVER" 2>/dev/null
	finish "$load"
	until_true 60 empty || fail "round $1: left behind: $(named flows) flows, $(named ports) ports"
}

# It opens connections itself, which are flows of their own, and is killed while they wait.
client_killed() {
	begin "${A[@]}" redis-server --bind 0.0.0.0 --port $PORT --protected-mode no --save '' --appendonly no --dir / >"$T/redis"
	local server=$PID
	until_true 60 net_listens a $PORT || fail "redis-server does not start"
	begin "${B[@]}" env "ZTCP_INTERFACES=$T/interfaces" "$RUN" --path stack redis-benchmark -h 10.9.0.1 -p $PORT \
		-c 20 -I >/dev/null 2>&1
	until_true 60 connected 20 || fail "the client has no connections"
	[ "$(named flows)" -ge 20 ] || fail "the client's connections are not on the stack: $(named flows)"
	finish "$PID" KILL
	until_true 60 connected 0 || fail "the server was not told"
	until_true 60 empty || fail "the client left behind $(named flows) flows"
	finish "$server"
}

connected() { # N: at the kernel's end
	local n
	n=$(in_a ss -Htn state established "sport = :$PORT" | wc -l)
	if [ "$1" = 0 ]; then [ "$n" = 0 ]; else [ "$n" -ge "$1" ]; fi
}

PORT=7120
share
policy "direct path=stack" kernel
daemon
for round in $(seq "$KILLS"); do
	killed "$round"
	[ $FAILED = 0 ] || break
done
client_killed
python3 - "$T/times" <<-'EOF' || fail "no times"
	import statistics, sys
	t = [float(line) for line in open(sys.argv[1])]
	print(f"{len(t)} resets: median {statistics.median(t):.1f} ms, longest {max(t):.1f} ms")
EOF
end
