#!/bin/bash
# suites_gnome.sh - the installed tests of GLib, libsoup and glib-networking
#
# C programs: sockets, listeners, HTTP/1 and HTTP/2 client and server, WebSocket, TLS, D-Bus.  A unit
# is a program.  The soak run takes all of them but those that want an Apache of their own set up.
NAME=gnome
PACKAGES="libglib2.0-tests libsoup2.4-tests libsoup-3.0-tests glib-networking glib-networking-tests"
. "$(dirname "$(readlink -f "$0")")/suites_lib.sh"
INSTALLED=/usr/share/installed-tests

suite_units() {
	printf 'glib/%s\n' socket socket-service socket-address socket-listener gsocketclient-slow \
		network-address inet-address network-monitor network-monitor-race gdbus-server-auth \
		gdbus-connection pollable proxy-test unix-streams unix-fd mainloop
	printf 'libsoup-3.0/%s\n' chunk-io-test continue-test server-test server-auth-test \
		streaming-test timeout-test websocket-test http2-test misc-test unix-socket-test \
		request-body-test redirect-test session-test
	printf 'glib-networking/%s\n' connection-gnutls
}

suite_quick_units() {
	printf '%s\n' glib/socket glib/socket-service libsoup-3.0/chunk-io-test libsoup-3.0/websocket-test libsoup-3.0/streaming-test glib-networking/connection-gnutls
}

suite_soak_units() {
	suite_units
	cd $INSTALLED && ls libsoup-2.4/*.test libsoup-3.0/*.test glib-networking/*.test |
		sed 's/\.test$//' | grep -vE '/(auth|connection|multithread|proxy|range)-test$' |
		grep -vxF libsoup-2.4/misc-test | grep -vxFf <(suite_units)
}

suite_run() {
	local command rc

	command=$(sed -n 's/^Exec=//p' "$INSTALLED/$1.test" | head -n 1)
	[ -n "$command" ] || { result FAIL "$1 (no such program)"; return; }
	bounded 60 sh -c "exec $command"
	rc=$?
	results_from tap "$LOG" "$1" $rc
}

suite_main "$@"
