#!/bin/bash
# direct_stat.sh - `ztcp ss` and `ztcp stat` show the stack of a process, also while that is stopped
#
# usage: direct_stat.sh BUILD
# redis-server on a TAP in a namespace of its own, with one connection that was used and is idle.
# Exit: 0 passed, 1 failed, 77 no namespace or no TAP can be had here.
set -u

build=${1:?usage: direct_stat.sh BUILD}
if [ "${DIRECT_INSIDE:-}" != 1 ]; then
	unshare -n true 2> /dev/null && [ -r /dev/net/tun ] && command -v redis-server > /dev/null || exit 77
	DIRECT_INSIDE=1 exec unshare -n -m -p -f --mount-proc --kill-child "$0" "$@"
fi
unset ZTCP_EXPLAIN ZTCP_LIFT ZTCP_CHAOS ZTCP_PATH ZTCP_SPIN ZTCP_POLICY ZTCP_ONLY
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mount -t tmpfs tmpfs /dev/shm
ip link set lo up && ip tuntap add zt0 mode tap && ip link set zt0 up && ip address add 10.9.0.1/24 dev zt0 || exit 77
echo "interface zt0 device=tap:zt0 address=10.9.0.2/24" > "$work/interfaces"

. "$(dirname "$(readlink -f "$0")")/direct_wait.bash"

ZTCP_INTERFACES=$work/interfaces "$build/bin/ztcp_run" --path stack redis-server --bind 0.0.0.0 --protected-mode no \
	--save "" --port 7116 --dir "$work" > "$work/redis" &
server=$!
await redis-cli -h 10.9.0.2 -p 7116 ping
{
	exec 3<> /dev/tcp/10.9.0.2/7116 && printf 'SET key %s\r\nGET key\r\n' "$(printf 'x%.0s' {1..1000})" >&3
} || fail "no connection"
for _ in 1 2 3; do read -r -t 30 _ <&3 || fail "no answer"; done

# What is shown is a few milliseconds old, and only the last of it counts.
shown() {
	"$build/bin/ztcp" ss > "$work/ss" &&
		grep -A1 "ESTAB.*10.9.0.2:7116 .*10.9.0.1:.* stack .*DIRECT" "$work/ss" |
		grep -qE "stack_sent:10.. .* rto:.* rtt:.* mss:1... .*cwnd:[1-9].* bytes_acked:10.. bytes_received:10.. .*rcv_space:[1-9]"
}
await shown

check() { # TOPIC PYTHON: of the one stack there is, s
	"$build/bin/ztcp" stat -j "$1" | /usr/bin/python3 -c "import json, sys
a = json.load(sys.stdin)
assert len(a) == 1, a
s = a[0]
assert s['program'] == 'redis-server' and s['interface'] == 'zt0', s
assert $2, s" || fail "ztcp stat -j $1"
	"$build/bin/ztcp" stat "$1" | grep -q "zt0" || fail "ztcp stat $1: $("$build/bin/ztcp" stat "$1")"
}

all() {
	shown || fail "ztcp ss: $(cat "$work/ss")"
	check tcp "s['connections'] >= 1 and s['counters']['inst_rx_frames'] > 3"
	check netdev "s['device'] == 'tap:zt0' and s['mtu'] == 1500 and not s['shared'] and s['received'] > 3 and s['sent'] > 3"
	check arp "[n for n in s['neighbours'] if n['address'] == '10.9.0.1' and n['mac'] == '$(ip -br link show zt0 | awk '{ print $3 }')']"
	check mem "s['bytes_huge'] + s['bytes_ordinary'] > 0 and s['connections'] >= 1 and s['blocks'] >= 0"
	"$build/bin/ztcp" ss -j | /usr/bin/python3 -c "import json, sys
c = [c for c in json.load(sys.stdin) if c['path_sent'] == 'stack'][0]
i = c['tcp_info']
assert i['congestion'] and i['cwnd'] > 0 and i['mss'] > 1000 and i['rto_ms'] > 0 and i['bytes_received'] > 1000, c
assert c['kernel_sent'] == 0 and c['kernel_received'] == 0, c" || fail "ztcp ss -j"
}
all
kill -STOP "$server"
all
kill -CONT "$server"
[ "$("$build/bin/ztcp" stat -j arp 99999999 2>&1; echo $?)" != 0 ] || fail "a process that is not there"
exit 0
