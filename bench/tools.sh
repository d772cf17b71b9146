# tools.sh - how each program is started and its output read; sourced after lib.sh
# shellcheck shell=bash
#
# <tool>_serve starts the server of the current configuration on $PORT and waits for it;
# <tool>_run CASE ... runs one client and records its figures under CASE.

as_root() { [ "$(id -u)" -eq 0 ]; }

# --- redis ---------------------------------------------------------------------------------------

# redis_serve OPTION...
redis_serve() {
	(cd "$TMP" && rm -f redis.sock)
	serve redis-server --port "$PORT" --bind 127.0.0.1 --dir "$TMP" --save '' --appendonly no \
		--unixsocket "$TMP/redis.sock" "$@"
	wait_port "$PORT"
}

# redis_run CASE TESTS OPTION...: CASE names the connections; each test's name goes before it.
redis_run() {
	local case=$1 tests=$2 n test rate p50 p99 slowest=''
	shift 2
	n=$(operations "$case")
	client redis-benchmark -h "${HOST:-127.0.0.1}" -p "$PORT" -t "$tests" -d 64 -n "$n" --csv "$@"
	while IFS=, read -r test rate _ _ p50 _ p99 _; do
		test=${test,,}
		[ "$test" = test ] && continue
		put "$test-$case" rate "$rate"
		put "$test-$case" p50 "$(awk -v x="$p50" 'BEGIN { print x * 1000 }')"
		put "$test-$case" p99 "$(awk -v x="$p99" 'BEGIN { print x * 1000 }')"
		awk -v a="$rate" -v b="${slowest:-1e18}" 'BEGIN { exit !(a < b) }' && slowest=$rate
		[[ $tests = *,* ]] || put_rate_cpu "$test-$case" "$n"
	done < <(tr -d '"' <"$OUT")
	[ -n "$slowest" ] || die "$CFG: redis-benchmark gave no figure"
	RATE[$case,$CFG]=$slowest
}

# put_rate_cpu CASE OPERATIONS: operations per second of CPU time at both ends.
put_rate_cpu() {
	put "$1" percpu "$(awk -v n="$2" -v c="$CLIENT_CPU" -v s="$SERVER_CPU" \
		'BEGIN { print n / (c + s + 1e-9) }')"
}

# In the warming round the first guess at a rate is poor where connections are lifted: twice.
redis_warm() {
	[ "$ROUND" -ne 0 ] || redis_run "$@"
}

# --- sockperf ------------------------------------------------------------------------------------

sockperf_serve() {
	serve sockperf sr --tcp -i "${HOST:-127.0.0.1}" -p "$PORT" $EXTRA
	wait_port "$PORT"
}

# Sockperf makes room for 600 thousand round trips a second unless it is told to expect more.
sockperf_pingpong() {
	local case=$1 q
	client sockperf pp --tcp -i "${HOST:-127.0.0.1}" -p "$PORT" -m 64 -t "$SECS" --mps=10000000 $EXTRA
	for q in 50 99; do
		put "$case" "p$q" "$(sed -n "s/.*percentile $q\.000 = *//p" "$OUT")"
	done
}

sockperf_throughput() {
	client sockperf tp --tcp -i "${HOST:-127.0.0.1}" -p "$PORT" -m 64 -t "$SECS" $EXTRA
	put "$1" rate "$(sed -n 's/.*Message Rate is \([0-9.]*\).*/\1/p' "$OUT")"
}

# --- iperf3 --------------------------------------------------------------------------------------

iperf3_serve() {
	serve iperf3 -s -B "${HOST:-127.0.0.1}" -p "$PORT"
	wait_port "$PORT"
}

# iperf3_run CASE LENGTH [OPTION...]
iperf3_run() {
	client iperf3 -c "${HOST:-127.0.0.1}" -p "$PORT" -t "$SECS" -l "$2" -f m "${@:3}"
	put "$1" rate "$(awk '/receiver/ { for (i = 1; i < NF; i++) if ($(i + 1) == "Mbits/sec") print $i }' "$OUT")"
}

# --- wrk and what answers it ---------------------------------------------------------------------

