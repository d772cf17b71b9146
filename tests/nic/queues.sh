#!/bin/bash
# queues.sh - programs with several threads, each with a queue of one interface: what arrives at the wrong one comes to the right one;
# who has nothing to do sleeps, and who has no connection opens nothing
#
# usage: queues.sh BUILD [CASE...]
# v0 (10.9.0.2) with two queues is shared with the kernel; its other end v1 (10.9.0.1), in the namespace "far", is the kernel's, and sends from
# each processor to a queue of its own (XPS), so that who moves between processors changes the queue. memif and vhost: two processes, no kernel.
# Exit: 0 all passed, 1 a case failed, 77 no namespace, one processor only, or no bpffs can be had here.
set -u

build=$(readlink -f "${1:?usage: queues.sh BUILD [CASE...]}")
here=$(dirname "$(readlink -f "$0")")
if [ "${QUEUES_INSIDE:-}" != 1 ]; then
	[ "$(nproc)" -ge 2 ] && unshare -nm true 2> /dev/null || exit 77
	QUEUES_INSIDE=1 exec unshare -n -m -p -f --mount-proc --kill-child "$0" "$@"
fi
shift
unset ZTCP_EXPLAIN ZTCP_LIFT ZTCP_CHAOS ZTCP_PATH ZTCP_SPIN ZTCP_POLICY ZTCP_ONLY
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pids=()

far() { nsenter --net=/run/netns/far "$@"; }
far_exec() { exec nsenter --net=/run/netns/far "$@"; } # in the background: $! is then the program itself

setup() {
	mount -t tmpfs tmpfs /dev/shm && mkdir -p /run/netns && mount -t tmpfs netns /run/netns && mount -t bpf bpf /sys/fs/bpf &&
		ip netns add far && ip link set lo up || return
	ip link add v0 numtxqueues 2 numrxqueues 2 type veth peer name v1 numtxqueues 2 numrxqueues 2 netns far &&
		ip addr add 10.9.0.2/24 dev v0 && ip link set v0 up && far ip addr add 10.9.0.1/24 dev v1 && far ip link set v1 up &&
		"$build/bin/ztcp" nic attach v0 && mkdir "$work/sys" || return
	far unshare -m sh -c "mount -t sysfs sysfs $work/sys && echo 1 > $work/sys/class/net/v1/queues/tx-0/xps_cpus &&
		echo 2 > $work/sys/class/net/v1/queues/tx-1/xps_cpus"
}
setup > "$work/setup" 2>&1 || { cat "$work/setup"; exit 77; }
echo "interface v0 device=xdp:v0" > "$work/if0"

fail() {
	echo "	$*"
	return 1
}

await() { # COMMAND...: until it succeeds
	for _ in $(seq 600); do
		"$@" > /dev/null 2>&1 && return 0
		sleep 0.05
	done
	fail "waited in vain for: $*"
}

# on INTERFACES COMMAND...: on the stack, with a line for each connection in $work/explain
on_exec() { exec env "ZTCP_INTERFACES=$1" "$build/bin/ztcp_run" --path stack "--explain=$work/explain" "${@:2}"; }
on() { (on_exec "$@"); }

counted() { # NAME: of all stacks in all processes
	"$build/bin/ztcp" stat -j tcp | /usr/bin/python3 -c 'import json, sys
print(sum(s["counters"][sys.argv[1]] for s in json.load(sys.stdin)))' "$1"
}

receiving() { # instances in all processes
	"$build/bin/ztcp" stat -j netdev | /usr/bin/python3 -c 'import json, sys
print(sum(s["received"] > 20 for s in json.load(sys.stdin)))'
}

nic_count() {
	"$build/bin/ztcp" nic -j | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)[0][sys.argv[1]])' "$1"
}

stacked() { # PEER
	grep -c "path=stack reason=DIRECT.*remote=$1" "$work/explain"
}

end_all() {
	for pid in "${pids[@]}"; do
		kill "$pid" && wait "$pid"
	done 2> /dev/null
	pids=()
}

