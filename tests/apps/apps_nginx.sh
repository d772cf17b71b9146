#!/bin/bash
# apps_nginx.sh - nginx with two workers: files by sendfile, reload and binary upgrade under load
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need nginx wrk

# configure INHERIT: with INHERIT=1 a new binary gets the environment that a wrapped program needs to stay wrapped
configure() {
	{
		[ "$(id -u)" = 0 ] && echo "user root;"
		if [ "$1" = 1 ]; then
			printf 'env %s;\n' LD_PRELOAD ZTCP_EXPLAIN ZTCP_LIFT ZTCP_CHAOS
		fi
		cat <<-CONF
		worker_processes 2;
		daemon on;
		pid $D/nginx.pid;
		error_log $D/error.log;
		events { worker_connections 512; }
		http {
			access_log off;
			sendfile on;
			tcp_nopush on;
			keepalive_requests 500;
			client_body_temp_path $D/body;
			proxy_temp_path $D/proxy;
			fastcgi_temp_path $D/fastcgi;
			uwsgi_temp_path $D/uwsgi;
			scgi_temp_path $D/scgi;
			upstream self { server 127.0.0.1:$port; keepalive 8; }
			server {
				listen 127.0.0.1:$port;
				root $D/www;
				location = /ok { return 200 "fine\n"; }
				location /copied/ { sendfile off; alias $D/www/; }
				location /proxied/ { proxy_pass http://self/; proxy_http_version 1.1; proxy_set_header Connection ""; }
			}
		}
		CONF
	} > "$D/nginx.conf"
}

load() { # load WRAPPED-COMMAND...: clients of both kinds, until $D/enough exists
	rm -f "$D"/enough*
	spawn keep "${C[@]}" "$PYTHON" "$APPS/apps_http.py" $port "$D/www" keep 4 "$D/enough"
	keep=$PID
	spawn close "${C[@]}" "$PYTHON" "$APPS/apps_http.py" $port "$D/www" close 2 "$D/enough"
	close=$PID
	until_true 60 test -e "$D/enough.keep" -a -e "$D/enough.close" || fail "no answer under load"
}

load_ends() { # load_ends WHAT
	touch "$D/enough"
	finish $keep "$1: clients with kept connections" || grep lost "$D/keep.log" | head -n 5
	finish $close "$1: clients with a connection a request" || grep lost "$D/close.log" | head -n 5
}

master() {
	cat "$D/nginx.pid" 2> /dev/null
}

new_master() { # new_master OLD
	local now

	now=$(master)
	[ -n "$now" ] && [ "$now" != "$1" ] && ! ended "$now"
}

workers() {
	cat /proc/"$1"/task/*/children 2> /dev/null
}

reloads() {
	local i old

	load
	for i in 1 2 3; do
		sleep 0.7
		old=$(workers "$(master)")
		kill -HUP "$(master)"
		until_true 60 eval '[ "$(workers '"$(master)"')" != "'"$old"'" ]' || fail "reload $i: no new workers"
	done
	sleep 0.7
	load_ends "reload"
}

# upgrade: a new binary takes over, the old one's workers finish what they have
upgrade() {
	local old

	old=$(master)
	load
	kill -USR2 "$old"
	until_true 60 new_master "$old" || { fail "no new master"; load_ends upgrade; return; }
	PIDS+=("$(master)")
	sleep 0.5
	kill -WINCH "$old"
	until_true 60 eval '[ "$(workers '"$old"' | wc -w)" = 1 ]' || fail "the old workers do not end"
	sleep 0.3
	kill -QUIT "$old"
	until_true 60 ended "$old" || fail "the old master does not end"
	sleep 0.5
	load_ends "$1"
}

hammer() { # hammer PATH OPTIONS...: wrk; no socket error, no answer that is not 2xx
	local path=$1

	shift
	# it goes by the clock: where the machine stood still for that second, not everybody was answered yet
	until_true 60 hammered "$path" "$@" || fail "wrk $path: $(grep 'requests in' "$D/wrk.log")"
	[ ! -s "$D/wrk.bad" ] || fail "wrk $* $path: $(tr -s ' ' < "$D/wrk.bad")"
}

hammered() {
	local path=$1 n

	shift
	output "${C[@]}" wrk -t1 -c32 -d1s --timeout 30s "$@" "http://127.0.0.1:$port/$path" > "$D/wrk.log" || fail "wrk $path: exit $?"
	grep -E 'Socket errors|Non-2xx' "$D/wrk.log" > "$D/wrk.bad" && return
	n=$(sed -n 's/^ *\([0-9]*\) requests in.*/\1/p' "$D/wrk.log")
	[ "${n:-0}" -ge 32 ]
}

nginx_run() {
	local f way size=0

	free_port
	port=$PORT
	mkdir -p "$D/www"
	for f in 0 1 1000 16384 100000 1000000 5000000; do
		data "$D/www/f$f" $f $f
	done
	configure 1
	check "nginx starts" "${S[@]}" /usr/sbin/nginx -c "$D/nginx.conf" -e "$D/error.log" || return
	until_true 60 test -s "$D/nginx.pid"
	PIDS+=("$(master)")
	wait_port $port "$(master)" || return
	for way in "" copied/ proxied/; do
		for f in f0 f1 f100000 f5000000; do
			output "${C[@]}" curl -sS -o "$D/got" "http://127.0.0.1:$port/$way$f" || fail "curl /$way$f: exit $?"
			same "checksum of /$way$f" "$(sum "$D/got")" "$(sum "$D/www/$f")"
		done
	done
	hammer ok
	hammer f1000
	hammer f100000
	hammer proxied/f16384
	hammer f1000 -H 'Connection: close'
	reloads
	upgrade "binary upgrade"
	configure 0
	kill -HUP "$(master)"
	sleep 0.5
	upgrade "binary upgrade that cleans the environment"
	stop "$(master)" QUIT
	! grep -E '\[(alert|crit|emerg)\]' "$D/error.log" || fail "nginx complains"
}

matrix nginx_run
