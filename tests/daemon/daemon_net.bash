# daemon_net.bash - two namespaces joined by veth, a cgroup and a ztcpd of the test's own; sourced after daemon_lib.sh
#
#   a 10.9.0.1 ---- veth ---- 10.9.0.2 b
#
# The selector is attached to the test's cgroup alone, in which everything here runs: the host's processes see nothing of it.
need ip setpriv
[ "$(readlink /proc/self/ns/pid)" = "pid:[4026531836]" ] || skip "ztcpd needs the initial PID namespace"
modinfo veth >/dev/null 2>&1 || ip link add type veth 2>/dev/null || skip "no veth"
CGROOT=$(findmnt -nt cgroup2 -o TARGET | head -1)
[ -n "$CGROOT" ] || skip "no cgroup v2"
CGROUP=$CGROOT/$TEST
PIN=/sys/fs/bpf/$TEST
leftovers "$CGROOT"
mkdir "$CGROUP" || skip "cannot make a cgroup"
echo $$ >"$CGROUP/cgroup.procs" || skip "cannot enter a cgroup"
UID_A=1002 UID_B=1001

clean_more() {
	"$ZTCPD" --detach --pin "$PIN" 2>/dev/null
	ip netns del a 2>/dev/null
	ip netns del b 2>/dev/null
	echo $$ >"$CGROOT/cgroup.procs"
	until_true 60 rmdir "$CGROUP" 2>/dev/null # not before its last process is gone
}

net_up() {
	local ns
	ip netns add a && ip netns add b || fail "no network namespaces"
	ip link add va netns a type veth peer name vb netns b || fail "no veth"
	ip -n a addr add 10.9.0.1/24 dev va
	ip -n b addr add 10.9.0.2/24 dev vb
	for ns in a b; do
		ip -n $ns link set lo up
		ip -n $ns link set v$ns up
	done
}

# policy LINE...: the file of all namespaces, replaced at once
policy() {
	printf '%s\n' "$@" >/etc/ztcp/.new
	mv /etc/ztcp/.new /etc/ztcp/policy
}

# daemon ARGUMENT...: start ztcpd and wait until it serves
daemon() {
	: >"$T/ready"
	"$ZTCPD" --pin "$PIN" --cgroup "$CGROUP" --ready-fd 3 "$@" 3>"$T/ready" 2>>"$T/ztcpd.err" &
	DAEMON=$!
	PIDS+=("$DAEMON")
	until_true 60 [ -s "$T/ready" ] || fail "ztcpd does not start: $(cat "$T/ztcpd.err")"
}

# Before a command: who runs it, and where. Each of these programs becomes the next one, so that a pid stays.
A=(ip netns exec a setpriv --reuid $UID_A --regid $UID_A --clear-groups)
B=(ip netns exec b setpriv --reuid $UID_B --regid $UID_B --clear-groups)

# redis PORT: redis-server in b, wrapped; its pid in $REDIS
redis() {
	begin "${B[@]}" "$RUN" --explain="$T/server" redis-server --bind 0.0.0.0 --port "$1" --protected-mode no \
		--save '' --appendonly no --dir / >/dev/null
	REDIS=$PID
	until_true 60 net_listens b "$1" || fail "redis-server does not start"
}

net_listens() {
	ip netns exec "$1" ss -Hltn "sport = :$2" | grep -q .
}

# bench HOST PORT ARGUMENT...: redis-benchmark in a; its requests a second in $RATE, its reports in $T/client
bench() {
	: >"$T/client"
	chmod 666 "$T/client"
	RATE=$("${A[@]}" timeout 60 "$RUN" --explain="$T/client" redis-benchmark -h "$1" -p "$2" -t get --csv "${@:3}" 2>&1 |
		sed -n 's/^"GET","\([0-9]*\).*/\1/p')
	[ -n "$RATE" ] || fail "redis-benchmark -h $1 -p $2 ${*:3} failed"
}

# Connections of the last bench that were, and were not, lifted.
lifted() { grep -c 'path=shm' "$T/client"; }
kept() { grep -c 'path=kernel' "$T/client"; }
