#!/bin/bash
# daemon_crowd.sh - a user with connections of its own that may be lifted claims ten thousand of them and takes no channel, has
# processes end while they are introduced, and takes over process ids; others are introduced meanwhile, and ztcpd stays small
. "$(dirname "$(readlink -f "$0")")/daemon_lib.sh"
need redis-server redis-benchmark python3 curl
. "$HERE/daemon_net.bash"

PORT=6399
USER_CLAIMS=4096 USER_CHANNELS=2048 USER_SESSIONS=1024
touch "$T/server" "$T/client"
chmod 666 "$T/server" "$T/client"
net_up
policy "lift path=shm port=$PORT,7100" kernel
daemon --metrics 127.0.0.1:9464
redis $PORT

introduced() {
	bench 10.9.0.2 $PORT -n 2000 -c 3
	[ "$(lifted)" -ge 3 ]
}

# gauge NAME: a number that ztcpd tells
gauge() {
	curl -s http://127.0.0.1:9464/metrics >"$T/metrics"
	sed -n "s/^ztcpd_$1 //p" "$T/metrics"
}

descriptors() {
	find "/proc/$DAEMON/fd" -mindepth 1 | wc -l
}

resident_kb() {
	sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$DAEMON/status"
}

below() { # WHAT LIMIT GOT
	[ "$3" -le "$2" ] || fail "$1: $3, and at most $2 are allowed"
}

until_true 60 introduced || fail "not lifted before: $(head -2 "$T/client")"
FDS=$(descriptors) KB=$(resident_kb)

begin python3 "$HERE/daemon_crowd.py" a b 1003 $UID_A "$T/mark" >"$T/crowd"
CROWD=$PID
for i in 1 2 3; do
	until_true 60 introduced || fail "round $i: not lifted while another user is busy: $(head -2 "$T/client")"
done
until_true 120 test -e "$T/mark" || fail "the crowd has not come: $(cat "$T/crowd")"
# all of it stands now, and nobody takes what is handed out
below "descriptors of ztcpd" $((FDS + USER_SESSIONS)) "$(descriptors)"
below "kB of ztcpd" $((KB + 32768)) "$(resident_kb)"
below "claims" $((USER_CLAIMS + 100)) "$(gauge claims)"
below "channels" $((USER_CHANNELS + 100)) "$(gauge channels)"
[ "$(gauge channels)" -ge 100 ] || fail "the crowd has no channels: $(grep ztcpd_ "$T/metrics")"
for i in 1 2 3; do
	until_true 60 introduced || fail "round $i: not lifted beside the crowd: $(head -2 "$T/client")"
done
rm "$T/mark"
wait "$CROWD" || fail "$(cat "$T/crowd")"
cat "$T/crowd"

# it leaves nothing
gone() {
	[ "$(gauge sessions)" -le 2 ] && [ "$(gauge claims)" = 0 ] && [ "$(gauge channels)" -le 2 ]
}
until_true 60 gone || fail "left behind: $(grep '^ztcpd_' "$T/metrics")"
below "descriptors of ztcpd afterwards" $((FDS + 8)) "$(descriptors)"
kill -0 "$DAEMON" || fail "ztcpd died: $(cat "$T/ztcpd.err")"
until_true 60 introduced || fail "not lifted afterwards: $(head -2 "$T/client")"
end
