#!/bin/bash
# daemon_tcpdump.sh - ztcp tcpdump of a lifted redis and a lifted nginx, read by tshark: every request decoded, nothing
# malformed or out of order, as many bytes as the programs sent; filters; nothing left on when it ends
. "$(dirname "$(readlink -f "$0")")/daemon_lib.sh"
need setpriv python3 tshark redis-server redis-benchmark nginx wrk

PORT=7955
# a listener hears all processes of its user: a user of this run's own, lest two runs hear each other
USER_ID=$((20000 + $$ % 40000))
AS=(setpriv --reuid $USER_ID --regid $USER_ID --clear-groups)
chmod 777 "$T"

capture() { # FILE FILTER...
	local file=$1
	shift
	begin "${AS[@]}" "$ZTCP" tcpdump -w "$file" "$@" 2>"$file.err"
	TAP=$PID
	until_true 60 grep -q listening "$file.err" || fail "tcpdump does not listen: $(cat "$file.err")"
}

stop_capture() {
	finish "$TAP" INT
	grep -q " 0 records lost, 0 bytes not captured" "$1.err" || fail "something is missing: $(cat "$1.err")"
}

shark() {
	tshark -o tcp.check_checksum:TRUE -o ip.check_checksum:TRUE -d "tcp.port==$PORT,$DECODE" -r "$@" 2>/dev/null
}

# sum FIELD of standard input
sum() {
	awk '{ n += $1 } END { print n + 0 }'
}

# What the programs say they sent: sent_by REMOTE|LOCAL (the side of the port)
sent_by() {
	sed -n "s/.* tx=\([0-9]*\) .*$1=[^ ]*:$PORT\( .*\|\)\$/\1/p" "$T/explain" | sum
}

judge() { # FILE
	local wrong
	wrong=$(shark "$1" -Y 'tcp.analysis.flags || _ws.malformed || tcp.checksum.status == 0 || ip.checksum.status == 0')
	same "$1: packets that tshark finds something about" "" "$(head -5 <<<"$wrong")"
	same "$1: bytes to the server" "$(sent_by remote)" "$(shark "$1" -Y "tcp.dstport == $PORT" -T fields -e tcp.len | sum)"
	same "$1: bytes from the server" "$(sent_by local)" "$(shark "$1" -Y "tcp.srcport == $PORT" -T fields -e tcp.len | sum)"
	grep -q "path=shm" "$T/explain" || fail "nothing was lifted"
	shark "$1" -T fields -e frame.comment | grep -q shm || fail "$1: no packet by shared memory"
}

redis() {
	DECODE=resp
	: >"$T/explain"
	chmod 666 "$T/explain"
	capture "$T/redis.pcapng" port $PORT
	begin "${AS[@]}" "$RUN" --explain="$T/explain" redis-server --port $PORT --save '' --appendonly no --dir / >/dev/null
	SERVER=$PID
	until_true 60 listens $PORT || fail "redis-server does not start"
	"${AS[@]}" "$RUN" --explain="$T/explain" redis-benchmark -p $PORT -t set,get -n 20000 -c 8 -d 100 -q >/dev/null || fail "redis-benchmark"
	finish "$SERVER"
	stop_capture "$T/redis.pcapng"
	judge "$T/redis.pcapng"
	same "requests decoded" "20000 GET 20000 SET" \
		"$(shark "$T/redis.pcapng" -Y "tcp.dstport == $PORT && resp && !resp.reassembled_in_next_frame" \
			-T fields -e resp.bulk_string.value | cut -d, -f1 | sed -n 's/^474554$/GET/p; s/^534554$/SET/p' | sort | uniq -c | xargs)"
}

