#!/bin/bash
# suites_tornado.sh - the test suite of Tornado: HTTP client and server, IOStream, TCP server, WebSocket
#
# A unit is a test module.
NAME=tornado
PACKAGES="python3-tornado"
. "$(dirname "$(readlink -f "$0")")/suites_lib.sh"

suite_units() {
	printf 'tornado.test.%s_test\n' httpclient httpserver httputil iostream tcpclient tcpserver \
		netutil simple_httpclient curl_httpclient web websocket process ioloop asyncio testing \
		autoreload
}

suite_quick_units() {
	printf '%s\n' tornado.test.iostream_test tornado.test.httpserver_test tornado.test.tcpserver_test tornado.test.websocket_test
}

suite_soak_units() {
	suite_units
	printf 'tornado.test.%s_test\n' auth concurrent gen locks log queues routing template wsgi
}

suite_run() {
	local rc

	bounded 300 /usr/bin/python3.11 "$SUITES/suites_unittest.py" "$RES" "$1"
	rc=$?
	[ $rc = 0 ] && result PASS "$1 (whole module)" || result FAIL "$1 (whole module)"
}

suite_main "$@"
