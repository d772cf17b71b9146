#!/bin/bash
# daemon_container.sh - containers: programs in mount, PID, network and user namespaces of their own, joined by a veth and by a bridge; a policy
# for each network namespace, whose tables go with it, whether ztcpd sees that or not; who was forbidden everything joins when a policy
# allows it
. "$(dirname "$(readlink -f "$0")")/daemon_lib.sh"
need redis-server redis-benchmark bpftool python3
. "$HERE/daemon_net.bash"

PORT=6399
BOXES=()
touch "$T/server" "$T/client"
chmod 666 "$T/server" "$T/client"

# Before a user and a command that starts with a program of /opt/box, which is in its mount namespace alone; it is the first in
# its PID namespace, and a child of what is started.
BOX=(unshare -m -p -f --mount-proc --propagation private sh -c '
	mount -t tmpfs box /opt && mkdir /opt/box && cp /usr/bin/redis-server /usr/bin/redis-benchmark /opt/box &&
	user=$1 && shift && exec setpriv --reuid "$user" --regid "$user" --clear-groups "$@"' -)

# policy_of NAMESPACE LINE...: its own file
policy_of() {
	local folder=/etc/netns/$1/ztcp
	shift
	mkdir -p "$folder"
	printf '%s\n' "$@" >"$folder/.new"
	mv "$folder/.new" "$folder/policy"
}

# becomes WHAT...: until the connections of a load are like this
becomes() {
	until_true 60 outcome_is "$@" || fail "wanted $*: $(sort -u "$T/client" | head -3) $(tail -2 "$T/ztcpd.err")"
}

outcome_is() {
	bench 10.9.0.2 $PORT -n 1000 -c 2
	case $1 in
	lifted) [ "$(lifted)" -ge 2 ] ;;
	kept) [ "$(lifted)" = 0 ] && grep -q "reason=$2" "$T/client" ;;
	esac
}

# Namespaces that the selector has a policy for.
served() {
	"$ZTCP" rules -j -p "$PIN" | python3 -c 'import json, sys; print(len({r["netns"] for r in json.load(sys.stdin) if r["netns"]}))'
}

served_are() { [ "$(served)" = "$1" ]; }

# Entries of its table of namespaces, with or without a policy
slots() {
	bpftool -j map dump pinned "$PIN/slots" | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))'
}

descriptors() {
	ls "/proc/$DAEMON/fd" | wc -l
}

start() {
	net_up
	policy kernel
	daemon
}

# A server that nothing was allowed when it started
late() {
	redis $PORT
	becomes kept 'POLICY\|PEER_REMOTE'
	policy "lift path=shm port=$PORT" kernel
	becomes lifted
	policy kernel
	becomes kept POLICY
}

namespaces() {
	policy_of a "lift path=shm port=$PORT" kernel
	becomes kept PEER_REMOTE # its own end may, the server's may not
	policy_of b "lift path=shm port=$PORT" kernel
	becomes lifted
	same "namespaces with a policy" 2 "$(served)"
	same "a policy loaded by hand" '{"file": "/etc/ztcp/policy", "rules": 1}' "$("$ZTCP" policy load -j -p "$PIN")"
	policy_of b "kernel port=$PORT" "lift path=shm"
	becomes kept PEER_REMOTE
	policy_of b "lift path=shm port=$PORT" kernel
	becomes lifted
	rm /etc/netns/b/ztcp/policy # that of all others holds
	becomes kept PEER_REMOTE
	same "namespaces with a policy" 1 "$(served)"
	policy_of b "lift prot=1" # wrong, and there is none before it
	until_true 60 grep -q '/etc/netns/b/ztcp/policy:1:' "$T/ztcpd.err" || fail "the error is not said"
	policy "lift path=shm"
	becomes kept PEER_REMOTE
	policy_of b "lift path=shm port=$PORT"
	becomes lifted
	policy kernel
	becomes lifted
	rm -r /etc/netns/a/ztcp /etc/netns/b/ztcp
	until_true 60 served_are 0 || fail "policies stay without their files: $(served)"
	by_hand
	finish "$REDIS"
}

# What is loaded for one namespace holds until ztcpd reads the files again, as what is loaded for all does
by_hand() {
	policy "lift path=shm port=$PORT" kernel
	becomes lifted
	echo kernel >"$T/none"
	same "a policy loaded for a namespace" "{\"file\": \"$T/none\", \"rules\": 1}" "$("$ZTCP" policy load -j -n a -p "$PIN" "$T/none")"
	same "namespaces with a policy that was loaded" 1 "$(served)"
	becomes kept POLICY
	touch /etc/ztcp/policy
	until_true 60 served_are 0 || fail "what was loaded by hand stays when files are read again: $(served)"
	becomes lifted
}

# box_server: redis-server in a container in b
box_server() {
	begin ip netns exec b "${BOX[@]}" $UID_B "$RUN" --explain="$T/server" /opt/box/redis-server --bind 0.0.0.0 --port $PORT --protected-mode no \
		--save '' --appendonly no --dir / >/dev/null
	REDIS=$PID
	until_true 60 net_listens b $PORT || fail "the server in its box does not start"
}

