#!/bin/bash
# run_cli_users.sh - users of different user namespaces that all look like number 65534 to one another are not taken for one user
#
# Everything happens in network and mount namespaces of the test's own; the programs are at /run/build there: the tree may be where other
# users cannot look, such as /root.
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
build=${ZTCP_BUILD:-$here/../../build/release}
for f in bin/ztcp_run lib/libztcp_preload.so; do
	[ -e "$build/$f" ] || { echo "no $build/$f: build it first"; exit 1; }
done
if [ "${1-}" != inside ]; then
	if [ "$(id -u)" -ne 0 ] || ! unshare -mnU true 2>/dev/null; then
		echo "skipped: needs root and the right to make namespaces"
		exit 77
	fi
	unset LD_PRELOAD ${!ZTCP_@}
	exec unshare -mn --propagation private bash -c 'mount -t tmpfs -o mode=755 none /run && mkdir /run/build /run/work && chmod 777 /run/work &&
		mount --bind "$1" /run/build && ip link set lo up && exec bash "$2" inside' - "$build" "$(readlink -f "$0")"
fi

pids=()
failures=0
cleanup() {
	kill -KILL "${pids[@]}" 2>/dev/null
	wait 2>/dev/null
}
trap cleanup EXIT
fail() {
	echo "FAIL: $*"
	failures=$((failures + 1))
}

# space MAP: a user namespace of its own; the process that keeps it is in $keeper
space() {
	unshare -U sleep 1000 &
	keeper=$!
	pids+=("$keeper")
	for _ in $(seq 3000); do
		[ "$(readlink "/proc/$keeper/ns/user")" = "$(readlink /proc/self/ns/user)" ] || break
		sleep 0.02
	done
	echo "$1" >"/proc/$keeper/uid_map" && echo "$1" >"/proc/$keeper/gid_map" || fail "no map of users"
}

# reasons A B: of a connection that the 65534 of namespace B makes to that of namespace A
reasons() {
	rm -f /run/work/*
	nsenter -t "$1" -U -S 65534 -G 65534 /run/build/bin/ztcp_run --explain=/run/work/server python3 -c '
import socket
l = socket.create_server(("127.0.0.1", 7000))
open("/run/work/up", "w").close()
c = l.accept()[0]
while data := c.recv(100):
    c.sendall(data)' &
	local server=$!
	pids+=("$server")
	for _ in $(seq 3000); do
		[ ! -e /run/work/up ] || break
		sleep 0.02
	done
	timeout 60 nsenter -t "$2" -U -S 65534 -G 65534 /run/build/bin/ztcp_run --explain=/run/work/client python3 -c '
import socket
c = socket.create_connection(("127.0.0.1", 7000))
for i in range(500):
    c.sendall(b"x")
    c.recv(1)' || fail "the client"
	wait "$server"
	sed -n 's/.*reason=\([A-Z_]*\).*/\1/p' /run/work/server /run/work/client | sort | uniq | xargs
}

space "65534 300001 1"
one=$keeper
space "65534 400001 1"
two=$keeper
space "0 0 4294967295" # as the initial one: its 65534 is one user
all=$keeper
got=$(reasons "$one" "$two")
[[ $got = *PEER_USER* && $got != *LIFTED* ]] || fail "two users of one number: $got"
got=$(reasons "$one" "$one")
[[ $got = *PEER_USER* && $got != *LIFTED* ]] || fail "one that cannot be told from others: $got"
got=$(reasons "$all" "$all")
[ "$got" = LIFTED ] || fail "one user, and nobody else looks like it: $got"

[ "$failures" -eq 0 ] || { echo "$failures checks failed"; exit 1; }
