#!/bin/bash
# direct.sh - programs whose connections the stack in their process makes, against the kernel's TCP and each other
#
# usage: direct.sh BUILD tap|xdp|memif [CASE...]
# In network namespaces of its own. 10.9.0.2 is the stack's address on interface 0, 10.9.0.1 that of the kernel at the far
# end. tap: zt0, and a second one (10.9.0.3) that a bridge joins to the first; the far end is the bridge. xdp: v0, a veth
# that stack and kernel share; its other end v1 is in the namespace "far" and shared, too. A second veth has two queues: w0
# (10.9.1.2) is shared, w1 (10.9.1.1) is the kernel's. memif: shared memory between two processes, by DPDK; no kernel is at
# either end, and no root is needed.
# Exit: 0 all passed, 1 a case failed, 77 no namespace, no TAP, no bpffs or no DPDK can be had here.
set -u

usage='usage: direct.sh BUILD tap|xdp|memif [CASE...]'
build=${1:?$usage} device=${2:?$usage}
here=$(dirname "$(readlink -f "$0")")
if [ "${DIRECT_INSIDE:-}" != 1 ]; then
	user=()
	[ "$device" != memif ] || [ "$(id -u)" = 0 ] || user=(-r)
	unshare "${user[@]}" -n true 2> /dev/null && { [ "$device" = memif ] || [ -r /dev/net/tun ]; } || exit 77
	DIRECT_INSIDE=1 exec unshare "${user[@]}" -n -m -p -f --mount-proc --kill-child "$0" "$@"
fi
shift 2
unset ZTCP_EXPLAIN ZTCP_LIFT ZTCP_CHAOS ZTCP_PATH ZTCP_SPIN ZTCP_POLICY ZTCP_ONLY

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=/usr/bin/python3
pids=()
ip link set lo up
mount -t tmpfs tmpfs /dev/shm

devices_tap() {
	far() { "$@"; }
	far_exec() { exec "$@"; } # in the background: $! is then the program itself
	ip link add br0 type bridge && ip addr add 10.9.0.1/24 dev br0 && ip link set br0 up || return
	for tap in zt0 zt1; do
		ip tuntap add "$tap" mode tap && ip link set "$tap" master br0 up || return
	done
	echo "interface zt0 device=tap:zt0 address=10.9.0.2/24" > "$work/if0"
	echo "interface zt1 device=tap:zt1 address=10.9.0.3/24" > "$work/if1"
	far_address=10.9.0.3
}

devices_xdp() {
	far() { nsenter --net=/run/netns/far "$@"; }
	far_exec() { exec nsenter --net=/run/netns/far "$@"; }
	mkdir -p /run/netns && mount -t tmpfs netns /run/netns && mount -t bpf bpf /sys/fs/bpf && ip netns add far &&
		far ip link set lo up || return
	ip link add v0 numtxqueues 1 numrxqueues 1 type veth peer name v1 numtxqueues 1 numrxqueues 1 netns far &&
		ip addr add 10.9.0.2/24 dev v0 && ip link set v0 up && far ip addr add 10.9.0.1/24 dev v1 &&
		far ip link set v1 up && "$build/bin/ztcp" nic attach v0 && far "$build/bin/ztcp" nic attach v1 || return
	ip link add w0 numtxqueues 2 numrxqueues 2 type veth peer name w1 numtxqueues 2 numrxqueues 2 netns far &&
		ip addr add 10.9.1.2/24 dev w0 && ip link set w0 up && far ip addr add 10.9.1.1/24 dev w1 &&
		far ip link set w1 up && "$build/bin/ztcp" nic attach w0 || return
	echo "interface w0 device=xdp:w0" > "$work/if2"
	echo "interface v0 device=xdp:v0" > "$work/if0"
	echo "interface v1 device=xdp:v1" > "$work/if1"
	far_address=10.9.0.1
}

devices_memif() {
	far() { "$@"; }
	far_exec() { exec "$@"; }
	[ -n "$(find /usr/lib -name 'librte_net_memif.so*' -print -quit)" ] || { echo "no librte_net_memif.so"; return 1; }
	memif_line 0 server 10.9.0.2
	memif_line 1 client 10.9.0.1
	far_address=10.9.0.1
}

memif_line() { # INTERFACE ROLE ADDRESS
	echo "interface m$1 device=\"dpdk:-m 64 --vdev" \
		"net_memif0,role=$2,id=0,mac=02:00:00:00:00:0$1,socket=$work/memif,socket-abstract=no\" address=$3/24" > "$work/if$1"
}
. "$here/direct_fallback.bash"
"devices_$device" > "$work/devices" 2>&1 || { cat "$work/devices"; exit 77; }

