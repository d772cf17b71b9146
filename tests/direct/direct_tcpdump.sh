#!/bin/bash
# direct_tcpdump.sh - `ztcp tcpdump` of connections of the stack, read by tshark: the frames as they are
#
# usage: direct_tcpdump.sh BUILD
# redis-server and nginx on a TAP in a namespace of their own, where the kernel is at the other end; redis-server on a veth that
# it shares with the kernel, and with its clients by shared memory.
# Exit: 0 passed, 1 failed, 77 no namespace, no TAP or no tshark can be had here.
set -u

build=${1:?usage: direct_tcpdump.sh BUILD}
if [ "${DIRECT_INSIDE:-}" != 1 ]; then
	for tool in redis-server redis-benchmark nginx curl tshark; do
		command -v $tool > /dev/null || exit 77
	done
	unshare -n true 2> /dev/null && [ -r /dev/net/tun ] || exit 77
	DIRECT_INSIDE=1 exec unshare -n -m -p -f --mount-proc --kill-child "$0" "$@"
fi
unset ZTCP_EXPLAIN ZTCP_LIFT ZTCP_CHAOS ZTCP_PATH ZTCP_SPIN ZTCP_POLICY ZTCP_ONLY
work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
mount -t tmpfs tmpfs /dev/shm
ip link set lo up && ip tuntap add zt0 mode tap && ip link set zt0 up && ip address add 10.9.0.1/24 dev zt0 || exit 77
echo "interface zt0 device=tap:zt0 address=10.9.0.2/24" > "$work/interfaces"
run=(env "ZTCP_INTERFACES=$work/interfaces" "$build/bin/ztcp_run" --path stack)
listener='' server=''

. "$(dirname "$(readlink -f "$0")")/direct_wait.bash"

