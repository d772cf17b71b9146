#!/bin/bash
# apps_java.sh - Java: NIO selectors, streams and asynchronous channels; Netty under wrk
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need java javac wrk curl
# Debian's netty-all.jar is empty: the parts are jars of their own
NETTY=""
for part in buffer codec codec-http common handler resolver transport; do
	[ -e /usr/share/java/netty-$part.jar ] && NETTY=$NETTY:/usr/share/java/netty-$part.jar
done

javac -d "$T" "$APPS/AppsNio.java" > "$T/javac.log" 2>&1 || { fail "javac: $(tail -n 3 "$T/javac.log")"; exit 1; }
if [ -n "$NETTY" ]; then
	javac -cp "${NETTY#:}" -d "$T" "$APPS/AppsNetty.java" > "$T/javac.log" 2>&1 ||
		{ fail "javac: $(tail -n 3 "$T/javac.log")"; exit 1; }
fi
# a small heap, and no time lost with the optimising compiler
JAVA=(java -Xmx256m -XX:TieredStopAtLevel=1 -cp "$T$NETTY")

nio() {
	local selectors

	for selectors in 1 3; do
		free_port
		spawn nio$selectors "${S[@]}" "${JAVA[@]}" AppsNio server $PORT $selectors
		wait_port $PORT $PID || return
		check "clients, $selectors selectors" "${C[@]}" "${JAVA[@]}" AppsNio client $PORT
		# 143: ended by SIGTERM, as the JVM says it
		stop $PID TERM 143
	done
}

netty() {
	local path

	free_port
	spawn netty "${S[@]}" "${JAVA[@]}" AppsNetty $PORT 2
	wait_port $PORT $PID || return
	same "hello" "$(output "${C[@]}" curl -sS "http://127.0.0.1:$PORT/")" "hello, netty"
	data "$D/sent" 3000000 7
	output "${C[@]}" curl -sS -H Expect: --data-binary "@$D/sent" -o "$D/got" "http://127.0.0.1:$PORT/" || fail "curl: exit $?"
	same "checksum of what came back" "$(sum "$D/got")" "$(sum "$D/sent")"
	for path in / "/ -H Connection:close"; do
		output "${C[@]}" wrk -t1 -c32 -d1s --timeout 30s "http://127.0.0.1:$PORT"$path > "$D/wrk.log" || fail "wrk $path: exit $?"
		! grep -E 'Socket errors|Non-2xx' "$D/wrk.log" || fail "wrk $path"
		grep -q 'requests in' "$D/wrk.log" || fail "wrk $path: no request"
	done
	stop $PID TERM 143
}

java_run() {
	nio
	[ -z "$NETTY" ] || netty
}

matrix java_run
