#!/bin/bash
# run_cli_nic.sh - ztcp nic inside of `ip netns exec`, which hides the bpf file system: it finds it by another process, and so do programs
# on the stack; where nobody has one it says what to do
#
# Everything happens in network, mount and PID namespaces of the test's own, with a bpf file system of its own; / there is this script's parent.
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
build=${ZTCP_BUILD:-$here/../../build/release}
tool=$build/bin/ztcp
for f in "$build/bin/ztcp_run" "$tool" "$build/lib/libztcp_preload.so"; do
	[ -e "$f" ] || { echo "no $f: build it first"; exit 1; }
done
if [ "${1-}" != inside ]; then
	if [ "$(id -u)" -ne 0 ] || ! command -v ip >/dev/null || ! unshare -mnp -f --mount-proc true 2>/dev/null; then
		echo "skipped: needs root, ip and the right to make namespaces"
		exit 77
	fi
	unset LD_PRELOAD ${!ZTCP_@}
	exec unshare -mnp -f --mount-proc --propagation private bash "$0" inside
fi

mount -t tmpfs none /run && mkdir /run/netns /run/work && mount -t sysfs sysfs /sys && ip netns add blue && ip netns add red &&
	ip link set lo up || exit 1
if ! ip link add v0 numtxqueues 1 numrxqueues 1 netns blue type veth peer name v1 numtxqueues 1 numrxqueues 1 netns red; then
	echo "skipped: no veth"
	exit 77
fi
trap 'kill -KILL "${server-}" 2>/dev/null; ip netns del blue; ip netns del red' EXIT
for end in "blue v0 10.9.0.1" "red v1 10.9.0.2"; do
	read -r ns dev addr <<<"$end"
	ip -n "$ns" addr add "$addr/24" dev "$dev"
	ip -n "$ns" link set "$dev" up
done
failures=0
fail() {
	echo "FAIL: $*"
	failures=$((failures + 1))
}
blue() { ip netns exec blue "$@"; }

# Nobody has one: what would be mounted goes with the command.
said=$(blue "$tool" nic attach v0 2>&1) && fail "it attaches to what goes at once"
[ "$said" = "ztcp: v0: no bpf file system that would stay: mount -t bpf bpf /sys/fs/bpf, outside of ip netns exec" ] || fail "without a bpf file system: $said"
[ "$(blue "$tool" nic -j)" = "[]" ] || fail "something is shown"
said=$(blue "$tool" nic detach v0 2>&1) && fail "it detaches what is not there"
[ "$said" = "ztcp: v0: the selector is not on it" ] || fail "detach: $said"

if ! mount -t bpf bpf /sys/fs/bpf; then
	echo "skipped: no bpf file system"
	exit 77
fi
said=$(blue "$tool" nic attach v0 2>&1) || {
	echo "skipped: $said"
	exit 77
}
[ "$(ls /sys/fs/bpf/ztcp-nic | wc -l)" = 1 ] || fail "nothing is pinned"
blue "$tool" nic | grep -q '^v0 (driver): 0 flows, 0 ports' || fail "it is not shown inside: $(blue "$tool" nic)"
"$tool" nic | grep -q '^interface [0-9]* of network namespace' || fail "it is not shown outside: $("$tool" nic)"
blue "$tool" nic attach v0 || fail "attached twice"

# A program on the stack finds it as well.
ip netns exec red python3 -c '
import socket
l = socket.create_server(("10.9.0.2", 7000))
open("/run/work/up", "w").close()
c = l.accept()[0]
while data := c.recv(100):
    c.sendall(data)' &
server=$!
for _ in $(seq 3000); do
	[ ! -e /run/work/up ] || break
	sleep 0.02
done
echo "interface v0 device=xdp:v0" >/run/work/interfaces
blue env ZTCP_INTERFACES=/run/work/interfaces timeout 60 "$build/bin/ztcp_run" --path stack --explain=/run/work/client python3 -c '
import socket
c = socket.create_connection(("10.9.0.2", 7000))
for i in range(100):
    c.sendall(b"x")
    assert c.recv(1) == b"x"' || fail "the client"
grep -q 'path=stack reason=DIRECT' /run/work/client || fail "the client is not on the stack: $(cat /run/work/client)"
wait "$server"
blue "$tool" nic detach v0 || fail "detach"
[ ! -e /sys/fs/bpf/ztcp-nic ] || fail "left behind: $(find /sys/fs/bpf/ztcp-nic)"
[ "$(blue "$tool" nic -j)" = "[]" ] || fail "it is still shown"

[ "$failures" -eq 0 ] || { echo "$failures checks failed"; exit 1; }