same() { # WHAT EXPECTED GOT
	[ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
}

sum() { awk '{ n += $1 } END { print n + 0 }'; }

capture() { # FILE OPTIONS...
	local file=$1
	shift
	"$build/bin/ztcp" tcpdump -w "$file" "$@" 2> "$file.err" &
	listener=$!
	await grep -q listening "$file.err"
}

captured() { # FILE: it ends, and has lost nothing
	kill -INT "$listener"
	wait "$listener" || fail "ztcp tcpdump: $(cat "$1.err")"
	grep -q " 0 records lost, 0 bytes not captured" "$1.err" || fail "something is missing: $(cat "$1.err")"
}

shark() { # FILE OPTIONS...
	tshark -o tcp.check_checksum:TRUE -o ip.check_checksum:TRUE -d "tcp.port==$port,$decode" -r "$@" 2> /dev/null
}

# What the stack sends has its checksums; the kernel at the other end of a TAP leaves them to it.
sound() { # FILE
	local wrong
	wrong=$(shark "$1" -Y "_ws.malformed || (ip.src == 10.9.0.2 && (tcp.checksum.status == 0 || ip.checksum.status == 0)) ||
		tcp.analysis.ack_lost_segment || tcp.analysis.lost_segment")
	same "$1: frames that tshark finds something about" '' "$(head -5 <<< "$wrong")"
}

case_redis() {
	port=7117 decode=resp
	capture "$work/redis.pcapng"
	"${run[@]}" --explain="$work/explain" redis-server --bind 0.0.0.0 --protected-mode no --save "" --port $port --dir "$work" > "$work/redis" &
	server=$!
	await redis-cli -h 10.9.0.2 -p $port ping
	redis-benchmark -h 10.9.0.2 -p $port -t set,get -n 5000 -c 8 -d 100 -q > /dev/null || fail "redis-benchmark"
	ping -q -c 2 -i 0.2 -W 10 10.9.0.2 > /dev/null || fail "ping"
	kill "$server" && wait "$server"
	captured "$work/redis.pcapng"
	sound "$work/redis.pcapng"
	same "requests decoded" "5000 GET 5000 SET" \
		"$(shark "$work/redis.pcapng" -Y "tcp.dstport == $port && resp && !tcp.analysis.retransmission && !resp.reassembled_in_next_frame" \
			-T fields -e resp.bulk_string.value | cut -d, -f1 | sed -n 's/^474554$/GET/p; s/^534554$/SET/p' | sort | uniq -c | xargs)"
	same "bytes to the server" "$(sed -n "s/.* rx=\([0-9]*\) .*local=[^ ]*:$port\( .*\|\)\$/\1/p" "$work/explain" | sum)" \
		"$(shark "$work/redis.pcapng" -Y "tcp.dstport == $port && !tcp.analysis.retransmission" -T fields -e tcp.len | sum)"
	same "bytes from the server" "$(sed -n "s/.* tx=\([0-9]*\) .*local=[^ ]*:$port\( .*\|\)\$/\1/p" "$work/explain" | sum)" \
		"$(shark "$work/redis.pcapng" -Y "tcp.srcport == $port && !tcp.analysis.retransmission" -T fields -e tcp.len | sum)"
	for what in arp.opcode==1 arp.opcode==2 icmp.type==8 icmp.type==0 tcp.flags.syn==1 tcp.flags.fin==1; do
		shark "$work/redis.pcapng" -Y $what | grep -q . || fail "no frame with $what"
	done
	same "interfaces" "zt0" "$(shark "$work/redis.pcapng" -T fields -e frame.interface_name | sort -u)"
}

case_web() {
	port=7118 decode=http
	mkdir -p "$work/www"
	head -c 100000 /dev/zero | tr '\0' x > "$work/www/big"
	cat > "$work/nginx.conf" <<- END
		user root; worker_processes 1; pid $work/nginx.pid; error_log $work/nginx.err;
		events { worker_connections 256; }
		http { access_log off; client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u;
			scgi_temp_path $work/s; sendfile on; server { listen 0.0.0.0:$port; root $work/www; } }
	END
	capture "$work/nginx.pcapng" tcp port $port
	"${run[@]}" nginx -c "$work/nginx.conf" -g 'daemon off;' &
	server=$!
	await curl -sf --max-time 5 -o /dev/null "http://10.9.0.2:$port/big"
	for _ in {1..20}; do
		curl -sf --max-time 30 "http://10.9.0.2:$port/big" | cmp -s - "$work/www/big" || fail "curl"
	done
	kill -QUIT "$server" && wait "$server"
	captured "$work/nginx.pcapng"
	sound "$work/nginx.pcapng"
	[ "$(shark "$work/nginx.pcapng" -Y "http.request.uri == \"/big\" && !tcp.analysis.retransmission" | wc -l)" -ge 21 ] || fail "not all requests are there"
	[ "$(shark "$work/nginx.pcapng" -Y "http.response.code == 200 && http.content_length == 100000" | wc -l)" -ge 21 ] || fail "not all answers are there"
	same "what is not TCP" '' "$(shark "$work/nginx.pcapng" -Y '!tcp' | head -3)"
}

# Both ends of a device without a kernel, or of one that the kernel shares: each frame of it, by each filter.
ends() { # WHAT INTERFACE; the functions here_run and there_run start programs at the two ends
	local what=$1 interface=$2
	capture "$work/$what.pcapng"
	local all=$listener
	: > "$work/explain"
	here_run redis-server --bind 10.9.1.2 --protected-mode no --save "" --port $port --dir "$work" > "$work/redis" &
	server=$!
	await there_run redis-cli -h 10.9.1.2 -p $port ping
	capture "$work/$what.some" host 10.9.1.2 and port $port
	there_run redis-benchmark -h 10.9.1.2 -p $port -t set,get -n 3000 -c 8 -d 2000 -q > "$work/bench" 2>&1 || fail "redis-benchmark"
	captured "$work/$what.some"
	there_run redis-cli -h 10.9.1.2 -p $port shutdown nosave > "$work/say" 2>&1
	wait "$server"
	listener=$all
	captured "$work/$what.pcapng"
	for file in "$work/$what.pcapng" "$work/$what.some"; do
		same "$file: malformed" '' "$(shark "$file" -Y "_ws.malformed || ip.checksum.status == 0" | head -3)"
		same "$file: interfaces" "$interface" "$(shark "$file" -T fields -e frame.interface_name | sort -u)"
		[ "$(shark "$file" -Y "tcp.dstport == $port && resp && !tcp.analysis.retransmission" -T fields -e resp.bulk_string.value |
			grep -cE '^(474554|534554)')" -ge 6000 ] || fail "$file: not all requests are there"
	done
	same "$what: what the filter leaves out" '' "$(shark "$work/$what.some" -Y "!(tcp.port == $port && ip.addr == 10.9.1.2)" | head -3)"
	grep -q "path=stack reason=DIRECT" "$work/explain" || fail "$what: not on the stack"
}

case_shared() {
	port=7120 decode=resp
	mount -t bpf bpf /sys/fs/bpf && mkdir -p /run/netns && mount -t tmpfs netns /run/netns && ip netns add far || { echo "no bpffs can be mounted here"; return 77; }
	ip link add v0 numtxqueues 1 numrxqueues 1 type veth peer name v1 numtxqueues 1 numrxqueues 1 netns far &&
		ip address add 10.9.1.2/24 dev v0 && ip link set v0 up && ip -n far address add 10.9.1.1/24 dev v1 && ip -n far link set v1 up ||
		fail "no veth"
	"$build/bin/ztcp" nic attach v0 || fail "ztcp nic attach"
	echo "interface v0 device=xdp:v0" > "$work/if.v0"
	here_run() { exec env "ZTCP_INTERFACES=$work/if.v0" "$build/bin/ztcp_run" --path stack --explain="$work/explain" "$@"; }
	there_run() { nsenter --net=/run/netns/far "$@"; }
	ends shared v0
}

case_memif() {
	port=7121 decode=resp
	[ -n "$(find /usr/lib -name 'librte_net_memif.so*' -print -quit)" ] || { echo "no librte_net_memif.so"; return 77; }
	local n=1 role
	for role in client server; do
		echo "interface m0 device=\"dpdk:--no-huge -m 64 --vdev" \
			"net_memif0,role=$role,id=0,mac=02:00:00:00:00:0$n,socket=$work/memif,socket-abstract=no\" address=10.9.1.$n/24" > "$work/if.$role"
		n=2
	done
	here_run() { exec env "ZTCP_INTERFACES=$work/if.server" "$build/bin/ztcp_run" --path stack --explain="$work/explain" "$@"; }
	there_run() { env "ZTCP_INTERFACES=$work/if.client" "$build/bin/ztcp_run" --path stack "$@"; }
	ends memif m0
	[ -n "$(shark "$work/memif.pcapng" -Y 'arp.opcode == 1')" ] && [ -n "$(shark "$work/memif.pcapng" -Y 'arp.opcode == 2')" ] || fail "memif: no ARP"
}

# In the middle of load, begun and ended often, and killed: no request fails, and nothing stays on.
case_often() {
	port=7119 decode=resp
	"${run[@]}" redis-server --bind 0.0.0.0 --protected-mode no --save "" --port $port --dir "$work" > "$work/redis" &
	server=$!
	await redis-cli -h 10.9.0.2 -p $port ping
	redis-benchmark -h 10.9.0.2 -p $port -t get -n 1000000000 -c 4 > "$work/load" 2>&1 &
	local load=$! file
	for n in {1..5}; do
		timeout 60 "$build/bin/ztcp" tcpdump -c 200 -s 66 -w "$work/often" tcp port $port 2> "$work/often.err" || fail "tcpdump: $(cat "$work/often.err")"
		same "packets, run $n" 200 "$(shark "$work/often" | wc -l)"
		same "bytes of the longest" 66 "$(shark "$work/often" -T fields -e frame.cap_len | sort -n | tail -n 1)"
	done
	same "200 lines" 200 "$(timeout 60 "$build/bin/ztcp" tcpdump -c 200 tcp src port $port 2> /dev/null |
		grep -cE "redis-server\[$server\] zt0 out 10.9.0.2.$port > 10.9.0.1.[0-9]+: Flags \[.*\], seq .* length [0-9]+, stack")"
	timeout 60 "$build/bin/ztcp" tcpdump -j -c 50 tcp 2> /dev/null | /usr/bin/python3 -c 'import json, sys
p = [json.loads(line) for line in sys.stdin]
assert len(p) == 50 and all(x["path"] == "stack" and x["kind"] == "tcp" for x in p), p' || fail "tcpdump -j"
	capture "$work/killed"
	kill -9 "$listener"
	wait "$listener" 2> /dev/null
	file=$(find "/proc/$server/fd" -lname '*ztcp-tap*' | head -n 1)
	await asks_no_more "$file"
	kill -0 "$load" || fail "the load has ended: $(tail -n 2 "$work/load")"
	kill "$load" "$server"
	wait "$load" "$server"
}

asks_no_more() { # FILE of the tap: shm/tap.h's until_ns
	[ "$(od -An -tu8 -j 64 -N 8 "$1" | tr -d ' ')" = 0 ]
}

for part in ${PARTS:-redis web often shared memif}; do
	"case_$part"
	[ $? != 77 ] && echo "$part: done" || echo "$part: skipped"
done
exit 0