# box_bench HOST: redis-benchmark in a container in a
box_bench() {
	: >"$T/client"
	ip netns exec a "${BOX[@]}" $UID_A timeout 60 "$RUN" --explain="$T/client" /opt/box/redis-benchmark -h "$1" -p $PORT -t get -n 20000 -c 10 -q >/dev/null ||
		fail "redis-benchmark in its box failed"
}

box_end() {
	kill -KILL "$(pgrep -P "$REDIS")" # the first of its PID namespace: all of it goes
	wait "$REDIS" 2>/dev/null
}

mounts() {
	policy "lift path=shm program=/opt/box/redis-server,/opt/box/redis-benchmark" kernel
	box_server
	box_bench 10.9.0.2
	[ "$(lifted)" -ge 10 ] || fail "boxes: lifted: $(head -3 "$T/client") $(tail -3 "$T/ztcpd.err")"
	bench 10.9.0.2 $PORT -n 1000 -c 2 # the same program, but not of a box
	same "lifted of a program with another path" 0 "$(lifted)"
	"$ZTCP" ss -j | python3 -c 'import json, sys; json.load(sys.stdin)' || fail "ztcp ss"
	box_end
}

# userns NAME OWNER FIRST: a container with a user namespace, made by OWNER, whose ids 0 to 65535 are the host's from FIRST on; its network, mount and
# PID namespaces belong to that. Its first process is in $INIT, and a command before what runs in it as its user 1000 in IN_NAME.
userns() {
	local -n in=IN_$1
	begin setpriv --reuid "$2" --regid "$2" --clear-groups unshare -U sleep 1000
	local maker=$PID
	until_true 60 elsewhere "$maker" user || fail "no user namespace"
	echo "0 $3 65536" >"/proc/$maker/uid_map" && echo "0 $3 65536" >"/proc/$maker/gid_map" || fail "no map of users"
	rm -f "$T/up.$1"
	: >"$T/up.$1"
	chmod 666 "$T/up.$1"
	begin nsenter -t "$maker" -U -S 0 -G 0 unshare -m -p -n -f --mount-proc --propagation private sh -c '
		mount -t tmpfs box /opt && mkdir /opt/box && cp /usr/bin/redis-server /usr/bin/redis-benchmark /opt/box && ip link set lo up &&
		echo up >"$1" && exec sleep 1000' - "$T/up.$1" 2>"$T/err.$1"
	BOXES+=("$PID")
	until_true 60 [ -s "$T/up.$1" ] || fail "the container $1 does not start: $(cat "$T/err.$1")"
	INIT=$(pgrep -P "$PID")
	in=(nsenter -t "$INIT" -U -m -p -n -S 1000 -G 1000)
}

# elsewhere PID KIND: it has a namespace of its own
elsewhere() { [ "$(readlink "/proc/$1/ns/$2")" != "$(readlink "/proc/self/ns/$2")" ]; }

# users_are lifted|kept [REASON]: connections between both containers
users_are() {
	: >"$T/client"
	"${IN_left[@]}" timeout 60 "$RUN" --explain="$T/client" /opt/box/redis-benchmark -h 10.7.0.2 -p $PORT -t get -n 1000 -c 2 -q >/dev/null ||
		fail "redis-benchmark in its container failed"
	case $1 in
	lifted) [ "$(lifted)" -ge 2 ] ;;
	kept) [ "$(lifted)" = 0 ] && grep -q "reason=$2" "$T/client" ;;
	esac
}

users_become() {
	until_true 60 users_are "$@" || fail "containers with user namespaces: wanted $*: $(sort -u "$T/client" | head -3) $(tail -2 "$T/ztcpd.err")"
}

# Two containers with user namespaces, one that root made and one that a user did (rootless); for rules their users are numbered as on the host
users() {
	local left right
	unshare -U true 2>/dev/null || {
		echo "users: skipped: no user namespaces"
		return
	}
	policy "lift path=shm port=$PORT" kernel
	userns left $UID_A 400000
	left=$INIT
	userns right 0 300000
	right=$INIT
	ip link add ul netns "$left" type veth peer name ur netns "$right" || fail "no veth"
	nsenter -t "$left" -n sh -c 'ip addr add 10.7.0.1/24 dev ul; ip link set ul up'
	nsenter -t "$right" -n sh -c 'ip addr add 10.7.0.2/24 dev ur; ip link set ur up'
	begin "${IN_right[@]}" "$RUN" --explain="$T/server" /opt/box/redis-server --bind 0.0.0.0 --port $PORT --protected-mode no \
		--save '' --appendonly no --dir / >/dev/null
	until_true 60 users_listens "$right" || fail "the server in its container does not start"
	same "its user on the host" 301000 "$(stat -c %u "/proc/$(pgrep -P "$PID")")"
	users_become lifted
	policy "lift path=shm user=1000" kernel # of the host: nobody
	users_become kept POLICY
	policy "lift path=shm user=401000,301000" kernel
	users_become lifted
	policy "kernel user=301000" "lift path=shm" # the other end's
	users_become kept PEER_REMOTE
	policy "lift path=shm port=$PORT" kernel
	users_become lifted
	finish "$DAEMON" KILL
	users_become kept NO_DAEMON
	daemon
	users_become lifted
	kill -KILL "$left" "$right"
	wait "$PID" "${BOXES[@]}" 2>/dev/null
}

