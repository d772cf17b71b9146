#!/bin/bash
# apps_netcat.sh - netcat in pipes: half-close each way, both ways at once, end of file with data on the way
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need nc socat

listener() { # listener NAME FILE-IN OPTIONS...: what it receives goes to $D/NAME.out
	local name=$1 in=$2

	shift 2
	free_port
	timeout 60 "${S[@]}" nc -l "$@" 127.0.0.1 $PORT < "$in" > "$D/$name.out" 2> "$D/$name.err" &
	PID=$!
	PIDS+=("$PID")
	wait_port $PORT $PID
}

netcat_run() {
	local i killed

	data "$D/big" 30000000 1
	data "$D/small" 3000 2
	# one way; -N: shut down at the end of the input, the other side then ends by itself
	listener oneway /dev/null -N || return
	timeout 60 "${C[@]}" nc -N 127.0.0.1 $PORT < "$D/big" > "$D/client.out" || fail "one way: exit $?"
	finish $PID "one way: listener"
	same "one way" "$(sum "$D/oneway.out")" "$(sum "$D/big")"
	# the other way; -d: without an input, so that nothing is shut down before the end
	listener otherway "$D/big" -N || return
	timeout 60 "${C[@]}" nc -d 127.0.0.1 $PORT > "$D/client.out" || fail "other way: exit $?"
	finish $PID "other way: listener"
	same "other way" "$(sum "$D/client.out")" "$(sum "$D/big")"
	# both ways at once. A listening nc ends when its peer's input has ended, also with some of its own still to send:
	# so only the listener half-closes (-N), and its peer ends when it has read all and sent all
	listener both "$D/big" -N || return
	timeout 60 "${C[@]}" nc 127.0.0.1 $PORT < "$D/big" > "$D/client.out" || fail "both ways: exit $?"
	finish $PID "both ways: listener"
	same "both ways, there" "$(sum "$D/both.out")" "$(sum "$D/big")"
	same "both ways, back" "$(sum "$D/client.out")" "$(sum "$D/big")"
	# the same with a half-close each way: socat goes on sending after the end of what it receives
	free_port
	spawn halves "${S[@]}" socat -t 60 "TCP-LISTEN:$PORT,bind=127.0.0.1" "OPEN:$D/big,rdonly!!CREATE:$D/halves.out"
	i=$PID
	wait_port $PORT $i || return
	timeout 60 "${C[@]}" nc -N 127.0.0.1 $PORT < "$D/big" > "$D/client.out" || fail "half-closed both ways: exit $?"
	finish $i "half-closed both ways: socat"
	same "half-closed both ways, there" "$(sum "$D/halves.out")" "$(sum "$D/big")"
	same "half-closed both ways, back" "$(sum "$D/client.out")" "$(sum "$D/big")"
	# a slow reader in a pipe; many small writes
	listener slow /dev/null -N || return
	(for i in $(seq 1 200); do head -c 3000 "$D/small"; [ $((i % 50)) != 0 ] || sleep 0.1; done) |
		timeout 60 "${C[@]}" nc -N 127.0.0.1 $PORT || fail "small writes: exit ${PIPESTATUS[1]}"
	finish $PID "small writes: listener"
	same "small writes" "$(stat -c %s "$D/slow.out")" 600000
	# a question and an answer after the half-close
	free_port
	spawn answer "${S[@]}" socat -t 60 "TCP-LISTEN:$PORT,bind=127.0.0.1" EXEC:sha256sum
	i=$PID
	wait_port $PORT $i || return
	same "an answer after the half-close" "$(timeout 60 "${C[@]}" nc -N 127.0.0.1 $PORT < "$D/big" | cut -d' ' -f1)" "$(sum "$D/big")"
	finish $i "answer: server"
	# half-closed by the server first: the client's 30 MB still arrive
	free_port
	spawn first "${S[@]}" socat -u "TCP-LISTEN:$PORT,bind=127.0.0.1,shut-down" "CREATE:$D/first.out"
	i=$PID
	wait_port $PORT $i || return
	timeout 60 "${C[@]}" nc -N 127.0.0.1 $PORT < "$D/big" > /dev/null || fail "server half-closed: exit $?"
	finish $i "server half-closed"
	same "server half-closed" "$(sum "$D/first.out")" "$(sum "$D/big")"
	# the listener is killed while data comes: the client ends
	free_port
	spawn killed "${S[@]}" nc -l 127.0.0.1 $PORT
	killed=$PID
	wait_port $PORT $killed || return
	(yes | timeout 200 "${C[@]}" nc -N 127.0.0.1 $PORT > /dev/null 2>&1) &
	i=$!
	PIDS+=("$i")
	until_true 60 test -s "$D/killed.log" || fail "nothing comes at the listener that is to be killed"
	kill -9 $killed
	wait $killed 2> /dev/null
	rm -f "$D/killed.log"
	until_true 60 ended $i || fail "the client does not notice that the listener was killed"
	wait $i 2> /dev/null
	grep -q . "$D"/*.err && fail "netcat complains: $(cat "$D"/*.err | head -n 1)"
	return 0
}

matrix netcat_run
