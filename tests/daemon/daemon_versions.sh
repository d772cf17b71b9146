#!/bin/bash
# daemon_versions.sh - a library of another version beside this one, and before this ztcpd: built here from the same tree with one
# version number changed at a time. Their connections stay on the kernel with a reason, nothing fails; those of equals are lifted
. "$(dirname "$(readlink -f "$0")")/daemon_lib.sh"
need redis-server redis-benchmark cmake ninja gcc curl
. "$HERE/daemon_net.bash"

TREE=$(readlink -f "$DAEMON_DOCS/..")
PORT=6399
LIB=$BUILD/lib/libztcp_preload.so
OTHER=$T/tree/build/release/lib/libztcp_preload.so
touch "$T/server" "$T/client"
chmod 666 "$T/server" "$T/client"

copy() {
	mkdir "$T/tree" && tar -C "$TREE" --exclude=./build --exclude=./.git -cf - . | tar -C "$T/tree" -xf - || fail "cannot copy the tree"
	cmake -S "$T/tree" -B "$T/tree/build/release" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo >"$T/cmake" 2>&1 || fail "cmake: $(tail -5 "$T/cmake")"
}

# other FILE NAME: a library in which this number alone is another
other() {
	cp "$TREE/$1" "$T/tree/$1"
	sed -i "s/\($2 =\) \([0-9]*\)/\1 1\2/" "$T/tree/$1"
	cmp -s "$TREE/$1" "$T/tree/$1" && fail "no $2 in $1"
	cmake --build "$T/tree/build/release" --target ztcp_preload -j 2 >"$T/cmake" 2>&1 || fail "$2: it does not build: $(tail -5 "$T/cmake")"
	cp "$TREE/$1" "$T/tree/$1"
	chmod 755 "$T/tree"
}

# with LIBRARY REPORTS COMMAND...
with() {
	env LD_PRELOAD="$1" ZTCP_EXPLAIN="$2" "${@:3}"
}

serve() { # LIBRARY
	begin "${B[@]}" env LD_PRELOAD="$1" ZTCP_EXPLAIN="$T/server" redis-server --bind 0.0.0.0 --port $PORT --protected-mode no \
		--save '' --appendonly no --dir / >/dev/null
	REDIS=$PID
	until_true 60 net_listens b $PORT || fail "redis-server does not start"
}

# ask LIBRARY WHO HOST: lifted, or the reasons
ask() {
	local -n who=$2
	: >"$T/client"
	with "$1" "$T/client" "${who[@]}" timeout 60 redis-benchmark -h "$3" -p $PORT -t get -n 1000 -c 2 -q >"$T/bench" 2>&1 ||
		fail "$WHAT: requests to $3 failed: $(tail -2 "$T/bench")"
	OUTCOME=$(grep -v 'reason=WARMING.* tx=77 ' "$T/client" | sed -n 's/.*path=kernel reason=\([A-Z_]*\).*/\1/p' | sort -u | xargs)
	OUTCOME=${OUTCOME:-lifted}
}

outcome_is() { # LIBRARY WHO HOST WANT
	ask "$1" "$2" "$3"
	[[ $OUTCOME =~ ^($4)$ ]]
}

# becomes LIBRARY WHO HOST WANT: an introduction may take longer than few requests
becomes() {
	until_true 60 outcome_is "$@" || fail "$WHAT: $2 to $3: want '$4', got '$OUTCOME'"
}

# quiet LIBRARY: who cannot be introduced does not go on asking
quiet() {
	local before
	sleep 1 # a page of metrics is as old at most
	before=$(messages)
	ask "$1" A 10.9.0.2
	sleep 1
	[ $(($(messages) - before)) -le 100 ] || fail "$WHAT: ztcpd is asked $(($(messages) - before)) times within 1000 requests"
}

# try NAME FILE HERE ACROSS: how both libraries fare with each other in one namespace, and the other one with anybody across
try() {
	WHAT=$1
	other "$2" "$1"
	serve "$LIB"
	becomes "$OTHER" B 127.0.0.1 "$3"
	becomes "$OTHER" A 10.9.0.2 "$4"
	quiet "$OTHER"
	becomes "$LIB" A 10.9.0.2 lifted
	finish "$REDIS"
	serve "$OTHER"
	becomes "$LIB" B 127.0.0.1 "$3"
	becomes "$LIB" A 10.9.0.2 'INTRODUCING|PEER_PLAIN' # its peer does not claim
	quiet "$LIB"
	becomes "$OTHER" B 127.0.0.1 lifted
	becomes "$OTHER" A 10.9.0.2 "$4"
	finish "$REDIS"
	echo "$1: done"
}

# messages: that ztcpd has read until now
messages() {
	curl -s http://127.0.0.1:9464/metrics | sed -n 's/^ztcpd_messages_total //p'
}

net_up
policy "lift path=shm port=$PORT" kernel
daemon --metrics 127.0.0.1:9464
copy
try SHM_VERSION shm/contract.h PEER_PLAIN NO_DAEMON
try AGENT_VERSION shm/agent.h lifted NO_DAEMON
try VERDICT_VERSION shm/verdict.h lifted PEER_REMOTE
kill -0 "$DAEMON" || fail "ztcpd has ended: $(cat "$T/ztcpd.err")"
end
