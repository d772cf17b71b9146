#!/bin/bash
# direct_hostile.sh - a wire full of packets that nobody should send, while established connections go on
#
# usage: direct_hostile.sh BUILD [SECONDS [FRAMES]]    each kind of packet for so long and so many at most (3, 1000000)
# redis-server on the stack over a veth that it shares with the kernel (AF_XDP). At the far end connections set and get random
# values, and compare, while wire_flood sends from the same interface. Nothing may crash, grow without bound or
# be answered wrongly; the established connections go on during each kind, and new ones are served after it.
# Exit: 0 passed, 1 failed, 77 no namespace or no bpffs can be had here.
set -u

build=${1:?usage: direct_hostile.sh BUILD [SECONDS [FRAMES]]} seconds=${2:-3} frames=${3:-1000000}
if [ "${DIRECT_INSIDE:-}" != 1 ]; then
	unshare -n true 2> /dev/null && command -v redis-server > /dev/null || exit 77
	DIRECT_INSIDE=1 exec unshare -n -m -p -f --mount-proc --kill-child "$0" "$@"
fi
unset ZTCP_EXPLAIN ZTCP_LIFT ZTCP_CHAOS ZTCP_PATH ZTCP_SPIN ZTCP_POLICY ZTCP_ONLY
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
grown_kb_max=262144 # a flood is some gigabytes

far() { nsenter --net=/run/netns/far "$@"; }

devices() {
	mount -t tmpfs tmpfs /dev/shm && mkdir -p /run/netns && mount -t tmpfs netns /run/netns &&
		mount -t bpf bpf /sys/fs/bpf && ip netns add far && ip link set lo up && far ip link set lo up &&
		ip link add v0 numtxqueues 1 numrxqueues 1 type veth peer name v1 numtxqueues 1 numrxqueues 1 netns far &&
		ip addr add 10.9.0.2/24 dev v0 && ip link set v0 up && far ip addr add 10.9.0.1/24 dev v1 &&
		far ip link set v1 up && ip route add 10.10.0.0/16 via 10.9.0.1 && "$build/bin/ztcp" nic attach v0
}
devices > "$work/devices" 2>&1 || { cat "$work/devices"; exit 77; }
echo "interface v0 device=xdp:v0" > "$work/interfaces"

. "$(dirname "$(readlink -f "$0")")/direct_wait.bash"

ZTCP_INTERFACES=$work/interfaces "$build/bin/ztcp_run" --path stack "--explain=$work/explain" redis-server --bind 0.0.0.0 \
	--protected-mode no --save "" --port 7117 --dir "$work" > "$work/redis" 2>&1 &
server=$!
await far redis-cli -h 10.9.0.2 -p 7117 ping

cat > "$work/talk.py" << 'P'
import os, random, socket, sys
work = sys.argv[1]
socks = [socket.create_connection(("10.9.0.2", 7117), timeout=60) for _ in range(8)]
files = [s.makefile("rb") for s in socks]
done = 0
while not os.path.exists(work + "/stop"):
    i = random.randrange(len(socks))
    value = random.randbytes(random.choice((3, 100, 1400, 9000)))
    key = b"k%d" % i
    socks[i].sendall(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n"
                     % (len(key), key, len(value), value, len(key), key))
    assert files[i].readline() == b"+OK\r\n"
    assert files[i].readline() == b"$%d\r\n" % len(value)
    assert files[i].read(len(value) + 2) == value + b"\r\n"
    done += 1
    if done % 50 == 0:
        with open(work + "/new", "w") as f:
            f.write(str(done))
        os.rename(work + "/new", work + "/done")
P
far /usr/bin/python3 "$work/talk.py" "$work" 2> "$work/talk" &
talk=$!
await test -s "$work/done"

kb() { awk '/VmRSS/ { print $2 }' "/proc/$server/status"; }
goes_on() { [ "$(cat "$work/done")" -gt "$1" ]; }
counted() { "$build/bin/ztcp" stat -j tcp | /usr/bin/python3 -c 'import json, sys
c = json.load(sys.stdin)[0]["counters"]
print(sum(v for k, v in c.items() if k in sys.argv[1:]))' "$@"; }

before=$(kb) station=$(ip -br link show v0 | awk '{ print $3 }') seed=1
for kind in random broken syn rst ack frag arp; do
	far "$build/tests/bin/wire_flood" v1 "$kind" "$station" 10.9.0.1 10.9.0.2 7117 "$seconds" "$frames" $((seed++)) \
		> "$work/sent" &
	flood=$!
	sleep 0.2
	await goes_on $(($(cat "$work/done") + 50))
	wait "$flood" || fail "$kind: nothing was sent"
	kill -0 "$server" 2> /dev/null || fail "$kind: redis-server has ended: $(tail -n 5 "$work/redis")"
	kill -0 "$talk" 2> /dev/null || fail "$kind: an established connection was disturbed: $(tail -n 3 "$work/talk")"
	[ "$(far timeout 60 redis-cli -h 10.9.0.2 -p 7117 ping)" = PONG ] || fail "$kind: no new connection afterwards"
	grown=$(($(kb) - before))
	[ "$grown" -lt $grown_kb_max ] || fail "$kind: $grown KB more memory"
	echo "$kind: $(cat "$work/sent") frames, $grown KB, $(cat "$work/done") exchanges so far"
done
[ "$(counted inst_rx_frames)" -gt 10000 ] || fail "the stack has seen nothing of it"
touch "$work/stop"
wait "$talk" || fail "an established connection was disturbed: $(tail -n 3 "$work/talk")"
redis-cli -p 7117 shutdown nosave
wait "$server" || fail "redis-server ended with $?: $(tail -n 5 "$work/redis")"
grep -q "path=stack reason=DIRECT" "$work/explain" || fail "it was not on the stack"
exit 0
