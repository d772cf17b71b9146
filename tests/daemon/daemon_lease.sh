#!/bin/bash
# daemon_lease.sh - programs of an ordinary user on the stack, with queues that ztcpd gives them; what it refuses, and whom
. "$(dirname "$(readlink -f "$0")")/daemon_lib.sh"
need redis-server redis-benchmark redis-cli python3 nsenter setpriv prlimit
. "$HERE/daemon_net.bash"
. "$HERE/daemon_xdp.bash"

in_a() { nsenter --net=/run/netns/a "$@"; }
# An ordinary login: no capabilities, Debian's limit of locked memory.
as() { # UID COMMAND...
	local uid=$1
	shift
	exec nsenter --net=/run/netns/b prlimit --memlock=8388608 \
		setpriv --reuid "$uid" --regid "$uid" --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs "$@"
}
user() { (as $UID_B "$@"); }
in_b() { nsenter --net=/run/netns/b "$@"; }

answers() { [ "$(in_a timeout 5 redis-cli -h "${2:-10.9.0.2}" -p "$1" ping 2>/dev/null)" = PONG ]; }
accelerated() { answers "$1" && [ "$(named ports)" -gt 0 ]; }
empty() { [ "$(named flows) $(named ports)" = "0 0" ]; }

ztcp_run() { # UID ARGUMENT...
	local uid=$1
	shift
	as "$uid" env "ZTCP_INTERFACES=$T/interfaces" "$RUN" --explain="$T/explain" "$@"
}

serve() { # UID PORT OPTION...: in $SERVER
	: >"$T/explain"
	begin ztcp_run "$1" "${@:3}" redis-server --bind 0.0.0.0 :: --port "$2" --protected-mode no \
		--save '' --appendonly no --dir / >"$T/redis" 2>"$T/say"
	SERVER=$PID
	until_true 60 answers "$2" || fail "redis-server of $1 does not answer: $(cat "$T/say")"
}

privileged() { grep -q '^CapEff:.*[1-9a-f]' "/proc/$1/status" || [ "$(awk '/^Uid/ { print $3 }' "/proc/$1/status")" = 0 ]; }

# The path is asked for, or a rule says so.
try_server() { # OPTION...
	serve $UID_B $PORT "$@"
	accelerated $PORT || fail "the server is not on the stack: $(cat "$T/say"); $(tail -n 3 "$T/ztcpd.err")"
	privileged "$SERVER" && fail "the server has privileges"
	answers $PORT fd09::2 || fail "nothing by IPv6"
	in_a timeout 60 redis-benchmark -h 10.9.0.2 -p $PORT -c 20 -n 20000 -t set,get -q >"$T/bench" || fail "redis-benchmark"
	in_a timeout 60 redis-benchmark -h 10.9.0.2 -p $PORT -c 10 -n 2000 -k 0 -t get -q >"$T/bench" 2>/dev/null ||
		fail "redis-benchmark, short connections"
	[ "$(in_b redis-cli -p $PORT ping)" = PONG ] || fail "nothing by the kernel's queue"
	in_a redis-cli -h 10.9.0.2 -p $PORT shutdown nosave 2>/dev/null
	wait "$SERVER" || fail "redis-server ended with $?"
	[ "$(grep -c 'path=stack reason=DIRECT' "$T/explain")" -gt 1000 ] || fail "not on the stack: $(tail -n 2 "$T/explain")"
	until_true 60 empty || fail "left behind: $(named flows) flows, $(named ports) ports"
}

# It opens connections, for which it knows no neighbour yet.
try_client() {
	begin nsenter --net=/run/netns/a redis-server --bind 0.0.0.0 --port $OTHERS --protected-mode no --save '' --appendonly no --dir / >"$T/redis"
	local server=$PID
	until_true 60 net_listens a $OTHERS || fail "redis-server does not start"
	in_b ip neigh flush dev vb
	: >"$T/explain"
	(ztcp_run $UID_B --path stack timeout 60 redis-benchmark -h 10.9.0.1 -p $OTHERS -c 10 -n 3000 -k 0 -t get -q) >"$T/bench" 2>&1 ||
		fail "redis-benchmark of the user: $(tail -n 2 "$T/bench")"
	[ "$(grep -c 'path=stack reason=DIRECT' "$T/explain")" -gt 2900 ] || fail "the client is not on the stack: $(tail -n 2 "$T/explain")"
	until_true 60 empty || fail "the client left behind $(named flows) flows"
	finish "$server"
}

try_killed() {
	local round
	for round in 1 2 3 4 5; do
		serve $UID_B $PORT --path stack
		accelerated $PORT || fail "round $round: not on the stack"
		in_a timeout 120 python3 "$HERE/daemon_killed.py" "$SERVER" $PORT 10.9.0.2 fd09::2 >>"$T/times" || fail "not all were told"
		wait "$SERVER" 2>/dev/null
		until_true 60 empty || fail "left behind: $(named flows) flows, $(named ports) ports"
	done
	python3 -c 'import statistics, sys
t = [float(line) for line in open(sys.argv[1])]
print(f"{len(t)} resets: median {statistics.median(t):.1f} ms, longest {max(t):.1f} ms")' "$T/times" || fail "no times"
}

