#!/bin/bash
# run_cli_netns.sh - a network namespace has its own policy, and ztcp sees into namespaces
#
# Everything happens in a mount namespace of the test's own, with a copy of /etc and an empty /run/netns.
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
build=${ZTCP_BUILD:-$here/../../build/release}
for f in bin/ztcp_run bin/ztcp lib/libztcp_preload.so; do
	[ -e "$build/$f" ] || { echo "no $build/$f: build it first"; exit 1; }
done
if [ "${1-}" != inside ]; then
	if [ "$(id -u)" -ne 0 ] || ! command -v ip >/dev/null || ! unshare -mn true 2>/dev/null; then
		echo "skipped: needs root, ip and the right to make namespaces"
		exit 77
	fi
	unset LD_PRELOAD ${!ZTCP_@}
	exec unshare -mn --propagation private bash "$0" inside
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/run_cli_netns.XXXXXX")
trap 'ip netns pids blue 2>/dev/null | xargs -r kill; ip netns del blue; rm -rf "$work"' EXIT
failures=0
fail() {
	echo "FAIL: $*"
	failures=$((failures + 1))
}
mkdir -p "$work/etc" /run/netns && cp -a /etc/. "$work/etc/" && mount --bind "$work/etc" /etc &&
	mount -t tmpfs none /run/netns && mkdir -p /etc/ztcp /etc/netns/blue/ztcp && ip netns add blue &&
	ip link set lo up && ip -n blue link set lo up || exit 1
echo "lift" >/etc/ztcp/policy
cat >/etc/netns/blue/ztcp/policy <<'P'
kernel netns=blue role=connect
lift
P

# pair RUN...: a lifted or not lifted connection with itself; prints the client's line of --explain
pair() {
	"$@" "$build/bin/ztcp_run" --explain python3 -c '
import socket
l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen()
c = socket.create_connection(l.getsockname()); a, _ = l.accept()
for i in range(500):
    c.sendall(b"x" * 100); a.recv(100); a.sendall(b"y" * 100); c.recv(100)
c.close()
' 2>&1 | head -1
}
# No policy file is no error, and said; one that is named must be there.
mv /etc/ztcp/policy /etc/ztcp/.policy
said=$("$build/bin/ztcp" policy check) || fail "policy check without a file: status $?"
[ "$said" = "/etc/ztcp/policy: no such file; every connection may be lifted, as by an empty one" ] || fail "policy check without a file: $said"
said=$("$build/bin/ztcp" policy check -j) || fail "policy check -j without a file: status $?"
[ "$said" = '[{"ok": true, "file": "/etc/ztcp/policy", "exists": false, "rules": 0}'$'\n'']' ] || fail "policy check -j without a file: $said"
"$build/bin/ztcp" policy check /etc/ztcp/policy 2>/dev/null && fail "policy check of a file that is not there"
mv /etc/ztcp/.policy /etc/ztcp/policy
outside=$(pair env)
grep -q "reason=LIFTED" <<<"$outside" || fail "outside: $outside"
inside=$(pair ip netns exec blue)
grep -q "path=kernel reason=POLICY" <<<"$inside" || fail "in blue: $inside"

# The same by number, and a wrong policy of the namespace.
ino=$(stat -Lc %i /run/netns/blue)
echo "kernel netns=$ino" >/etc/netns/blue/ztcp/policy
inside=$(pair ip netns exec blue)
grep -q "path=kernel reason=POLICY" <<<"$inside" || [ -z "$inside" ] || fail "in blue, by number: $inside"
echo "kernel netns=$((ino + 1))" >/etc/netns/blue/ztcp/policy
inside=$(pair ip netns exec blue)
grep -q "reason=LIFTED" <<<"$inside" || fail "in blue, by another number: $inside"
echo "kernel net=blue" >/etc/netns/blue/ztcp/policy
said=$(ip netns exec blue "$build/bin/ztcp_run" true 2>&1 | head -1)
[ "$said" = "ztcp_run: /etc/ztcp/policy:1:8: expected role=, path=, threshold=, user=, group=, program=, cgroup=, netns=, \
local=, remote=, port=, local-port=, remote-port= or bpf=, found 'net=blue'; no connection is accelerated" ] || fail "a wrong policy: $said"

# From outside, ztcp sees connections in another namespace with their addresses.
echo lift >/etc/netns/blue/ztcp/policy
mkfifo "$work/out"
ip netns exec blue "$build/bin/ztcp_run" python3 -c '
import os, socket, time
l = socket.socket(socket.AF_INET6); l.bind(("::1", 0)); l.listen()
c = socket.create_connection(l.getsockname()[:2]); a, _ = l.accept()
for i in range(500):
    c.sendall(b"x" * 100); a.recv(100)
print(os.getpid(), c.fileno(), c.getsockname()[1], flush=True)
time.sleep(120)
' >"$work/out" &
read -r pid fd port <"$work/out"
why=$("$build/bin/ztcp" why "$pid:$fd")
grep -q "^ESTAB \[::1\]:$port -> \[::1\]:" <<<"$why" && grep -q "^reason 2 LIFTED" <<<"$why" || fail "ztcp why: $why"

[ "$failures" -eq 0 ] || { echo "$failures checks failed"; exit 1; }
