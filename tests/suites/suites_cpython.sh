#!/bin/bash
# suites_cpython.sh - CPython's own tests of sockets, readiness, socket servers and network clients
#
# A unit is a test module of Debian's libpython3.11-testsuite.
NAME=cpython
PACKAGES="python3.11 libpython3.11-testsuite"
. "$(dirname "$(readlink -f "$0")")/suites_lib.sh"

suite_units() {
	printf '%s\n' test_epoll test_select test_poll test_selectors test_socket test_socketserver \
		test_httplib test_httpservers test_ftplib test_asyncore test_asynchat test_smtplib \
		test_poplib test_telnetlib test_wsgiref test_urllib2_localnet test_docxmlrpc test_fork1 \
		test_pty
}

suite_quick_units() {
	printf '%s\n' test_epoll test_select test_socketserver test_httplib test_httpservers test_ftplib test_socket
}

# slower, or mostly about other things than sockets
suite_soak_units() {
	suite_units
	printf '%s\n' test_asyncio test_ssl test_imaplib test_nntplib test_xmlrpc test_logging \
		test_subprocess test_multiprocessing_fork test_signal test_threadsignals test_os
}

suite_run() {
	local xml=$WORK/junit.xml network="" rc tmp

	# Its own names there come from its process id, which is the same in each PID namespace. Short: of Unix sockets, too.
	tmp=$(mktemp -d) || exit 2

	# these servers are local, yet want the resource "network"
	[ "$1" = test_socketserver ] && network="-u network"
	# AF_VSOCK: its connects hang on some virtual machines, and it is not TCP
	bounded 1000 /usr/bin/python3.11 -m test --timeout 900 --tempdir "$tmp" $network \
		-i 'test.test_socket.*VSOCK*' --junit-xml "$xml" -v "$1"
	rc=$?
	rm -rf "$tmp"
	[ -s "$xml" ] && results_from junit "$xml"
	[ $rc = 0 ] && result PASS "$1 (whole module)" || result FAIL "$1 (whole module)"
}

suite_main "$@"
