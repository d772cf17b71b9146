#!/bin/bash
# daemon_tokens.sh - the selector's option on its way through a box that strips, forges, echoes, repeats or drops it; and that it is
# sent only where a rule lets a connection be lifted
. "$(dirname "$(readlink -f "$0")")/daemon_lib.sh"
need python3
[ -c /dev/net/tun ] || skip "no tun devices"
. "$HERE/daemon_net.bash"

net_up
policy "lift path=shm port=7000" "kernel port=7001" "count port=7002" "lift path=stack port=7003" "kernel role=listen port=7005" \
	"lift path=shm port=7005" "kernel role=connect port=7006" "lift path=shm port=7006" # and none for 7004
daemon
timeout 120 python3 "$HERE/daemon_tokens.py" a b || fail "what must not be attested is, or the other way round"
kill -0 "$DAEMON" || fail "ztcpd has ended"
end
