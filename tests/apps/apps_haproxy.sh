#!/bin/bash
# apps_haproxy.sh - haproxy in front of nginx: two hops, reload of the front under load, a back end that dies
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need haproxy nginx wrk

backend() { # backend NAME PORT
	cat > "$D/$1.conf" <<-CONF
	$([ "$(id -u)" = 0 ] && echo "user root;")
	worker_processes 1;
	daemon off;
	pid $D/$1.pid;
	error_log $D/$1.error.log;
	events { worker_connections 512; }
	http {
		access_log off;
		sendfile on;
		client_body_temp_path $D/$1.body;
		proxy_temp_path $D/$1.proxy;
		fastcgi_temp_path $D/$1.fastcgi;
		uwsgi_temp_path $D/$1.uwsgi;
		scgi_temp_path $D/$1.scgi;
		server { listen 127.0.0.1:$2; root $D/www; location = /ok { return 200 "$1\n"; } }
	}
	CONF
	spawn "$1" "${S[@]}" /usr/sbin/nginx -c "$D/$1.conf" -e "$D/$1.error.log"
	wait_port "$2" $PID
}

# reload: the master runs itself again and makes a new worker; the old one ends what it has
reload() {
	local before

	before=" $(workers) "
	kill -USR2 $proxy
	until_true 60 new_worker "$before" || fail "no new worker"
	sleep 0.5 # of load on it
}

workers() {
	cat /proc/"$proxy"/task/*/children 2> /dev/null | xargs
}

new_worker() { # new_worker BEFORE
	local worker

	for worker in $(workers); do
		case $1 in *" $worker "*) ;; *) return 0 ;; esac
	done
	return 1
}

front() { # front THREADS: whole at once, whenever it is read
	cat > "$D/haproxy.new" <<-CONF
	global
		nbthread ${1}
		stats socket $D/stats expose-fd listeners level admin
	defaults
		mode http
		timeout connect 60s
		timeout client 60s
		timeout server 60s
		timeout check 60s
		retries 3
		option redispatch
		retry-on conn-failure empty-response
		http-reuse always
	frontend web
		bind 127.0.0.1:$port
		default_backend farm
	backend farm
		server one 127.0.0.1:$one check inter 200ms
		server two 127.0.0.1:$two check inter 200ms
	listen stream
		mode tcp
		bind 127.0.0.1:$plain
		option splice-auto
		server one 127.0.0.1:$one
	CONF
	mv "$D/haproxy.new" "$D/haproxy.cfg"
}

haproxy_run() {
	local f proxy first second n

	free_port; one=$PORT
	free_port; two=$PORT
	free_port; port=$PORT
	free_port; plain=$PORT
	mkdir -p "$D/www"
	for f in 0 1 1000 16384 100000 1000000 5000000; do
		data "$D/www/f$f" $f $f
	done
	backend one $one || return
	first=$PID
	backend two $two || return
	second=$PID
	front 2
	# -W: a master and a worker, as Debian's service runs it
	spawn haproxy "${S[@]}" haproxy -W -f "$D/haproxy.cfg" -p "$D/haproxy.pid"
	proxy=$PID
	wait_port $port $proxy || return
	for n in $port $plain; do
		for f in f0 f1 f100000 f5000000; do
			output "${C[@]}" curl -sS -o "$D/got" "http://127.0.0.1:$n/$f" || fail "curl port $n $f: exit $?"
			same "checksum of $f" "$(sum "$D/got")" "$(sum "$D/www/$f")"
		done
	done
	for f in ok f1000 f100000; do
		output "${C[@]}" wrk -t1 -c32 -d1s --timeout 30s "http://127.0.0.1:$port/$f" > "$D/wrk.log" || fail "wrk $f: exit $?"
		! grep -E 'Socket errors|Non-2xx' "$D/wrk.log" || fail "wrk $f"
	done
	rm -f "$D"/enough*
	spawn keep "${C[@]}" "$PYTHON" "$APPS/apps_http.py" $port "$D/www" keep 4 "$D/enough"
	n=$PID
	spawn close "${C[@]}" "$PYTHON" "$APPS/apps_http.py" $port "$D/www" close 2 "$D/enough"
	until_true 60 test -e "$D/enough.keep" -a -e "$D/enough.close" || fail "no answer under load"
	reload
	front 1
	reload
	# a back end that ends gracefully: what it was asked is answered, the rest goes to the other one
	kill -QUIT $second
	sleep 1
	touch "$D/enough"
	finish $PID "clients with a connection a request" || grep lost "$D/close.log" | head -n 5
	finish $n "clients with kept connections" || grep lost "$D/keep.log" | head -n 5
	until_true 60 ended $second || fail "the second back end does not end"
	stop $proxy TERM
	stop $first QUIT 0
}

matrix haproxy_run