web() {
	DECODE=http
	: >"$T/explain"
	chmod 666 "$T/explain"
	mkdir -p "$T/www"
	head -c 100000 /dev/zero | tr '\0' x >"$T/www/big"
	echo hello >"$T/www/small"
	chmod -R a+rX "$T"
	cat >"$T/nginx.conf" <<-END
		worker_processes 1; pid $T/nginx.pid; error_log $T/nginx.err;
		events { worker_connections 256; }
		http { access_log off; client_body_temp_path $T/b; proxy_temp_path $T/p; fastcgi_temp_path $T/f; uwsgi_temp_path $T/u; scgi_temp_path $T/s; sendfile on; keepalive_requests 100000;
			server { listen 127.0.0.1:$PORT; root $T/www; } }
	END
	capture "$T/nginx.pcapng" tcp and port $PORT
	begin "${AS[@]}" "$RUN" --explain="$T/explain" nginx -c "$T/nginx.conf" -g 'daemon off;'
	SERVER=$PID
	until_true 60 listens $PORT || fail "nginx does not start: $(cat "$T/nginx.err")"
	"${AS[@]}" "$RUN" --explain="$T/explain" python3 - $PORT <<-'END' || fail "the client saw wrong bytes"
		import http.client, sys, time
		c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]))
		for i in range(200):
		    if i in (1, 199):
		        time.sleep(0.5)  # new processes are looked for every now and then
		    c.request('GET', '/big' if i % 10 == 0 else '/small')
		    body = c.getresponse().read()
		    assert len(body) == (100000 if i % 10 == 0 else 6)
		c.close()
	END
	finish "$SERVER" QUIT
	stop_capture "$T/nginx.pcapng"
	judge "$T/nginx.pcapng"
	same "requests decoded" 200 "$(shark "$T/nginx.pcapng" -Y http.request -T fields -e http.request.uri | wc -l)"
	same "responses decoded" 200 "$(shark "$T/nginx.pcapng" -Y 'http.response.code == 200' -T fields -e frame.number | wc -l)"
}

filters() {
	local out
	out=$("$ZTCP" tcpdump 'port and or' 2>&1)
	same "a wrong filter: status" 2 $?
	grep -q "filter:" <<<"$out" || fail "a wrong filter: said '$out'"
	DECODE=resp
	: >"$T/explain"
	chmod 666 "$T/explain"
	capture "$T/none.pcapng" port 1
	begin "${AS[@]}" "$RUN" redis-server --port $PORT --save '' --appendonly no --dir / >/dev/null
	SERVER=$PID
	until_true 60 listens $PORT
	"${AS[@]}" "$RUN" redis-benchmark -p $PORT -t get -n 500 -c 1 -q >/dev/null
	finish "$TAP" INT
	same "another port's packets" 0 "$(shark "$T/none.pcapng" | wc -l)"
	# a text line each, in the middle of a connection's life; and it ends by itself
	begin "${AS[@]}" "$RUN" redis-benchmark -p $PORT -t get -n 100000000 -c 1 -q >/dev/null
	sleep 0.3
	"${AS[@]}" "$ZTCP" tcpdump -c 20 src port $PORT 2>/dev/null >"$T/lines"
	same "20 lines and no more" 20 "$(grep -cE "127.0.0.1.$PORT > 127.0.0.1.[0-9]+: Flags \[P\.\], seq [0-9]+, ack [0-9]+, length [0-9]+, shm" "$T/lines")"
	"${AS[@]}" "$ZTCP" tcpdump -j -c 20 src port $PORT 2>/dev/null >"$T/json"
	python3 -c 'import json, sys
packets = [json.loads(line) for line in sys.stdin]
assert len(packets) == 20 and all(p["path"] == "shm" and p["length"] > 0 for p in packets), packets' <"$T/json" ||
		fail "tcpdump -j: $(head -3 "$T/json")"
	finish "$PID"
	finish "$SERVER"
}

# A listener that gets no turn for long: more is sent meanwhile than there is room for. What is missing is said, to the byte.
gaps() {
	local got missing comments
	DECODE=data
	: >"$T/explain"
	mkfifo "$T/go" "$T/went"
	chmod 666 "$T/explain" "$T/go" "$T/went"
	capture "$T/gaps.pcapng" port $PORT
	begin "${AS[@]}" "$RUN" --explain="$T/explain" python3 -c '
import socket, sys, threading
door = socket.create_server(("127.0.0.1", int(sys.argv[1])))
client = socket.create_connection(door.getsockname())
server = door.accept()[0]
def swallow():
    while server.recv(1 << 20):
        server.sendall(b"y")
def ignore():
    while client.recv(1 << 16):
        pass
threads = [threading.Thread(target=t) for t in (swallow, ignore)]
for t in threads:
    t.start()
sent = 0
go = open(sys.argv[2])
went = open(sys.argv[3], "w", buffering=1)
while line := go.readline():
    for _ in range(int(line)):
        client.sendall(bytes(65536))
        sent += 65536
    print(sent, file=went)
client.shutdown(socket.SHUT_WR)
threads[0].join()
server.close()
threads[1].join()
' $PORT "$T/go" "$T/went"
	local its=$PID sent
	exec 7>"$T/go" 8<"$T/went"
	echo 20 >&7
	read -r -u 8 sent
	kill -STOP "$TAP"
	echo 600 >&7
	read -r -u 8 sent
	kill -CONT "$TAP"
	sleep 0.5 # it reads again
	echo 20 >&7
	read -r -u 8 sent
	exec 7>&- 8<&-
	wait "$its" || fail "gaps: the program failed"
	finish "$TAP" INT
	missing=$(sed -n 's/.* packets, [1-9][0-9]* records lost, \([0-9]*\) bytes not captured$/\1/p' "$T/gaps.pcapng.err")
	[ "${missing:-0}" -gt $((20 << 20)) ] || fail "gaps: only this is said: $(cat "$T/gaps.pcapng.err")"
	got=$(shark "$T/gaps.pcapng" -T fields -e tcp.len | sum)
	same "bytes captured and not captured" "$(sed -n 's/.* tx=\([0-9]*\) .*/\1/p' "$T/explain" | sum)" $((got + missing))
	comments=$(shark "$T/gaps.pcapng" -T fields -e frame.comment | sed -n 's/.*, \([0-9]*\) bytes before this were not captured/\1/p' | sum)
	same "what the comments say" "$missing" "$comments"
	shark "$T/gaps.pcapng" -Y 'tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment' | grep -q . || fail "gaps: tshark sees none"
}