# kernel_because NAME UID PORT: a client of port PORT at the far end runs on the kernel, and says why
kernel_because() {
	: >"$T/explain"
	(ztcp_run "$2" --path stack timeout 60 redis-cli -h 10.9.0.1 -p "$3" ping) >"$T/pong" 2>"$T/say"
	[ "$(cat "$T/pong")" = PONG ] || fail "$1: the program failed: $(cat "$T/say")"
	grep -q "path=kernel reason=$1(" "$T/explain" || fail "$1: $(tail -n 2 "$T/explain") $(cat "$T/say")"
}

try_refused() {
	local server
	begin nsenter --net=/run/netns/a redis-server --bind 0.0.0.0 --port $((PORT + 5)) --protected-mode no --save '' \
		--appendonly no --dir / >"$T/redis"
	server=$PID
	until_true 60 net_listens a $((PORT + 5)) || fail "redis-server does not start"
	policy "${RULES[0]}" # what no rule keeps on the kernel may go on the stack, by one who can take a queue
	until_true 60 eval '! "$ZTCP" rules -p "$PIN" | grep -q ":2:"' || fail "the policy is not reloaded"
	kernel_because LEASE_REFUSED $UID_A $((PORT + 5)) # no rule names it
	grep -q "no rule \"direct\" names this user" "$T/say" || fail "it is not said why: $(cat "$T/say")"
	kernel_because LEASE_REFUSED $UID_B $((PORT + 5)) # no rule gives it this port
	finish "$server"
	serve $UID_A $PORT --path stack # a server runs on the kernel, too
	grep -q LEASE_REFUSED "$T/say" || fail "it is not said why: $(cat "$T/say")"
	[ "$(named ports)" = 0 ] || fail "$(named ports) ports are named"
	finish "$SERVER"
	(as $UID_A python3 "$HERE/daemon_lease.py" refused vb 13) || fail "an ask of a user whom no rule names"
	policy "direct path=stack" kernel
	until_true 60 eval '! "$ZTCP" rules -p "$PIN" | grep -q user=' || fail "the policy is not reloaded"
	user python3 "$HERE/daemon_lease.py" refused vb 13 || fail "a rule that names nobody gives a queue"
	policy "${RULES[@]}"
}

# Asked of ztcpd directly; another user listens on $OTHERS of both ends.
try_forged() {
	local ns
	for ns in a b; do
		begin nsenter --net=/run/netns/$ns setpriv --reuid $UID_A --clear-groups --regid $UID_A \
			redis-server --bind 0.0.0.0 --port $OTHERS --protected-mode no --save '' --appendonly no --dir / >"$T/redis"
		until_true 60 net_listens $ns $OTHERS || fail "redis-server does not start"
	done
	user python3 "$HERE/daemon_lease.py" forged vb $PORT $OTHERS || fail "forged asks"
	user python3 "$HERE/daemon_lease.py" many vb 3 || fail "more than a user may have"
	until_true 60 empty || fail "left behind: $(named flows) flows, $(named ports) ports"
}

# Who has named a port and listens no more does not get what is the next one's.
try_kept() {
	begin as $UID_B python3 "$HERE/daemon_lease.py" kept vb $PORT "$T/kept/named"
	local holder=$PID
	until_true 60 [ -e "$T/kept/named" ] || fail "the port is not named"
	[ "$(named ports)" = 1 ] || fail "$(named ports) ports are named"
	begin nsenter --net=/run/netns/b setpriv --reuid $UID_A --clear-groups --regid $UID_A \
		redis-server --bind 0.0.0.0 --port $PORT --protected-mode no --save '' --appendonly no --dir / >"$T/redis"
	local next=$PID
	until_true 60 answers $PORT || fail "a port's next owner does not get its packets"
	in_a timeout 30 python3 -c 'import socket
c = socket.create_connection(("10.9.0.2", int(__import__("sys").argv[1])), 30, ("10.9.0.1", 20404))
c.sendall(b"PING\r\n")
assert c.recv(7) == b"+PONG\r\n"' $PORT || fail "a connection of a port's next owner, which was named before"
	rm "$T/kept/named"
	wait "$holder" || fail "daemon_lease.py kept"
	finish "$next"
}

# Before Linux 6.5 the kernel does not say which process a socket's number meant.
try_successor() {
	kernel_before 6 5 || in_b python3 "$HERE/daemon_lease.py" successor vb a $UID_B || fail "who has another's number"
}

try_reload() {
	serve $UID_B $PORT --path stack
	accelerated $PORT || fail "not on the stack"
	policy kernel
	until_true 60 eval '! "$ZTCP" rules -p "$PIN" | grep -q direct' || fail "the policy is not reloaded"
	user python3 "$HERE/daemon_lease.py" refused vb 13 || fail "a queue is given after the rule is gone"
	in_a timeout 60 redis-benchmark -h 10.9.0.2 -p $PORT -c 10 -n 5000 -t get -q >"$T/bench" || fail "the lease from before"
	accelerated $PORT || fail "the lease from before has ended"
	finish "$SERVER"
	until_true 60 empty || fail "left behind: $(named ports) ports"
	policy "${RULES[@]}"
}

PORT=7130 OTHERS=7131
RULES=("direct path=stack user=$UID_B port=$PORT,$OTHERS" kernel)
share
: >"$T/explain" && chmod 666 "$T/explain" && mkdir "$T/kept" && chmod 777 "$T/kept"
policy "${RULES[@]}"
daemon --limit user-queues=3
for try in ${TRY:-server rule client killed refused forged kept successor reload}; do
	case $try in
	server) try_server --path stack ;;
	rule) try_server ;;
	*) "try_$try" ;;
	esac
	[ $FAILED = 0 ] || { echo "in $try"; break; }
done
end
