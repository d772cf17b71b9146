#!/bin/bash
# daemon_hostile.sh - another user, who has no part in a connection, gets no descriptor, sees no name and no number, and is
# in nobody's way: forged and replayed claims, nonsense, floods, sessions without end, while others are introduced
. "$(dirname "$(readlink -f "$0")")/daemon_lib.sh"
need redis-server redis-benchmark python3
. "$HERE/daemon_net.bash"

PORT=6399
touch "$T/server" "$T/client"
chmod 666 "$T/server" "$T/client"
net_up
policy "lift path=shm port=$PORT" kernel
MESSAGES=1000 # a second
daemon --metrics 127.0.0.1:9464 --limit user-messages=$MESSAGES --limit user-sessions=1024
redis $PORT

# count NAME: what ztcpd has counted until now
count() {
	curl -s http://127.0.0.1:9464/metrics >"$T/metrics"
	sed -n "s/^ztcpd_$1 //p" "$T/metrics"
}

# A flood by one user, in all its sessions together: what ztcpd reads of it in a time is bounded, what it sends is not
begun=$SECONDS before=$(count messages_total) waits=$(count waits_total)
ip netns exec a setpriv --reuid 1003 --regid 1003 --clear-groups python3 "$HERE/daemon_hostile.py" --flood $((3 * MESSAGES)) >"$T/flood" ||
	fail "$(cat "$T/flood")"
taken=$(($(count messages_total) - before)) most=$((MESSAGES * (SECONDS - begun + 2)))
cat "$T/flood"
echo "$taken messages read in less than $((SECONDS - begun + 1)) s, with a limit of $MESSAGES a second"
[ "$taken" -le $most ] || fail "$taken messages were read, and at most $most may be"
[ "$taken" -ge $MESSAGES ] || fail "only $taken messages were read: it was no flood"
[ "$(count waits_total)" -gt "$waits" ] || fail "the flood was never left for later"

descriptors() { find "/proc/$DAEMON/fd" -mindepth 1 | wc -l; }
before=$(descriptors)

begin "${A[@]}" "$RUN" redis-benchmark -h 10.9.0.2 -p $PORT -t get -n 100000000 -c 5 --csv >/dev/null 2>&1
LOAD=$PID

begin ip netns exec a setpriv --reuid 1003 --regid 1003 --clear-groups python3 "$HERE/daemon_hostile.py" 4 >"$T/hostile"
HOSTILE=$PID
# Each try is over in a moment: on a busy machine perhaps before ztcpd's turn has come.
introduced() {
	bench 10.9.0.2 $PORT -n 2000 -c 3
	[ "$(lifted)" -ge 3 ]
}
for i in 1 2 3 4 5; do
	until_true 60 introduced || fail "round $i: not lifted while somebody floods: $(head -2 "$T/client")"
done
wait "$HOSTILE" || fail "$(cat "$T/hostile")"
cat "$T/hostile"

# names and statistics of others
same "connections that a stranger sees" "[]" \
	"$(ip netns exec a setpriv --reuid 1003 --regid 1003 --clear-groups "$ZTCP" ss -j 2>/dev/null | tr -d ' \n')"
ip netns exec a setpriv --reuid 1003 --regid 1003 --clear-groups ls "/proc/$REDIS/fd" >/dev/null 2>&1 &&
	fail "a stranger sees the descriptors of redis"

kill -0 "$DAEMON" || fail "ztcpd died: $(cat "$T/ztcpd.err")"
kill -0 "$LOAD" || fail "the load died"
curl -s http://127.0.0.1:9464/metrics >"$T/metrics"
grep -q '^ztcpd_nonsense_total [1-9]' "$T/metrics" || fail "nonsense was not counted"
grep -q '^ztcpd_refusals_total{reason="UNVERIFIED"} [1-9]' "$T/metrics" || fail "forged claims were not counted"
few_sessions() {
	curl -s http://127.0.0.1:9464/metrics >"$T/metrics"
	[ "$(sed -n 's/^ztcpd_sessions //p' "$T/metrics")" -lt 20 ]
}
turned_away() { [ "$(count turned_away_total)" -gt 0 ]; }
until_true 60 turned_away || fail "sessions beyond the limit were not counted"
# one person with many user ids
python3 "$HERE/daemon_subordinate.py" a 1003 12 128 1024 >"$T/subordinate" || fail "subordinate user ids: $(cat "$T/subordinate")"
cat "$T/subordinate"
until_true 60 introduced || fail "not lifted after one with many user ids: $(head -2 "$T/client")"
# the sessions of the hostile user went with it
until_true 60 few_sessions || fail "sessions are left: $(grep '^ztcpd_sessions' "$T/metrics")"

# and what came with its messages: the load's session and a few of redis's may be new
few_descriptors() { [ "$(descriptors)" -le $((before + 10)) ]; }
until_true 60 few_descriptors || fail "descriptors are left: $(descriptors), and $before before"

# impostor USER: somebody listens in the name of a ztcpd that was killed, at the client's side. Sets $CLAIMS: what it was told.
impostor() {
	begin ip netns exec a setpriv --reuid "$1" --regid "$1" --clear-groups python3 "$HERE/daemon_impostor.py" >"$T/impostor"
	local its=$PID
	until_true 60 grep -q ready "$T/impostor" || fail "the impostor does not start"
	bench 10.9.0.2 $PORT -n 2000 -c 3
	same "lifted by an impostor of user $1" 0 "$(lifted)"
	finish "$its"
	CLAIMS=$(sed -n 2p "$T/impostor")
}
finish "$DAEMON" KILL
impostor 1003
same "what an impostor who is not root is told" 0 "$CLAIMS"
# and one of root's, to whom claims are sent: what it hands out is not what the selector knows of
impostor 0
[ "$CLAIMS" -gt 0 ] || fail "an impostor of root's was asked nothing: the test shows nothing"
grep -q 'reason=UNVERIFIED' "$T/client" || fail "a channel of an impostor's: $(head -3 "$T/client")"
daemon --metrics 127.0.0.1:9464
until_true 60 introduced || fail "not lifted after impostors: $(head -2 "$T/client")"
end
