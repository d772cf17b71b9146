#!/bin/bash
# apps_curl.sh - curl against nginx and against a Python server: many files, parallel, ranges, uploads, TLS, aborts
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need curl nginx openssl

servers() {
	local f

	mkdir -p "$D/www"
	for f in $(seq 1 40); do
		data "$D/www/n$f" $((f * 3001)) $f
	done
	data "$D/www/big" 20000000 99
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 \
		-keyout "$D/key.pem" -out "$D/cert.pem" 2> /dev/null
	free_port; port=$PORT
	free_port; tls=$PORT
	free_port; up=$PORT
	cat > "$D/nginx.conf" <<-CONF
	$([ "$(id -u)" = 0 ] && echo "user root;")
	daemon off;
	pid $D/nginx.pid;
	error_log $D/error.log;
	events { worker_connections 256; }
	http {
		access_log off;
		sendfile on;
		client_body_temp_path $D/body;
		proxy_temp_path $D/proxy;
		fastcgi_temp_path $D/fastcgi;
		uwsgi_temp_path $D/uwsgi;
		scgi_temp_path $D/scgi;
		server {
			listen 127.0.0.1:$port;
			listen 127.0.0.1:$tls ssl http2;
			ssl_certificate $D/cert.pem;
			ssl_certificate_key $D/key.pem;
			root $D/www;
		}
	}
	CONF
	spawn nginx "${S[@]}" /usr/sbin/nginx -c "$D/nginx.conf" -e "$D/error.log"
	nginx=$PID
	wait_port $port $nginx || return
	# PUT answers with the digest of what came
	cat > "$D/upload.py" <<-'PY'
	import hashlib, http.server, sys
	class H(http.server.BaseHTTPRequestHandler):
	    protocol_version = 'HTTP/1.1'
	    def do_PUT(self):
	        h = hashlib.sha256()
	        if self.headers.get('Expect'):
	            self.send_response_only(100)
	            self.end_headers()
	        if 'chunked' in self.headers.get('Transfer-Encoding', ''):
	            while size := int(self.rfile.readline(), 16):
	                h.update(self.rfile.read(size))
	                self.rfile.readline()
	            self.rfile.readline()
	        else:
	            h.update(self.rfile.read(int(self.headers['Content-Length'])))
	        self.send_response(200)
	        self.send_header('Content-Length', '64')
	        self.end_headers()
	        self.wfile.write(h.hexdigest().encode())
	    def log_message(self, *args):
	        pass
	http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()
	PY
	spawn upload "${S[@]}" "$PYTHON" "$D/upload.py" $up
	wait_port $up $PID
}

all_there() { # all_there WHAT: the 40 files have arrived unchanged
	local f

	for f in $(seq 1 40); do
		cmp -s "$D/got/n$f" "$D/www/n$f" || { fail "$1: n$f differs"; break; }
	done
	rm -f "$D/got"/*
}

curl_run() {
	local u rc

	servers || return
	u=http://127.0.0.1:$port
	mkdir -p "$D/got"
	check "40 files on one connection" "${C[@]}" curl -sSf -o "$D/got/n#1" "$u/n[1-40]"
	all_there "one connection"
	check "40 files in parallel" "${C[@]}" curl -sSf -Z --parallel-max 10 -o "$D/got/n#1" "$u/n[1-40]"
	all_there "parallel"
	check "40 files by HTTP/2 over TLS" "${C[@]}" curl -sSf -Z --cacert "$D/cert.pem" -o "$D/got/n#1" "https://127.0.0.1:$tls/n[1-40]"
	all_there "HTTP/2"
	check "a big file over TLS" "${C[@]}" curl -sSf --http1.1 --cacert "$D/cert.pem" -o "$D/got/big" "https://127.0.0.1:$tls/big"
	same "checksum over TLS" "$(sum "$D/got/big")" "$(sum "$D/www/big")"
	# interrupted, then resumed
	"${C[@]}" curl -sS -m 1 --limit-rate 8M -o "$D/got/part" "$u/big" 2> /dev/null
	same "exit code of a transfer out of time" $? 28
	check "resume" "${C[@]}" curl -sSf -C - -o "$D/got/part" "$u/big"
	same "checksum after resuming" "$(sum "$D/got/part")" "$(sum "$D/www/big")"
	same "a range" "$(output "${C[@]}" curl -sS -r 1000-1999 "$u/n40" | sha256sum)" \
		"$(tail -c +1001 "$D/www/n40" | head -c 1000 | sha256sum)"
	# the reader goes away: curl sees a closed pipe, the server a closed connection
	"${C[@]}" curl -sS "$u/big" 2> /dev/null | head -c 100000 > /dev/null
	rc=${PIPESTATUS[0]}
	same "exit code when the pipe closes" $rc 23
	same "upload of a file" "$(output "${C[@]}" curl -sS -T "$D/www/big" "http://127.0.0.1:$up/x")" "$(sum "$D/www/big")"
	same "chunked upload from a pipe" "$(timeout 60 "${C[@]}" curl -sS -T - "http://127.0.0.1:$up/x" < <(cat "$D/www/big"))" "$(sum "$D/www/big")"
	"${C[@]}" curl -sS "http://127.0.0.1:1/" 2> /dev/null
	same "exit code when nobody listens" $? 7
	check "after the aborts" "${C[@]}" curl -sSf -o "$D/got/n40" "$u/n40"
	stop $nginx QUIT 0
	! grep -E '\[(alert|crit|emerg)\]' "$D/error.log" || fail "nginx complains"
}

matrix curl_run