# Connections that were accepted: their packets come to both queues.
case_accepted() {
	on_exec "$work/if0" /usr/bin/python3 "$here/queues_echo.py" serve 10.9.0.2 7200 "$work/ready" 0 &
	pids+=($!)
	await test -e "$work/ready" && await eval '[ "$(nic_count ports)" -eq 2 ]' || return
	far timeout 100 /usr/bin/python3 "$here/queues_echo.py" ask 10.9.0.2 7200 4 200 1 || fail "the client" || return
	[ "$(counted inst_passed)" -gt 0 ] || fail "nothing was passed on" || return
	[ "$(counted inst_no_connection)" -eq 0 ] || fail "$(counted inst_no_connection) segments were reset" || return
}

# Connections that were opened: the selector gives what comes to the process's other queue to that one, which passes it on. Handshakes may
# come to it before the process has it; of some thousand lines none does.
case_opened() {
	far_exec /usr/bin/python3 "$here/queues_echo.py" serve 10.9.0.1 7201 "$work/ready" 1 &
	pids+=($!)
	await test -e "$work/ready" || return
	local before
	before=$(nic_count wrong_queue)
	on "$work/if0" timeout 100 /usr/bin/python3 "$here/queues_echo.py" ask 10.9.0.1 7201 4 200 0 || fail "the client" || return
	[ "$(stacked 10.9.0.1:7201)" -eq 12 ] || fail "$(stacked 10.9.0.1:7201) of 12 connections on the stack" || return
	[ "$(nic_count wrong_queue)" -le $((before + 12)) ] || fail "$(nic_count wrong_queue) packets were dropped at the other queue"
}

# Threads that serve what they accept go into no other's instance, but once to tell of their own: of 180 connections and 900 requests none does.
case_apart() {
	on_exec "$work/if0" /usr/bin/python3 "$here/../direct/direct_threads.py" serve sets 10.9.0.2 7204 "$work/ready" &
	pids+=($!)
	await test -e "$work/ready" && await eval '[ "$(nic_count ports)" -eq 2 ]' || return
	far timeout 100 /usr/bin/python3 "$here/../direct/direct_threads.py" ask 10.9.0.2 7204 || fail "the client" || return
	end_all
	grep "^ztcp: [0-9]* instance=" "$work/explain"
	awk -F= '/instance=/ { n += $NF; k++ } END { exit k != 2 || n > 2 }' "$work/explain" || fail "one thread is in the other's instance"
}

case_memif() { dpdk_pair "net_memif0,role=server,id=0,mac=02:00:00:00:00:02,socket=$work/memif,socket-abstract=no" \
	"net_memif0,role=client,id=0,mac=02:00:00:00:00:01,socket=$work/memif,socket-abstract=no"; }
case_vhost() { dpdk_pair "net_vhost0,iface=$work/vhost,queues=2" "net_virtio_user0,path=$work/vhost,queues=2,mac=02:00:00:00:00:01"; }

# Both ends have two queues, and a thread with an instance for each.
dpdk_pair() { # SERVER'S CLIENT'S
	[ -n "$(find /usr/lib -name 'librte_net_memif.so*' -print -quit)" ] || return 77
	local n=2 port
	for port in "$1" "$2"; do
		echo "interface d device=\"dpdk:queues=2 --no-huge -m 192 --vdev $port\" address=10.7.0.$n/24" > "$work/ifd$n"
		n=$((n - 1))
	done
	on_exec "$work/ifd2" /usr/bin/python3 "$here/queues_echo.py" serve 10.7.0.2 7202 "$work/ready" 0 2> "$work/say" &
	pids+=($!)
	await test -e "$work/ready" || return
	await on "$work/ifd1" timeout 5 /usr/bin/python3 "$here/queues_echo.py" ask 10.7.0.2 7202 1 1 0 || return
	rm "$work/explain"
	on "$work/ifd1" timeout 100 /usr/bin/python3 "$here/queues_echo.py" ask 10.7.0.2 7202 4 200 0 2> "$work/client" ||
		fail "the client: $(tail -n 3 "$work/client")" || return
	[ "$(stacked 10.7.0.2:7202)" -eq 12 ] || fail "not all on the stack: $(tail -n 2 "$work/client" "$work/say")" || return
	[ "$(receiving)" -eq 2 ] || fail "$(receiving) of the server's instances have packets"
}