# "${on0[@]}" PROGRAM...: on interface 0, with a line for each connection in $work/explain; on1: at the far end
# ThreadSanitizer sees nothing of a program that has its run-time behind libc.
tsan=()
[ "${ZTCP_SANITIZE:-}" != thread ] || tsan=(LD_PRELOAD="$(gcc -print-file-name=libtsan.so)")
on0=(env "${tsan[@]}" "ZTCP_INTERFACES=$work/if0" "$build/bin/ztcp_run" --path stack "--explain=$work/explain")
on1=("${on0[@]/#ZTCP_INTERFACES=*/ZTCP_INTERFACES=$work/if1}")
on2=("${on0[@]/#ZTCP_INTERFACES=*/ZTCP_INTERFACES=$work/if2}")

# A program at the far end, where no kernel is behind the device.
peer() {
	if [ "$device" = memif ]; then
		"${on1[@]}" "$@"
	else
		far "$@"
	fi
}

fail() {
	echo "	$*"
	return 1
}

await() { # SECONDS COMMAND...: until it succeeds
	local n=$(($1 * 20))
	shift
	while [ $((n--)) -gt 0 ]; do
		"$@" > /dev/null 2>&1 && return 0
		sleep 0.05
	done
	fail "waited in vain for: $*"
}

end_all() {
	for pid in "${pids[@]}"; do
		kill "$pid" && wait "$pid"
	done 2> /dev/null
	pids=()
}

# path PATH REASON: some connection was there, as the last case's programs tell
path() {
	grep -q "path=$1 reason=$2(" "$work/explain" ||
		fail "no connection with $1 $2: $(tail -n 3 "$work/explain" | cut -c1-120)"
}

case_server() {
	rm -f "$work/ready"
	"${on0[@]}" "$python" "$here/direct_serve.py" 0.0.0.0 7100 "$work/ready" > "$work/served" &
	pids+=($!)
	local server=$!
	await 60 test -e "$work/ready" || return
	far timeout 100 "$python" "$here/direct_ask.py" 10.9.0.2 7100 || return
	wait "$server" || fail "the server failed" || return
	path stack DIRECT
}

case_client() {
	rm -f "$work/ready"
	far_exec "$python" "$here/direct_serve.py" 10.9.0.1 7101 "$work/ready" > "$work/served" &
	pids+=($!)
	local server=$!
	await 60 test -e "$work/ready" || return
	"${on0[@]}" timeout 100 "$python" "$here/direct_ask.py" 10.9.0.1 7101 || return
	wait "$server" || fail "the server failed" || return
	path stack DIRECT
}

case_both() {
	rm -f "$work/ready"
	"${on0[@]}" "$python" "$here/direct_serve.py" 10.9.0.2 7102 "$work/ready" > "$work/served" &
	pids+=($!)
	local server=$!
	await 60 test -e "$work/ready" || return
	far "${on1[@]}" timeout 100 "$python" "$here/direct_ask.py" 10.9.0.2 7102 || return
	wait "$server" || fail "the server failed" || return
	[ "$(grep -c "path=stack reason=DIRECT" "$work/explain")" -gt 400 ] || fail "not both ends on the stack"
}

case_spare() {
	rm -f "$work/ready"
	"${on0[@]}" timeout 200 "$python" "$here/direct_spare.py" serve 10.9.0.2 7122 "$work/ready" > "$work/served" &
	pids+=($!)
	local server=$!
	await 60 test -e "$work/ready" || return
	far "${on1[@]}" timeout 200 "$python" "$here/direct_spare.py" ask 10.9.0.2 7122 "$work/ready" || return
	wait "$server" || fail "the server failed" || return
	[ "$(grep -c "path=stack reason=DIRECT" "$work/explain")" -ge 300 ] || fail "not both ends on the stack: $(grep -c "path=stack" "$work/explain")"
}

redis_up() { # PORT [PREFIX...]
	local port=$1
	shift
	"$@" redis-server --bind 0.0.0.0 --protected-mode no --save "" --port "$port" --dir "$work" > "$work/redis" &
	pids+=($!)
}

case_redis() {
	redis_up 7103 "${on0[@]}"
	local server=${pids[-1]}
	await 60 far redis-cli -h 10.9.0.2 -p 7103 ping || return
	[ "$(redis-cli -h 127.0.0.1 -p 7103 ping)" = PONG ] || fail "nothing by the kernel's queue" || return
	far ping -c 3 -i 0.2 -W 5 10.9.0.2 > /dev/null || fail "no echo" || return
	far timeout 100 redis-benchmark -h 10.9.0.2 -p 7103 -c 50 -n 5000 -t set,get -q > "$work/bench" ||
		fail "redis-benchmark" || return
	far timeout 100 redis-benchmark -h 10.9.0.2 -p 7103 -c 10 -n 1000 -k 0 -t get -q > "$work/bench" 2> /dev/null ||
		fail "redis-benchmark, short connections" || return
	far redis-cli -h 10.9.0.2 -p 7103 bgsave > /dev/null # a child that inherits all of it
	await 60 grep -q "terminated with success" "$work/redis" || return
	far_exec redis-cli -h 10.9.0.2 -p 7103 subscribe news > "$work/news" &
	pids+=($!)
	await 60 grep -q news "$work/news" || return
	"$build/bin/ztcp" ss > "$work/ss"
	grep -q "ESTAB.*10.9.0.2:7103 .*10.9.0.1:.* stack .*DIRECT" "$work/ss" || fail "ztcp ss: $(cat "$work/ss")" || return
	far redis-cli -h 10.9.0.2 -p 7103 shutdown nosave 2> /dev/null
	wait "$server" || fail "redis-server ended with $?" || return
	path stack DIRECT
}