# wrk_run CASE PATH OPTION...
wrk_run() {
	local case=$1 path=$2
	shift 2
	client wrk -t1 -c64 -d"${SECS}s" --latency "$@" "http://${HOST:-127.0.0.1}:$PORT$path"
	! grep -Eq 'Non-2xx|Socket errors: connect [^0]' "$OUT" || { cat "$OUT" >&2; die "$CFG: errors in $case"; }
	put "$case" rate "$(awk '/^Requests\/sec/ { print $2 }' "$OUT")"
	put "$case" p99 "$(awk '$1 == "99%" { u = $2; x = $2 + 0
		print u ~ /us$/ ? x : u ~ /ms$/ ? x * 1e3 : x * 1e6 }' "$OUT")"
	put_rate_cpu "$case" "$(awk '/ requests in / { print $1 }' "$OUT")"
}

nginx_config() {
	cat >"$TMP/nginx.conf" <<-END
	daemon off;
	pid $TMP/nginx.pid;
	worker_processes 1;
	error_log stderr error;
	$(as_root && echo 'user root;')
	events { worker_connections 1024; }
	http {
		access_log off;
		sendfile on;
		keepalive_requests 1000000000;
		client_body_temp_path $TMP/body; proxy_temp_path $TMP/proxy;
		fastcgi_temp_path $TMP/fastcgi; uwsgi_temp_path $TMP/uwsgi; scgi_temp_path $TMP/scgi;
		server {
			listen ${HOST:-127.0.0.1}:$1;
			root $TMP/www;
			location = / { return 200 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n"; }
		}
	}
	END
	mkdir -p "$TMP/www"
	head -c 1024 /dev/zero | tr '\0' x >"$TMP/www/1k"
	head -c 102400 /dev/zero | tr '\0' x >"$TMP/www/100k"
}

# nginx_serve [PORT [CORE]]
nginx_serve() {
	local port=${1:-$PORT}
	nginx_config "$port"
	serve_on "${2:-${CFG_S[$CFG]}}" nginx -e stderr -p "$TMP" -c "$TMP/nginx.conf"
	wait_port "$port"
}

haproxy_serve() {
	cat >"$TMP/haproxy.cfg" <<-END
	global
		nbthread 1
	defaults
		mode http
		timeout connect 5s
		timeout client 60s
		timeout server 60s
		http-reuse always
	frontend f
		bind 127.0.0.1:$PORT
		default_backend b
	backend b
		server n1 127.0.0.1:$1
	END
	serve haproxy -db -f "$TMP/haproxy.cfg"
	wait_port "$PORT"
}

netty_compile() {
	javac -cp "$NETTY_JARS" -d "$TMP" "$BENCH_DIR/app/HelloServer.java" || die "javac failed"
}

netty_serve() {
	serve java -XX:+UseSerialGC -Xmx512m -cp "$NETTY_JARS:$TMP" HelloServer "$PORT"
	wait_port "$PORT"
}

# --- memcached -----------------------------------------------------------------------------------

memcached_serve() {
	local user=()
	! as_root || user=(-u root)
	serve memcached "${user[@]}" -l 127.0.0.1 -p "$PORT" -U 0 -t "$1"
	wait_port "$PORT"
}

memcached_run() {
	client memcaslap -s "127.0.0.1:$PORT" -T 1 -c 64 -w 1k -t "${SECS}s"
	put "$1" rate "$(sed -n 's/.*TPS: \([0-9]*\).*/\1/p' "$OUT")"
	put_rate_cpu "$1" "$(sed -n 's/^Run time:.*Ops: \([0-9]*\).*/\1/p' "$OUT")"
}

# --- fio against nbdkit --------------------------------------------------------------------------

nbd_serve() {
	serve nbdkit -f -t 1 -i "${HOST:-127.0.0.1}" -p "$PORT" memory 1G
	wait_port "$PORT"
}

# nbd_run CASE randread|randwrite DEPTH
nbd_run() {
	local column=8
	[ "$2" = randread ] || column=49
	client fio --name=r --ioengine=nbd --uri="nbd://${HOST:-127.0.0.1}:$PORT/" --rw="$2" --bs=4k \
		--iodepth="$3" --size=1G --time_based --runtime="$SECS" --thread=1 \
		--randseed=1 --output-format=terse --terse-version=3
	put "$1" rate "$(awk -F';' -v c=$column '/^3;fio/ { print $c }' "$OUT")"
	put "$1" p99 "$(awk -F';' -v c=$column '/^3;fio/ {
		for (i = c + 10; i < c + 30; i++) if ($i ~ /^99\.0/) { sub(".*=", "", $i); print $i } }' "$OUT")"
	put_rate_cpu "$1" "$(awk -F';' -v c=$column -v t="$SECS" '/^3;fio/ { print $c * t }' "$OUT")"
}
