#!/bin/bash
# apps_inetd.sh - servers that fork and exec a program for every connection: our own, socat's, and inherited listeners
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
# connections that a child gets by fork and exec stay on the kernel
LIFTS=0
need socat
need_file "$PROGRAMS/apps_inetd"

# talks HOW: cat and a shell at the other end; bytes unchanged, end of file seen, exit at the end
talks() {
	local i pids=()

	for i in 1 2 3 4; do
		data "$D/sent$i" $((i * 700001)) $i
		(timeout 60 "${C[@]}" socat -t 60 - "TCP:127.0.0.1:$PORT" < "$D/sent$i" > "$D/got$i") &
		pids+=($!)
		PIDS+=("$!")
	done
	for i in 1 2 3 4; do
		wait "${pids[i - 1]}" || fail "$1: client $i: exit $?"
		cmp -s "$D/got$i" "$D/sent$i" || fail "$1: what came back differs ($(stat -c %s "$D/got$i") of $(stat -c %s "$D/sent$i") bytes)"
	done
}

# a dialogue, line by line, so that the connection is lifted in the middle of it
dialogue() {
	local i line

	coproc ASK { exec "${C[@]}" socat - "TCP:127.0.0.1:$PORT"; }
	local pid=$ASK_PID out=${ASK[0]} in=${ASK[1]}
	PIDS+=("$pid")
	for i in $(seq 1 60); do
		echo "echo answer $((i * i)) | cat" >&"$in"
		if ! read -r -t 60 line <&"$out" || [ "$line" != "answer $((i * i))" ]; then
			fail "$1: question $i: '${line-}'"
			break
		fi
	done
	echo "exit 0" >&"$in"
	until_true 60 ended $pid || fail "$1: the client does not end"
	exec {in}>&-
	wait $pid 2> /dev/null
}

inetd_run() {
	local how server

	for how in fork vfork spawn; do
		free_port
		spawn cat-$how "${S[@]}" "$PROGRAMS/apps_inetd" $PORT $how /bin/cat
		server=$PID
		wait_port $PORT $server || return
		talks $how
		stop $server TERM
		free_port
		spawn sh-$how "${S[@]}" "$PROGRAMS/apps_inetd" $PORT $how /bin/sh
		server=$PID
		wait_port $PORT $server || return
		dialogue $how
		stop $server TERM
	done
	free_port
	spawn socat "${S[@]}" socat "TCP-LISTEN:$PORT,bind=127.0.0.1,fork,reuseaddr,backlog=20" EXEC:cat,nofork
	server=$PID
	wait_port $PORT $server || return
	talks "socat EXEC"
	stop $server TERM
	# a listener that is inherited as descriptor 0, as inetd's "wait" services get it
	free_port
	cat > "$D/inherit.py" <<-'PY'
	import socket
	s, _ = socket.socket(fileno=0).accept()
	while data := s.recv(100000):
	    s.sendall(data)
	PY
	spawn wait "${S[@]}" "$PROGRAMS/apps_inetd" $PORT wait "$PYTHON" "$D/inherit.py"
	server=$PID
	wait_port $PORT $server || return
	talks "inherited listener"
	stop $server TERM
}

matrix inetd_run