case_redis_both() {
	redis_up 7108 "${on0[@]}"
	await 60 peer redis-cli -h 10.9.0.2 -p 7108 ping || return
	[ "$device" != memif ] || pages_told || return
	far "${on1[@]}" timeout 100 redis-benchmark -h 10.9.0.2 -p 7108 -c 50 -n 20000 -t set,get,lrange -q > "$work/bench" ||
		fail "redis-benchmark" || return
	[ "$(grep -c "path=stack reason=DIRECT.*remote=10.9.0.2:7108" "$work/explain")" -ge 50 ] || fail "not on the stack"
}

# Without hugepages DPDK has ordinary memory, and that is shown.
pages_told() {
	local huge=0
	[ "$(awk '/^HugePages_Free/ { free = $2 } /^Hugepagesize/ { print int(free * $2 / 1024) }' /proc/meminfo)" -lt 64 ] || huge=1
	"$build/bin/ztcp" stat -j mem | "$python" -c "import json, sys
s = next(s for s in json.load(sys.stdin) if s['program'] == 'redis-server')
most = s['bytes_huge'] if $huge else s['bytes_ordinary']
assert most > 16 << 20 and ($huge or not s['bytes_huge']), s" || fail "ztcp stat mem: $("$build/bin/ztcp" stat mem)"
}

# The program is elsewhere for a while, or stopped.
case_absent() {
	rm -f "$work/fifo" && mkfifo "$work/fifo" || return
	"${on0[@]}" timeout 100 "$python" "$here/direct_absent.py" serve 10.9.0.2 7114 "$work/fifo" &
	pids+=($!)
	local server=$!
	await 60 listens_here 7114 || return
	far timeout 100 "$python" "$here/direct_absent.py" ask 10.9.0.2 7114 "$work/fifo" || return
	wait "$server" || fail "the server failed" || return
	path stack DIRECT
}

listens_here() { [ -n "$(ss -Hltn "sport = :$1")" ]; }

ticks() { # PID: of processor time
	awk '{ print $14 + $15 }' "/proc/$1/stat"
}

case_stopped() {
	redis_up 7115 "${on0[@]}"
	local server=${pids[-1]}
	await 60 far redis-cli -h 10.9.0.2 -p 7115 ping || return
	far_exec redis-benchmark -h 10.9.0.2 -p 7115 -c 20 -I > /dev/null 2>&1 &
	pids+=($!)
	await 60 busy_with 7115 || return
	local before
	before=$(ticks "$server")
	sleep 2
	[ $(($(ticks "$server") - before)) -lt "$(getconf CLK_TCK)" ] || fail "an idle server takes half a processor" || return
	kill -STOP "$server"
	far_exec timeout 100 redis-cli -h 10.9.0.2 -p 7115 ping > "$work/pong" &
	local asks=$!
	sleep 2
	kill -CONT "$server"
	wait "$asks"
	[ "$(cat "$work/pong")" = PONG ] || fail "it was stopped, and has lost its listener" || return
	busy_with 7115 || fail "it was stopped, and has lost its connections" || return
	path stack DIRECT
}

nginx_conf() { # PORT FOLDER
	cat << E
user root; worker_processes 2; pid $work/nginx.pid; error_log $work/nginx.err; daemon off;
events { worker_connections 256; }
http { access_log off; sendfile on; client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f;
uwsgi_temp_path $work/u; scgi_temp_path $work/s; server { listen $1; root $2; } }
E
}

case_nginx() {
	mkdir -p "$work/html"
	head -c 3000000 /dev/urandom > "$work/html/big"
	nginx_conf 7104 "$work/html" > "$work/nginx.conf"
	"${on0[@]}" nginx -p "$work" -c "$work/nginx.conf" 2> "$work/nginx.say" &
	pids+=($!)
	await 60 far curl -sf -o "$work/got" http://10.9.0.2:7104/big || return
	cmp -s "$work/got" "$work/html/big" || fail "what came is not what was sent" || return
	curl -sf -o "$work/got" http://127.0.0.1:7104/big || fail "nothing by the kernel's queue" || return
	far curl -sf -o "$work/got" -o "$work/again" http://10.9.0.2:7104/big http://10.9.0.2:7104/big ||
		fail "keep-alive" || return
	far "${on1[@]}" curl -sf -o "$work/got" http://10.9.0.2:7104/big || fail "curl on a stack, too" || return
	cmp -s "$work/got" "$work/html/big" || fail "what came is not what was sent" || return
	local old
	old=$(pgrep -P "$(cat "$work/nginx.pid")")
	kill -HUP "$(cat "$work/nginx.pid")" # the new workers have the device when the old ones have gone
	for worker in $old; do
		await 60 test ! -e "/proc/$worker" || return
	done
	await 60 far curl -sf -m 5 -o "$work/got" http://10.9.0.2:7104/big || return
	path stack DIRECT
}

