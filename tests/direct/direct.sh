#!/bin/bash
# direct.sh - programs whose connections the stack in their process makes, over a TAP, against the kernel's TCP
#
# usage: direct.sh BUILD [CASE...]
# In a network namespace of its own. The kernel's side of zt0 is 10.9.0.1, the stack's 10.9.0.2; zt1 is a second one
# (10.9.0.3), joined to the first by a bridge.
# Exit: 0 all passed, 1 a case failed, 77 no namespace or no TAP can be made here.
set -u

build=${1:?usage: direct.sh BUILD [CASE...]}
here=$(dirname "$(readlink -f "$0")")
if [ "${DIRECT_INSIDE:-}" != 1 ]; then
	unshare -n true 2> /dev/null && [ -r /dev/net/tun ] || exit 77
	DIRECT_INSIDE=1 exec unshare -n -m -p -f --mount-proc --kill-child "$0" "$@"
fi
shift
unset ZTCP_EXPLAIN ZTCP_LIFT ZTCP_CHAOS ZTCP_PATH ZTCP_SPIN ZTCP_POLICY ZTCP_ONLY

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=/usr/bin/python3
pids=()
ip link set lo up
mount -t tmpfs tmpfs /dev/shm

devices() {
	ip link add br0 type bridge && ip addr add 10.9.0.1/24 dev br0 && ip link set br0 up || return
	for tap in zt0 zt1; do
		ip tuntap add "$tap" mode tap && ip link set "$tap" master br0 up || return
	done
}
devices > "$work/devices" 2>&1 || { cat "$work/devices"; exit 77; }
echo "interface zt0 device=tap:zt0 address=10.9.0.2/24" > "$work/if0"
echo "interface zt1 device=tap:zt1 address=10.9.0.3/24" > "$work/if1"

# "${on0[@]}" PROGRAM...: on interface zt0, with a line for each connection in $work/explain
on0=(env "ZTCP_INTERFACES=$work/if0" "$build/bin/ztcp_run" --path stack "--explain=$work/explain")
on1=(env "ZTCP_INTERFACES=$work/if1" "${on0[@]:2}")

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
	"${on0[@]}" "$python" "$here/direct_serve.py" 0.0.0.0 7100 "$work/ready" stack > "$work/served" &
	pids+=($!)
	local server=$!
	await 30 test -e "$work/ready" || return
	timeout 100 "$python" "$here/direct_ask.py" 10.9.0.2 7100 || return
	wait "$server" || fail "the server failed" || return
	path stack DIRECT
}

case_client() {
	rm -f "$work/ready"
	"$python" "$here/direct_serve.py" 10.9.0.1 7101 "$work/ready" > "$work/served" &
	pids+=($!)
	local server=$!
	await 30 test -e "$work/ready" || return
	"${on0[@]}" timeout 100 "$python" "$here/direct_ask.py" 10.9.0.1 7101 || return
	wait "$server" || fail "the server failed" || return
	path stack DIRECT
}

case_both() {
	rm -f "$work/ready"
	"${on0[@]}" "$python" "$here/direct_serve.py" 10.9.0.2 7102 "$work/ready" stack > "$work/served" &
	pids+=($!)
	local server=$!
	await 30 test -e "$work/ready" || return
	"${on1[@]}" timeout 100 "$python" "$here/direct_ask.py" 10.9.0.2 7102 || return
	wait "$server" || fail "the server failed" || return
	[ "$(grep -c "path=stack reason=DIRECT" "$work/explain")" -gt 400 ] || fail "not both ends on the stack"
}

case_redis() {
	command -v redis-server redis-benchmark > /dev/null || { echo "	no redis: left out"; return 0; }
	local server
	"${on0[@]}" redis-server --bind 0.0.0.0 --protected-mode no --save "" --port 7103 --dir "$work" > "$work/redis" &
	server=$!
	pids+=("$server")
	await 30 redis-cli -h 10.9.0.2 -p 7103 ping || return
	[ "$(redis-cli -h 127.0.0.1 -p 7103 ping)" = PONG ] || fail "nothing by the kernel's queue" || return
	ping -c 3 -i 0.2 -W 5 10.9.0.2 > /dev/null || fail "no echo" || return
	timeout 100 redis-benchmark -h 10.9.0.2 -p 7103 -c 50 -n 5000 -t set,get -q > "$work/bench" ||
		fail "redis-benchmark" || return
	timeout 100 redis-benchmark -h 10.9.0.2 -p 7103 -c 10 -n 1000 -k 0 -t get -q > "$work/bench" 2> /dev/null ||
		fail "redis-benchmark, short connections" || return
	redis-cli -h 10.9.0.2 -p 7103 bgsave > /dev/null # a child that inherits all of it
	await 30 grep -q "terminated with success" "$work/redis" || return
	redis-cli -h 10.9.0.2 -p 7103 subscribe news > "$work/news" &
	pids+=($!)
	await 30 grep -q news "$work/news" || return
	"$build/bin/ztcp" ss > "$work/ss"
	grep -q "ESTAB.*10.9.0.2:7103 .*10.9.0.1:.* stack .*DIRECT" "$work/ss" || fail "ztcp ss: $(cat "$work/ss")" || return
	redis-cli -h 10.9.0.2 -p 7103 shutdown nosave 2> /dev/null
	wait "$server" || fail "redis-server ended with $?" || return
	path stack DIRECT
}

