#!/bin/bash
# run_cli_live.sh - ztcp_run, ztcp ss and ztcp why on real connections: lifted, kept by a rule, kept by an option;
# running, stopped and spinning
set -u
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
build=${ZTCP_BUILD:-$here/../../build/release}
run=$build/bin/ztcp_run
tool=$build/bin/ztcp
for f in "$run" "$tool" "$build/lib/libztcp_preload.so"; do
	[ -e "$f" ] || { echo "no $f: build it first"; exit 1; }
done
unset LD_PRELOAD ${!ZTCP_@}
work=$(mktemp -d "${TMPDIR:-/tmp}/run_cli_live.XXXXXX")
failures=0
cleanup() {
	end
	rm -rf "$work"
}
fail() {
	echo "FAIL: $how: $*"
	failures=$((failures + 1))
}

# pair "OPTIONS OF THE SERVER" "OPTIONS OF THE CLIENT" [spin]: both ends under ztcp_run; sets server, server_fd, client, client_fd
pair() {
	local port
	rm -f "$work"/*.out "$work/in" "$work/report"
	: >"$work/server.out"
	mkfifo "$work/in" "$work/client.out"
	# shellcheck disable=SC2086
	"$run" $1 python3 "$here/run_cli_live.py" listen >"$work/server.out" 2>"$work/server.err" &
	server=$!
	for _ in $(seq 1200); do
		port=$(head -1 "$work/server.out")
		[ -n "$port" ] && break
		sleep 0.05
	done
	# shellcheck disable=SC2086
	"$run" $2 python3 "$here/run_cli_live.py" connect "$port" 2000 ${3-} <"$work/in" >"$work/client.out" 2>"$work/client.err" &
	client=$!
	exec {input}>"$work/in"
	read -r -t 120 _ client_fd <"$work/client.out" || fail "the client says nothing: $(cat "$work"/*.err)"
	read -r _ server_fd < <(sed -n 2p "$work/server.out")
}
server='' client='' input=''
end() {
	[ -n "$input" ] && exec {input}>&-
	input=''
	[ -n "$client" ] && wait "$client"
	[ -n "$server" ] && wait "$server"
	server='' client=''
}
trap cleanup EXIT

# value KEY PID FD
value() {
	timeout 60 "$tool" why -j "$2:$3" | python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"
}
# is KEY PID FD WANT
is() {
	local got
	got=$(value "$1" "$2" "$3")
	[ "$got" = "$4" ] || fail "$1 of $2:$3: want $4, got ${got:-nothing}"
}
# adds KEY-SHM KEY-KERNEL PID FD: 200000 bytes in all, most of them by shm
adds() {
	local shm kernel
	shm=$(value "$1" "$3" "$4")
	kernel=$(value "$2" "$3" "$4")
	[ $((shm + kernel)) -eq 200000 ] || fail "$1 $shm and $2 $kernel of $3:$4 are not 200000 together"
	[ "$shm" -gt 100000 ] || fail "$1 of $3:$4 is only $shm"
}
lifted() {
	is reason "$client" "$client_fd" LIFTED
	is path_sent "$client" "$client_fd" shm
	is path_received "$server" "$server_fd" shm
	adds shm_sent kernel_sent "$client" "$client_fd"
	adds shm_received kernel_received "$client" "$client_fd"
	adds shm_sent kernel_sent "$server" "$server_fd"
	adds shm_received kernel_received "$server" "$server_fd"
}

how="both ends"
pair "" "--explain=$work/report"
lifted
"$tool" ss "$client" | grep -q "ESTAB .* shm  *LIFTED .*pid=$client,fd=$client_fd" || fail "ss: $("$tool" ss "$client")"
how="stopped"
kill -STOP "$client" "$server"
lifted
kill -CONT "$client" "$server"
end
grep -q "path=shm reason=LIFTED.* tx=200000 rx=200000 " "$work/report" || fail "the report says: $(cat "$work/report")"

how="spinning"
pair "" "" spin
lifted
end

how="a rule"
cat >"$work/policy" <<'P'
kernel role=connect program=**/python*
P
pair "" "--policy $work/policy"
is reason "$client" "$client_fd" POLICY
is path_sent "$client" "$client_fd" kernel
is shm_sent "$client" "$client_fd" 0
is kernel_sent "$client" "$client_fd" 200000
end

how="a rule for another"
cat >"$work/policy" <<'P'
kernel user=65533
kernel role=listen
lift port=1-65535 remote=127.0.0.0/8 program=python*
kernel
P
pair "" "--policy $work/policy"
lifted
end

how="--path kernel"
pair "" "--path kernel"
is reason "$client" "$client_fd" OPTION_PATH
is kernel_received "$client" "$client_fd" 200000
end

how="--only"
out=$("$run" --only sh -c 'grep -c "$0" /proc/$$/maps >/dev/null && echo in; echo "<$LD_PRELOAD$ZTCP_ONLY>"' libztcp_preload)
[ "$out" = "in"$'\n'"<>" ] || fail "the shell says: $out"
out=$(LD_PRELOAD=libm.so.6 "$run" --only sh -c 'echo "<$LD_PRELOAD>"')
[ "$out" = "<libm.so.6>" ] || fail "another library is not left alone: $out"
out=$("$run" --only sh -c "'$run' env" | sed -n 's/^LD_PRELOAD=//p')
[ "$out" = "$(readlink -f "$build/lib/libztcp_preload.so")" ] || fail "ztcp_run inside of --only: $out"

how="nested"
out=$("$run" "$run" --spin 1 "$run" sh -c 'echo "$ZTCP_SPIN"; exit 3')
[ $? -eq 3 ] && [ "$out" = 1 ] || fail "says $out"

[ "$failures" -eq 0 ] || { echo "$failures checks failed"; exit 1; }