# Each worker has a queue of its own, and serves what arrives there. Its successors lose nothing of it.
case_workers() {
	mkdir -p "$work/html" && echo hello > "$work/html/hello"
	nginx_conf 7116 "$work/html" > "$work/nginx.conf"
	"${on2[@]}" nginx -p "$work" -c "$work/nginx.conf" 2> "$work/nginx.say" &
	pids+=($!)
	await 60 far curl -sf -o "$work/got" http://10.9.1.2:7116/hello && await 60 ports_served 2 || return
	far_exec timeout 200 "$python" "$here/direct_reload.py" 10.9.1.2 7116 "$work/stop" > "$work/asked" 2>&1 &
	local load=$!
	reload_often 12 || return
	touch "$work/stop"
	wait "$load" || fail "reload: $(tail -n 5 "$work/asked")" || return
	[ "$(on_stack | grep -c .)" -ge 4 ] || fail "too few workers on the stack: $(on_stack)" || return
	[ "$(nic_count flows w0)" -le 100 ] || fail "left behind: $(nic_count flows w0) flows"
}

greets() { # PORT: a server by itself on the second veth
	"${on2[@]}" "$python" -c 'import socket, sys
l = socket.create_server(("0.0.0.0", int(sys.argv[1])))
while True:
    c, _ = l.accept()
    c.sendall(b"hello\n")
    c.close()' "$1" &
	pids+=($!)
	await 60 listens_here "$1" && await 60 greeted "$1"
}

greeted() { # PORT
	far timeout 30 "$python" -c 'import socket, sys
s = socket.create_connection(("10.9.1.2", int(sys.argv[1])), timeout=30)
sys.exit(s.makefile().readline() != "hello\n")' "$1"
}

explained() { # PATH REASON PORT: connections that were accepted there
	grep -c "path=$1 reason=$2(.*local=[0-9.]*:$3 " "$work/explain"
}

greeted_on_stack() { greeted "$1" && [ "$(explained stack DIRECT "$1")" -gt 0 ]; }

workers_on_stack() { [ "$(on_stack | grep -c .)" -ge "$1" ]; }

# More processes than queues: who has none serves by the kernel, and says why, until one that has a queue is gone.
case_scarce() {
	local server=() n
	for n in 0 1 2; do
		greets $((7140 + n)) || return
		server+=("${pids[-1]}")
	done
	ports_served 2 || fail "$(nic_count ports w0) of three have a queue" || return
	: > "$work/explain"
	for n in 1 2 3 4 5 6 7 8 9 10; do
		greeted 7142 && greeted 7141 && greeted 7140 || fail "nobody answers" || return
	done
	await 60 eval '[ "$(explained kernel DEVICE_BUSY 7142)" -eq 10 ]' || return
	[ "$(explained stack DIRECT 7142)" -eq 0 ] || fail "three have two queues" || return
	kill -9 "$(program_of "${server[0]}")"
	wait "${server[0]}" 2> /dev/null
	await 60 greeted_on_stack 7142
}

# The same of one server's workers: none of the requests is lost, and the successor of a worker that is killed is accelerated.
case_scarce_workers() {
	mkdir -p "$work/html" && echo hello > "$work/html/hello"
	nginx_conf 7143 "$work/html" | sed 's/worker_processes 2/worker_processes 4/' > "$work/nginx.conf"
	"${on2[@]}" nginx -p "$work" -c "$work/nginx.conf" 2> "$work/nginx.say" &
	pids+=($!)
	await 60 far curl -sf -o "$work/got" http://10.9.1.2:7143/hello && await 60 ports_served 2 || return
	rm -f "$work/stop"
	far_exec timeout 200 "$python" "$here/direct_reload.py" 10.9.1.2 7143 "$work/stop" > "$work/asked" 2>&1 &
	local load=$!
	await 60 workers_on_stack 2 && await 60 kernel_worker || return
	touch "$work/stop"
	wait "$load" || fail "lost: $(tail -n 5 "$work/asked")" || return
	[ "$(on_stack | grep -c .)" -eq 2 ] || fail "two queues, and on the stack: $(on_stack)" || return
	kill -9 "$(on_stack | sed -n '1s/.*ztcp: //p')"
	await 60 far_curl_until 3
}