nginx_conf() {
	cat << E
user root; worker_processes 2; pid $work/nginx.pid; error_log $work/nginx.err; daemon off;
events { worker_connections 256; }
http { access_log off; sendfile on; client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f;
uwsgi_temp_path $work/u; scgi_temp_path $work/s; server { listen 7104; root $work/html; } }
E
}

case_nginx() {
	command -v nginx curl > /dev/null || { echo "	no nginx or curl: left out"; return 0; }
	mkdir -p "$work/html"
	head -c 3000000 /dev/urandom > "$work/html/big"
	nginx_conf > "$work/nginx.conf"
	"${on0[@]}" nginx -p "$work" -c "$work/nginx.conf" 2> "$work/nginx.say" &
	pids+=($!)
	await 30 curl -sf -o "$work/got" http://10.9.0.2:7104/big || return
	cmp -s "$work/got" "$work/html/big" || fail "what came is not what was sent" || return
	curl -sf -o "$work/got" http://127.0.0.1:7104/big || fail "nothing by the kernel's queue" || return
	curl -sf -o "$work/got" -o "$work/again" http://10.9.0.2:7104/big http://10.9.0.2:7104/big ||
		fail "keep-alive" || return
	"${on1[@]}" curl -sf -o "$work/got" http://10.9.0.2:7104/big || fail "curl on a stack, too" || return
	cmp -s "$work/got" "$work/html/big" || fail "what came is not what was sent" || return
	local old
	old=$(pgrep -P "$(cat "$work/nginx.pid")")
	kill -HUP "$(cat "$work/nginx.pid")" # the new workers have the device when the old ones have gone
	for worker in $old; do
		await 30 test ! -e "/proc/$worker" || return
	done
	await 30 curl -sf -m 5 -o "$work/got" http://10.9.0.2:7104/big || return
	path stack DIRECT
}

# reason NAME: a client whose connection runs on the kernel because of it, and says so
kernel_because() {
	local name=$1
	shift
	rm -f "$work/explain"
	"$@" > "$work/out" 2> "$work/say" || fail "$name: the program failed: $(cat "$work/say")" || return
	[ "$(cat "$work/out")" = hello ] || fail "$name: other output" || return
	path kernel "$name"
}

fetch() { # LIBRARY_FOLDER: over the kernel, as 10.9.0.1 is its own
	ZTCP_INTERFACES=$work/if "$1/bin/ztcp_run" --path stack "--explain=$work/explain" \
		"$python" -c 'import socket
s = socket.create_connection(("10.8.0.1", 7105), timeout=30)
print(s.makefile().readline(), end="")'
}

case_fallback() {
	ip addr add 10.8.0.1/24 dev br0
	"$python" -c 'import socket
l = socket.create_server(("10.8.0.1", 7105))
while True:
    c, _ = l.accept()
    c.sendall(b"hello\n")
    c.close()' &
	pids+=($!)
	await 30 ss -Hltn "sport = :7105" || return
	local device=tap:zt0 lone=$work/lone
	line() { echo "interface t device=$1 address=10.8.0.2/24" > "$work/if"; }
	mkdir -p "$lone/bin" "$lone/lib"
	cp "$build/bin/ztcp_run" "$lone/bin" && cp "$build/lib/libztcp_preload.so" "$lone/lib" || return
	chmod -R a+rX "$work" && touch "$work/explain"
	echo "interface t" > "$work/if"
	kernel_because BAD_INTERFACES fetch "$build" || return
	grep -q "if:1:" "$work/say" || fail "it is not said where" || return
	echo "interface t device=$device address=10.7.0.2/24" > "$work/if"
	kernel_because NO_INTERFACE fetch "$build" || return
	line "$device"
	kernel_because NO_STACK_LIBRARY fetch "$lone" || return
	line tap:zt0,mtu=1
	kernel_because BAD_INTERFACES fetch "$build" || return
	line nothing:zt0
	kernel_because BAD_INTERFACES fetch "$build" || return
	"${on0[@]}" "$python" "$here/direct_serve.py" 10.9.0.2 7106 "$work/ready6" &
	pids+=($!)
	await 30 ping -c 1 -W 1 10.9.0.2 || return
	line "$device"
	kernel_because DEVICE_BUSY fetch "$build" || return
	line tap:zt9
	chmod 777 "$work"
	cp -r "$build/bin/ztcp_run" "$build/lib/libztcp_stack.so" "$work" && cp "$work/libztcp_stack.so" "$lone/lib" || return
	kernel_because DEVICE_REFUSED setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
		bash -c "$(declare -f fetch); work=$work python=$python; fetch $lone"
}

failed=0
[ $# -gt 0 ] || set -- server client both redis nginx fallback
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