users_listens() {
	nsenter -t "$1" -n ss -Hltn "sport = :$PORT" | grep -q .
}

# Both namespaces on a bridge in a third, as containers usually are
bridge() {
	local ns
	if ! ip link add br0 type bridge; then
		echo "bridge: skipped: the kernel has no bridge"
		return
	fi
	ip link set br0 up
	for ns in a b; do
		ip link add "p$ns" type veth peer name "w$ns" netns $ns || fail "no veth"
		ip link set "p$ns" master br0 up
		ip -n $ns link set "w$ns" up
	done
	ip -n a addr add 10.8.0.1/24 dev wa
	ip -n b addr add 10.8.0.2/24 dev wb
	policy "lift path=shm port=$PORT,7001" kernel
	box_server
	box_bench 10.8.0.2
	[ "$(lifted)" -ge 10 ] || fail "over a bridge: lifted: $(head -3 "$T/client") $(tail -3 "$T/ztcpd.err")"
	why_is shm LIFTED 7001
	why_is kernel POLICY 7002
	policy "kernel local=10.8.0.0/24" "lift path=shm"
	until_true 60 rules_are 3 || fail "the new policy is not in force: $("$ZTCP" rules -p "$PIN")"
	box_bench 10.8.0.2
	same "over a bridge: lifted against a rule" 0 "$(lifted)"
	grep -q 'reason=POLICY' "$T/client" || fail "over a bridge: the reason is not said: $(head -3 "$T/client")"
	why_is kernel POLICY 7001
	box_end
}

# Rules in force, with the one that no rule matched
rules_are() {
	[ "$("$ZTCP" rules -j -p "$PIN" | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))')" = "$1" ]
}

# why_is PATH REASON PORT: what ztcp why says of a connection over the bridge while it is in use
why_is() {
	local its server
	begin "${B[@]}" "$RUN" python3 -c '
import socket, sys
c = socket.create_server(("10.8.0.2", int(sys.argv[1]))).accept()[0]
while data := c.recv(100):
    c.sendall(data)' "$3"
	server=$PID
	until_true 60 net_listens b "$3" || fail "why: the server does not start"
	: >"$T/its"
	begin "${A[@]}" "$RUN" python3 -c '
import os, socket, sys, time
c = socket.create_connection(("10.8.0.2", int(sys.argv[1])))
print("%d:%d" % (os.getpid(), c.fileno()), flush=True)
while True:
    c.sendall(b"x")
    c.recv(1)
    time.sleep(0.001)' "$3" >"$T/its"
	until_true 60 [ -s "$T/its" ] || fail "why: the client does not start"
	read -r its <"$T/its"
	until_true 60 why_says "$its" "$1" "$2" || fail "ztcp why of port $3: wanted $1 $2: $("$ZTCP" why "$its" 2>&1)"
	"$ZTCP" why "$its" | grep -q "10\.8\.0\.1:[0-9]* -> 10\.8\.0\.2:$3" || fail "ztcp why: addresses: $("$ZTCP" why "$its" 2>&1)"
	finish "$PID" KILL
	wait "$server" 2>/dev/null # it reads the end, or an error
}

why_says() {
	"$ZTCP" why -j "$1" | python3 -c 'import json, sys
d = json.load(sys.stdin)
sys.exit([d["path_sent"], d["path_received"], d["reason"]] != [sys.argv[1], *sys.argv[1:]])' "$2" "$3" 2>/dev/null
}

# Namespaces that come and go
deleted() {
	local i before
	before=$(descriptors)
	for i in $(seq 40); do
		mkdir -p "/etc/netns/n$i/ztcp"
		echo "kernel port=$i" >"/etc/netns/n$i/ztcp/policy"
		ip netns add "n$i"
	done
	until_true 60 served_are 40 || fail "policies of 40 namespaces: $(served)"
	for i in $(seq 20); do ip netns del "n$i"; done
	until_true 60 served_are 20 || fail "20 namespaces have gone: $(served)"
	# one whose name has gone, and a process is in it: the policy of all others
	ip netns exec n21 sleep 1000 &
	PIDS+=($!)
	until_true 60 pgrep -P $$ -x sleep >/dev/null
	ip netns del n21
	until_true 60 served_are 19 || fail "a name has gone: $(served)"
	finish $!
	# and while nobody looks
	finish "$DAEMON" KILL
	for i in $(seq 22 40); do ip netns del "n$i"; done
	daemon
	same "policies of namespaces that went while ztcpd was dead" 0 "$(served)"
	same "their places" 0 "$(slots)"
	until_true 60 fewer_than $((before + 2)) || fail "descriptors: $before before, $(descriptors) after"
}

fewer_than() { [ "$(descriptors)" -lt "$1" ]; }

for part in ${PARTS:-start late namespaces mounts users bridge deleted}; do
	$part
	echo "$part: done"
done
end