# Times that a process's threads have slept and woken.
wakeups() { awk '/^voluntary/ { n += $2 } END { print n }' /proc/"$1"/task/*/status; }

# An idle server, with a connection: what it is woken by is counted, for the time it may have: on a slow machine it is less.
idle() { # SERVER'S PID, CLIENT'S INTERFACES OR "far", ADDRESS, WAKE-UPS A SECOND
	local ask=(far) before woken
	[ "$2" = far ] || ask=(on "$2")
	await "${ask[@]}" timeout 10 /usr/bin/python3 "$here/queues_echo.py" ask "$3" 7203 1 20 0 || return
	sleep 1
	before=$(wakeups "$1")
	sleep 4
	woken=$(($(wakeups "$1") - before))
	echo "	$woken wake-ups in 4 s"
	[ "$woken" -le $((4 * $4)) ] || fail "more than $4 a second"
}

serve_idle() { # INTERFACES ADDRESS
	on_exec "$1" /usr/bin/python3 "$here/queues_echo.py" serve "$2" 7203 "$work/ready" 0 2> "$work/say" &
	pids+=($!)
	await test -e "$work/ready"
}

case_idle_xdp() { serve_idle "$work/if0" 10.9.0.2 && idle "${pids[0]}" far 10.9.0.2 10; }

case_idle_tap() {
	[ -r /dev/net/tun ] || return 77
	ip tuntap add zt0 mode tap && ip addr add 10.6.0.1/24 dev zt0 && ip link set zt0 up || return
	echo "interface zt0 device=tap:zt0 address=10.6.0.2/24" > "$work/ift"
	serve_idle "$work/ift" 10.6.0.2 && idle_here "${pids[0]}"
}
idle_here() {
	far() { "$@"; }
	idle "$1" far 10.6.0.2 10
	local rc=$?
	far() { nsenter --net=/run/netns/far "$@"; }
	return $rc
}

# Its driver has no interrupt: each of the two threads that wait looks at it once a millisecond.
case_idle_memif() {
	[ -n "$(find /usr/lib -name 'librte_net_memif.so*' -print -quit)" ] || return 77
	local memif="id=0,socket=$work/idle,socket-abstract=no"
	echo "interface d device=\"dpdk:--no-huge -m 64 --vdev net_memif0,role=server,$memif\" address=10.7.0.2/24" > "$work/ifd2"
	echo "interface d device=\"dpdk:--no-huge -m 64 --vdev net_memif0,role=client,$memif\" address=10.7.0.1/24" > "$work/ifd1"
	serve_idle "$work/ifd2" 10.7.0.2 && idle "${pids[0]}" "$work/ifd1" 10.7.0.2 2200 || return
	# EAL is in this process alone: a shell, and what it starts that has no connection, has neither it nor the stack.
	grep -q librte_eal "/proc/${pids[0]}/maps" || fail "the server has no EAL" || return
	# shellcheck disable=SC2016 # for that shell
	on "$work/ifd1" sh -c 'cat /proc/$$/maps; cat /proc/self/maps' > "$work/maps"
	grep -q libztcp_preload "$work/maps" || fail "the shell has nothing of ours" || return
	! grep -E "librte|libztcp_(stack|dpdk)" "$work/maps"
}

run_case() {
	local rc
	rm -f "$work/explain" "$work/ready"
	"case_$1"
	rc=$?
	end_all
	return $rc
}

. "$(dirname "$(readlink -f "$0")")/nic_cases.bash"
[ $# -gt 0 ] || set -- accepted opened apart memif vhost idle_xdp idle_tap idle_memif
run_cases "$@"
