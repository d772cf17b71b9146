# web.sh - the web server of interop_host, and who asks it: what interop.sh and nic.sh share; sourced
# shellcheck shell=bash
#
# The caller sets host (the program), work (a folder), patience (seconds) and asker (what goes before curl: another namespace),
# and host_pid when it has started the server with its standard error in $work/host.err.

asker=()

await() { # FILE TEXT: wait until FILE holds TEXT
	for _ in $(seq 1200); do
		grep -qs "$2" "$1" && return 0
		sleep 0.05
	done
	return 1
}

# End the server; it says what it left behind.
served() {
	kill "$host_pid" 2>/dev/null
	wait "$host_pid"
	local rc=$?
	host_pid=
	[ $rc -eq 0 ] || { cat "$work/host.err"; return 1; }
}

fetch() { # URL-HOST BYTES [curl options]
	local to=$1 bytes=$2
	shift 2
	"${asker[@]}" curl -sS --max-time "$patience" "$@" "http://$to/$bytes" -o "$work/got" &&
		cmp "$work/got" <("$host" pattern "$bytes")
}

post() { # URL-HOST BYTES [curl options]
	local to=$1 bytes=$2
	shift 2
	"$host" pattern "$bytes" >"$work/body" &&
		[ "$("${asker[@]}" curl -sS --max-time "$patience" "$@" -X POST -T "$work/body" "http://$to/body")" = ok ]
}