# What a process sees of its own tap: struct tap_head of shm/tap.h
tap_py() {
	cat <<-'END'
		import os, socket, struct, sys, time
		def tap():
		    for fd in os.listdir('/proc/self/fd'):
		        try:
		            if 'ztcp-tap' in os.readlink('/proc/self/fd/' + fd):
		                with open('/proc/self/fd/' + fd, 'rb') as f:
		                    head = f.read(144)
		                return {'until': struct.unpack_from('=Q', head, 64)[0], 'head': struct.unpack_from('=Q', head, 72)[0],
		                        'tail': struct.unpack_from('=Q', head, 128)[0]}
		        except OSError:
		            pass
		    sys.exit('no tap')
		door = socket.create_server(('127.0.0.1', int(sys.argv[1])))
		client = socket.create_connection(door.getsockname())
		server = door.accept()[0]
	END
	cat
}

# Another user takes the name by which processes that start see that somebody listens: it is said, and has no process copy
squatter() {
	begin setpriv --reuid $((USER_ID + 1)) --regid $((USER_ID + 1)) --clear-groups python3 -c '
import signal, socket, sys
kept = []
for user in sys.argv[1:]:
    kept.append(socket.socket(socket.AF_UNIX))
    kept[-1].bind("\0ztcp-tap/" + user)
    kept[-1].listen(100)
print("taken", flush=True)
signal.pause()' $USER_ID 0 >"$T/taken"
	local its=$PID
	until_true 60 grep -q taken "$T/taken" || fail "the name cannot be taken"
	echo 'print("copies" if tap()["until"] else "quiet")' | tap_py >"$T/quiet.py"
	same "a process that starts" quiet "$("${AS[@]}" "$RUN" python3 "$T/quiet.py" $PORT 2>&1)"
	capture "$T/squatter.pcapng" port $PORT
	grep -q "^ztcp: process $its of user $((USER_ID + 1)) has taken the name @ztcp-tap/$USER_ID: " "$T/squatter.pcapng.err" || fail "not said: $(cat "$T/squatter.pcapng.err")"
	finish "$TAP" INT
	finish "$its"
	capture "$T/squatter.pcapng" port $PORT
	same "a process that starts when somebody listens" copies "$("${AS[@]}" "$RUN" python3 "$T/quiet.py" $PORT 2>&1)"
	finish "$TAP" INT
}

tap_files_are() { test "$(find "/proc/$TAP/fd" -lname '*ztcp-tap*' | wc -l)" "$1" "$2"; }

# Who listens for long hears of many processes, and keeps nothing of those that are gone
many() {
	local i
	tap_py >"$T/many.py" <<-'END'
		for _ in range(200):
		    client.sendall(b'x')
		    server.recv(1)
		client.close()
		server.recv(1)
		server.close()
		end = time.monotonic() + 60
		while (t := tap())['head'] != t['tail']:
		    time.monotonic() < end or sys.exit('nobody reads')
		    time.sleep(0.01)
	END
	capture "$T/many.pcapng" port $PORT
	for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
		"${AS[@]}" env ZTCP_LIFT=0 "$RUN" python3 "$T/many.py" $PORT || fail "process $i"
	done
	until_true 60 tap_files_are -eq 0 || fail "taps of processes that are gone are kept"
	stop_capture "$T/many.pcapng"
	DECODE=data
	same "handshakes" 12 "$(shark "$T/many.pcapng" -Y 'tcp.flags.syn == 1 && tcp.flags.ack == 0' | wc -l)"
	same "bytes" 2400 "$(shark "$T/many.pcapng" -T fields -e tcp.len | sum)"
}

for part in ${PARTS:-redis web gaps filters many squatter}; do
	$part
	echo "$part: done"
done
end