# Who connects over the loopback comes to any of them: also to one without a queue.
kernel_worker() { ab -q -n 200 -c 16 http://127.0.0.1:7143/hello && [ "$(explained kernel DEVICE_BUSY 7143)" -gt 0 ]; }

far_curl_until() { # WORKERS
	far curl -sf -m 5 -o "$work/got" http://10.9.1.2:7143/hello && workers_on_stack "$1"
}
# A new program takes the listener over while requests come, the old one's workers end, then its master: nothing is lost. nginx leaves
# its successor the environment that it is told to; the last one has none, and serves by the kernel.
case_upgrade() {
	mkdir -p "$work/html" && echo hello > "$work/html/hello"
	upgrade_conf LD_PRELOAD ZTCP_PATH ZTCP_INTERFACES ZTCP_EXPLAIN
	"${on2[@]}" "$(command -v nginx)" -p "$work" -c "$work/nginx.conf" 2> "$work/nginx.say" || fail "nginx: $(cat "$work/nginx.say")" || return
	await 60 test -s "$work/nginx.pid" || return
	pids+=("$(cat "$work/nginx.pid")")
	await 60 far curl -sf -o "$work/got" http://10.9.1.2:7124/hello && await 60 ports_served 2 || return
	rm -f "$work/stop"
	far_exec timeout 200 "$python" "$here/direct_reload.py" 10.9.1.2 7124 "$work/stop" > "$work/asked" 2>&1 &
	local load=$! old
	upgrade_once 2 && upgrade_once 2 || return
	upgrade_conf PATH
	old=$(pgrep -P "$(cat "$work/nginx.pid")")
	kill -HUP "$(cat "$work/nginx.pid")"
	for worker in $old; do
		await 60 test ! -e "/proc/$worker" || return
	done
	await 60 ports_served 2 && upgrade_once 0 || return
	touch "$work/stop"
	wait "$load" || fail "upgrade: $(tail -n 5 "$work/asked")" || return
	[ "$(nic_count flows w0)" -le 100 ] || fail "left behind: $(nic_count flows w0) flows" || return
	far curl -sf -o "$work/got" http://10.9.1.2:7124/hello || fail "the last one does not answer" || return
	old=$(cat "$work/nginx.pid")
	kill -QUIT "$old"
	await 60 gone "$old" || return
	[ "$(on_stack | grep -c .)" -ge 6 ] || fail "too few workers on the stack: $(on_stack)"
}

# By its whole path, by which nginx starts its successor; as a daemon, as WINCH is nothing to one in the foreground.
upgrade_conf() { # VARIABLE...
	{
		printf 'env %s;\n' "$@"
		nginx_conf 7124 "$work/html" | sed 's/daemon off/daemon on/'
	} > "$work/nginx.conf"
}

upgrade_once() { # QUEUES that the next one's workers have
	local old workers
	old=$(cat "$work/nginx.pid")
	workers=$(pgrep -P "$old")
	kill -USR2 "$old"
	await 60 upgraded_from "$old" || return
	pids+=("$(cat "$work/nginx.pid")")
	kill -WINCH "$old"
	for worker in $workers; do
		await 60 test ! -e "/proc/$worker" || return
	done
	await 60 ports_served "$1" || return
	kill -QUIT "$old"
	await 60 gone "$old" || return
	sleep 0.3
}

upgraded_from() { [ -s "$work/nginx.pid" ] && [ "$(cat "$work/nginx.pid")" != "$1" ] && [ -n "$(pgrep -P "$(cat "$work/nginx.pid")")" ]; }

gone() { [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; }

reload_often() { # TIMES: each when the workers have their queues
	local old
	for ((i = 0; i < $1; i++)); do
		old=$(pgrep -P "$(cat "$work/nginx.pid")")
		kill -HUP "$(cat "$work/nginx.pid")"
		for worker in $old; do
			await 60 test ! -e "/proc/$worker" || return
		done
		await 60 ports_served 2 || return
		sleep 0.3
	done
}

# One thread accepts and gives the connections to four others.
case_memcached() {
	"${on2[@]}" memcached -u root -t 4 -l 0.0.0.0 -p 7119 &
	pids+=($!)
	await 60 memcached_answers || return
	far timeout 100 "$python" -c 'import socket
held = [socket.create_connection(("10.9.1.2", 7119), timeout=30) for _ in range(32)]
for turn in range(50):
    for n, c in enumerate(held):
        c.sendall(b"set k%d 0 0 4\r\n%04d\r\nget k%d\r\n" % (n, turn, n))
    for n, c in enumerate(held):
        want = b"STORED\r\nVALUE k%d 0 4\r\n%04d\r\nEND\r\n" % (n, turn)
        got = c.recv(len(want), socket.MSG_WAITALL)
        assert got == want, (got, want)' || fail "memcached" || return
	kill "${pids[-1]}" && wait "${pids[-1]}"
	path stack DIRECT
}

memcached_answers() { far "$python" -c 'import socket
c = socket.create_connection(("10.9.1.2", 7119), timeout=5)
c.sendall(b"version\r\n")
assert c.recv(7) == b"VERSION"'; }

# Threads of one process, each with a queue of its own as far as there are some.
case_threads() {
	local n=0 mode server
	for mode in sets accept polls given; do
		rm -f "$work/ready" "$work/explain"
		"${on2[@]}" "$python" "$here/direct_threads.py" serve "$mode" 0.0.0.0 $((7120 + n)) "$work/ready" &
		pids+=($!)
		server=$!
		await 60 test -e "$work/ready" || return
		far timeout 100 "$python" "$here/direct_threads.py" ask 10.9.1.2 $((7120 + n++)) || fail "$mode" || return
		[ $mode = given ] || ports_served 2 || fail "$mode: $(nic_count ports w0) queues served" || return
		kill "$server" && wait "$server" || fail "the server failed" || return
		path stack DIRECT || fail "$mode" || return
	done
}

# What is written to one connection while others wait to be answered travels together.
case_answers() {
	rm -f "$work/ready"
	"${on0[@]}" "$python" "$here/direct_answers.py" serve 0.0.0.0 7119 "$work/ready" &
	pids+=($!)
	await 60 test -e "$work/ready" || return
	far timeout 100 "$python" "$here/direct_answers.py" ask 10.9.0.2 7119 || fail "in segments of their own"
}

# A connection that another process is to serve goes on in the kernel, with all that was under way.
case_passed() {
	local n=0 mode server
	local modes=(fork orphan rights inetd used large both reset) lowered='path kernel PASSED' asks with

	if [ "$device" = xdp ]; then
		modes+=(exec alone wait next again)
	else
		lowered='path stack RELAYED' # the parent carries the bytes
	fi
	for mode in "${modes[@]}"; do
		asks=ask
		[ "$mode" != reset ] || asks=hear
		rm -f "$work/ready" "$work/explain"
		with=()
		[ "$mode" != large ] || with=(env "LD_PRELOAD=$build/tests/bin/tls_large.so") # then the same as "used"
		"${with[@]}" "${on0[@]}" "$python" "$here/direct_pass.py" serve "${mode/large/used}" 0.0.0.0 $((7130 + n)) "$work/ready" 2> "$work/say" &
		pids+=($!)
		server=$!
		await 60 test -e "$work/ready" || return
		far timeout 100 "$python" "$here/direct_pass.py" $asks 10.9.0.2 $((7130 + n++)) || fail "$mode: $(tail -n 3 "$work/say")" || return
		# shellcheck disable=SC2046 # one that waits for its turn has the queue
		kill "$server" $(pgrep -P "$server")
		wait "$server" 2> /dev/null
		[ "$mode" = exec ] || $lowered || fail "$mode" || return # what ends by exec() is not explained
	done
}

# A socket that listens already when the program is started, as systemd opens it.
case_activated() {
	"$python" -c 'import os, socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=64)
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[3], sys.argv[3:])' 0.0.0.0 7144 "${on0[@]}" "$python" "$here/direct_pass.py" next 3 2> "$work/say" &
	pids+=($!)
	await 60 listens_here 7144 || return
	far timeout 100 "$python" "$here/direct_pass.py" ask 10.9.0.2 7144 || fail "$(tail -n 3 "$work/say")" || return
	path stack DIRECT
}

on_stack() { # COUNT PID: of those with connections on the stack
	grep "path=stack" "$work/explain" | grep -o "^ztcp: [0-9]*" | sort | uniq -c
}

case_fallback() { "fallback_$device"; }

# A real login server on the address, with keys and a configuration of the test's own.
ssh_up() { # PORT
	mkdir -p /run/sshd "$work/ssh" && chmod 700 "$work/ssh" && rm -f "$work"/ssh/* || return
	ssh-keygen -q -t ed25519 -N '' -f "$work/ssh/host" && ssh-keygen -q -t ed25519 -N '' -f "$work/ssh/user" &&
		cp "$work/ssh/user.pub" "$work/ssh/allowed" || return
	printf '%s\n' "Port $1" "ListenAddress 10.9.0.2" "HostKey $work/ssh/host" "AuthorizedKeysFile $work/ssh/allowed" "StrictModes no" \
		"UsePAM no" "PermitRootLogin prohibit-password" "PidFile none" > "$work/ssh/config"
	/usr/sbin/sshd -D -e -f "$work/ssh/config" 2> "$work/ssh/log" &
	pids+=($!)
	await 60 listens_here "$1"
}

ssh_in() { # PORT COMMAND: from the far end
	far timeout 60 ssh -F none -q -p "$1" -i "$work/ssh/user" -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
		root@10.9.0.2 "$2"
}

# The kernel's programs on the same address, while redis-server there is under load.
case_shared() {
	local count=0
	ssh_up 7130 || return
	redis_up 7109 "${on0[@]}"
	mkdir -p "$work/www" && echo kernel > "$work/www/kernel" && nginx_conf 7110 "$work/www" > "$work/nginx.conf" || return
	nginx -p "$work" -c "$work/nginx.conf" 2> "$work/nginx.say" &
	pids+=($!)
	await 60 far redis-cli -h 10.9.0.2 -p 7109 ping && await 60 far curl -sf http://10.9.0.2:7110/kernel || return
	far_exec timeout 100 redis-benchmark -h 10.9.0.2 -p 7109 -c 20 -n 200000 -t get -q > "$work/bench" &
	local load=$!
	while kill -0 "$load" 2> /dev/null && [ $((count++)) -lt 20 ]; do
		[ "$(far curl -sf -m 30 http://10.9.0.2:7110/kernel)" = kernel ] || fail "nginx on the kernel" || return
		far ping -q -c 1 -W 10 10.9.0.2 > /dev/null || fail "no echo" || return
		[ "$(curl -sf -m 30 http://10.9.0.2:7110/kernel)" = kernel ] || fail "nginx from this host" || return
		[ "$(redis-cli -h 10.9.0.2 -p 7109 ping)" = PONG ] || fail "redis from this host" || return
		[ "$(ssh_in 7130 'echo $((6 * 7))')" = 42 ] || fail "ssh: $(tail -n 3 "$work/ssh/log")" || return
		[ $count -ne 5 ] || far ip neigh flush dev v1
	done
	wait "$load" || fail "redis-benchmark" || return
	grep -q "remote=.*:7109" "$work/explain" && fail "only the server was to be on the stack" && return 1
	redis-cli -h 127.0.0.1 -p 7109 shutdown nosave
	path stack DIRECT
}

# Peers on this host are served by shared memory, at the host's own address, too, while the far end is served by the stack.
case_neighbours() {
	local near one loads=()
	redis_up 7145 "${on0[@]}"
	await 60 far redis-cli -h 10.9.0.2 -p 7145 ping || return
	far_exec timeout 100 redis-benchmark -h 10.9.0.2 -p 7145 -c 5 -n 20000 -t set,get -q > "$work/bench" &
	loads+=($!)
	for near in 127.0.0.1 10.9.0.2; do
		"${on0[@]}" timeout 100 redis-benchmark -h $near -p 7145 -c 5 -n 20000 -t set,get -q > "$work/bench.$near" &
		loads+=($!)
	done
	for one in "${loads[@]}"; do
		wait "$one" || fail "redis-benchmark: $(tail -n 3 "$work"/bench*)" || return
	done
	redis-cli -p 7145 shutdown nosave
	wait "${pids[-1]}" || fail "redis-server ended with $?" || return
	path stack DIRECT || return
	for near in 127.0.0.1 10.9.0.2; do
		[ "$(grep -c "lifts=[1-9].*remote=$near:7145" "$work/explain")" -ge 10 ] || fail "$near: not by shared memory: $(grep "remote=$near:7145" "$work/explain" | head -n 3)" || return
		[ "$(grep -c "lifts=[1-9].*local=$near:7145" "$work/explain")" -ge 10 ] || fail "$near: the server's ends: $(grep "local=$near:7145" "$work/explain" | head -n 3)" || return
	done
	[ "$(grep -c "path=stack.*local=10.9.0.2:7145 remote=10.9.0.1" "$work/explain")" -ge 10 ] || fail "the far end is not served by the stack"
}

nic_count() { # NAME [INTERFACE]: as `ztcp nic` has it
	"$build/bin/ztcp" nic -j | "$python" -c 'import json, sys
print(next(i[sys.argv[1]] for i in json.load(sys.stdin) if i["interface"] == sys.argv[2]))' "$1" "${2:-v0}"
}

ports_served() { [ "$(nic_count ports w0)" -eq "$1" ]; }

# Connections that come and go, from both sides; what was named is given back.
case_churn() {
	redis_up 7111 "${on0[@]}"
	await 60 far redis-cli -h 10.9.0.2 -p 7111 ping || return
	far timeout 200 redis-benchmark -h 10.9.0.2 -p 7111 -c 20 -n 10000 -k 0 -t get -q > "$work/bench" 2> /dev/null ||
		fail "to the stack" || return
	redis-cli -p 7111 shutdown nosave
	wait "${pids[-1]}" || fail "redis-server ended with $?" || return
	far_exec redis-server --bind 0.0.0.0 --protected-mode no --save "" --port 7112 --dir "$work" > "$work/redis" &
	pids+=($!)
	await 60 redis-cli -h 10.9.0.1 -p 7112 ping || return
	rm -f "$work/explain"
	"${on0[@]}" timeout 200 redis-benchmark -h 10.9.0.1 -p 7112 -c 20 -n 10000 -k 0 -t get -q > "$work/bench" 2> /dev/null ||
		fail "from the stack" || return
	[ "$(grep -c "path=stack reason=DIRECT" "$work/explain")" -gt 9000 ] || fail "not on the stack" || return
	[ "$(nic_count flows) $(nic_count ports)" = "0 0" ] || fail "left behind: $(nic_count flows) flows, $(nic_count ports) ports"
}

busy_with() { [ "$(far ss -Htn state established "dport = :$1" | wc -l)" -ge 20 ]; }

# The process is killed under load: its peers hear of it, and the next one has the queue.
case_killed() {
	for _ in 1 2 3 4 5; do
		redis_up 7113 "${on0[@]}"
		local server=${pids[-1]}
		await 60 far redis-cli -h 10.9.0.2 -p 7113 ping || return
		far_exec timeout 60 redis-benchmark -h 10.9.0.2 -p 7113 -c 20 -n 10000000 -t get -q > "$work/bench" 2> "$work/say" &
		local load=$!
		await 60 busy_with 7113 || return
		kill -9 "$(pgrep -P "$server" redis-server || echo "$server")"
		wait "$server" 2> /dev/null
		wait "$load" && fail "nobody has told the client" && return 1
		grep -qi "reset\|closed" "$work/bench" "$work/say" || fail "$(tail -n 3 "$work/bench" "$work/say")" || return
	done
	redis_up 7113 "${on0[@]}"
	await 60 far redis-cli -h 10.9.0.2 -p 7113 ping || return
	redis-cli -p 7113 shutdown nosave
	wait "${pids[-1]}"
	path stack DIRECT
}

memif_up() { # PORT: a server that the far end reaches
	redis_up "$1" "${on0[@]}"
	await 60 peer redis-cli -h 10.9.0.2 -p "$1" ping
}

program_of() { # PID: of ztcp_run, or what it has become
	pgrep -P "$1" || echo "$1"
}

case_nginx_both() {
	mkdir -p "$work/html"
	head -c 3000000 /dev/urandom > "$work/html/big"
	nginx_conf 7116 "$work/html" > "$work/nginx.conf"
	"${on0[@]}" nginx -p "$work" -c "$work/nginx.conf" 2> "$work/nginx.say" &
	pids+=($!)
	await 60 peer curl -sf -m 5 -o "$work/got" http://10.9.0.2:7116/big || return
	cmp -s "$work/got" "$work/html/big" || fail "what came is not what was sent" || return
	peer timeout 60 ab -q -n 3000 -c 10 http://10.9.0.2:7116/nginx.none > "$work/ab" || fail "ab" || return
	grep -q "^Complete requests: *3000" "$work/ab" || fail "short connections: $(tail -n 3 "$work/ab")" || return
	path stack DIRECT
}

# Whoever waits sleeps, between looks at a device without interrupts: well below half a processor.
case_idle() {
	memif_up 7117 || return
	local server before
	server=$(program_of "${pids[-1]}")
	peer timeout 100 "$python" "$here/direct_idle.py" 10.9.0.2 7117 20 3 || fail "the client" || return
	before=$(ticks "$server")
	sleep 3
	[ $(($(ticks "$server") - before)) -lt "$(getconf CLK_TCK)" ] || fail "an idle server takes a third of a processor" || return
	path stack DIRECT
}

# The client's process is killed under load: the server goes on, and the next client is served as fast as ever.
case_client_killed() {
	memif_up 7118 || return
	local load
	for _ in 1 2 3 4 5; do
		rm -f "$work/bench"
		peer timeout 60 redis-benchmark -h 10.9.0.2 -p 7118 -c 20 -n 10000000 -t get -q > "$work/bench" 2>&1 &
		load=$!
		await 60 grep -q "rps=[1-9]" "$work/bench" || return
		kill -9 "$(pgrep -x redis-benchmark)"
		wait "$load" 2> /dev/null
		await 60 peer redis-cli -h 10.9.0.2 -p 7118 ping || return
	done
	kill -0 "${pids[-1]}" || fail "the server has ended" || return
	path stack DIRECT
}

# The server's process is killed: its clients hear of it when there is a new one, and are accelerated again.
case_server_killed() {
	memif_up 7119 || return
	local server=${pids[-1]}
	rm -f "$work/killed"
	peer timeout 200 "$python" "$here/direct_again.py" 10.9.0.2 7119 "$work/killed" 3 &
	local client=$!
	pids+=("$client")
	for round in 1 2 3; do
		await 60 grep -q "served $round" "$work/killed" || return
		kill -9 "$(program_of "$server")"
		wait "$server" 2> /dev/null
		redis_up 7119 "${on0[@]}"
		server=${pids[-1]}
	done
	wait "$client" || fail "the client" || return
	[ "$(grep -c "path=stack reason=DIRECT.*remote=10.9.0.2:7119" "$work/explain")" -ge 4 ] || fail "not on the stack again"
}

failed=0
[ $# -gt 0 ] || case $device in
tap) set -- server client both spare redis redis_both nginx absent stopped answers activated passed fallback ;;
xdp) set -- server client both spare redis redis_both nginx absent stopped answers fallback shared neighbours churn killed workers scarce scarce_workers upgrade activated threads memcached passed ;;
memif) set -- both spare redis_both nginx_both idle client_killed server_killed ;;
esac
for name; do
	rm -f "$work/explain"
	if "case_$name"; then
		echo "ok	$name"
	else
		echo "FAILED	$name"
		failed=1
	fi
	end_all
done
exit $failed
