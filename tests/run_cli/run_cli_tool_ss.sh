#!/bin/bash
# run_cli_tool_ss.sh - ztcp ss and ztcp why on processes that publish rightly, wrongly, or stand still
. "$(dirname "$0")/run_cli_publish.bash"

# field KEY FD: of the connection that descriptor FD of $pid names
field() {
	awk -v pid="$pid" -v fd="$2" -v key="$1" '$1 == pid && $2 == fd && $3 == key { print $4 }' "$work/flat"
}

# shows KEY FD WANT
shows() {
	local got
	got=$(field "$1" "$2")
	[ "$got" = "$3" ] || fail "$how: $1 of descriptor $2: want $3, got ${got:-nothing}"
}

# list [PID]: what ztcp ss says, as lines "pid fd key value"
list() {
	timeout 60 "$tool" ss -j "$@" >"$work/json" || fail "$how: ztcp ss -j $* ends with status $?"
	python3 -c '
import json, sys
for c in json.load(sys.stdin):
    for u in c["users"]:
        for key, value in c.items():
            if not isinstance(value, (dict, list)):
                print(u["pid"], u["fd"], key, value)
' <"$work/json" >"$work/flat" || fail "$how: ztcp ss -j $* prints no JSON: $(head -c 200 "$work/json")"
}

good_shown() {
	list
	shows path_sent "$client" shm
	shows path_received "$client" kernel
	shows reason "$client" LIFTED
	shows shm_sent "$client" 1500
	shows shm_received "$client" 70
	shows kernel_sent "$client" 5
	shows kernel_received "$server" 5
	shows lifts "$client" 3
	shows lowers "$client" 2
	shows reason "$server" PEER_PLAIN
	shows path_sent "$server" kernel
}

how=good
begin good
good_pid=$pid good_client=$client good_cookie=$cookie
good_shown
text=$("$tool" ss "$pid")
grep -q "ESTAB .* shm/kernel *LIFTED .*users:((\"tool_publish\",pid=$pid,fd=$client))" <<<"$text" ||
	fail "text of ss: $text"
text=$("$tool" why "$pid:$client")
grep -q "^reason 2 LIFTED: the peer is on this host" <<<"$text" || fail "text of why: $text"
grep -q "^sends on shm: 1500 bytes by shm, 5 by the kernel$" <<<"$text" || fail "text of why: $text"
"$tool" why -j "$pid:$client" | python3 -c 'import json, sys
d = json.load(sys.stdin)
assert d["reason_number"] == 2 and d["shm_sent"] == 1500 and d["followed"], d' || fail "ztcp why -j"

how=stopped
begin stopped
for _ in $(seq 3000); do grep -q '^State:.T' "/proc/$pid/status" && break; sleep 0.02; done
grep -q '^State:.T' "/proc/$pid/status" || fail "the publisher does not stop"
good_shown

how=young
begin young
list "$pid"
shows reason "$client" WARMING
shows reason "$server" PEER_PLAIN
shows path_sent "$client" kernel
child=$(pgrep -P "$pid")
grep -q "WARMING" < <("$tool" why "$child:$client") || fail "young: an inherited row with two holders"
grep -q "^kernel: " < <("$tool" why "$child:$server") || fail "young: a row that the child has left"

how=nonsense
begin nonsense
list "$pid"
shows path_sent "$client" shm
shows reason "$client" '?'
shows shm_sent "$client" 0
shows shm_received "$client" 0
shows shm_sent "$server" 7

how="cut"
begin cut
list "$pid"
shows followed "$client" False

how=other
begin other
list "$pid"
shows followed "$client" False

how=stolen
begin stolen "$good_cookie"
list
shows followed "$client" False
pid=$good_pid
shows shm_sent "$good_client" 1500
shows reason "$good_client" LIFTED

how=torn
begin torn
for _ in 1 2 3 4 5 6 7 8 9 10; do
	list "$pid"
	sent=$(field shm_sent "$client")
	[ "$sent" -le 1000000000 ] 2>/dev/null || fail "torn: shm_sent is $sent"
done

how=elsewhere
begin elsewhere
text=$("$tool" ss "$pid")
grep -q "ESTAB .*127.0.0.1:" <<<"$text" && ! grep -q ":666 " <<<"$text" || fail "elsewhere: the kernel's word does not hold: $text"

how=hoard
begin hoard
list "$pid" 2>"$work/err"
grep -qx "ztcp: process $pid publishes more than is read" "$work/err" || fail "hoard: not said: $(head -c 200 "$work/err")"

how=tomorrow
begin tomorrow
text=$(timeout 60 "$tool" tcpdump -c 4 -p "$pid" 2>/dev/null) || fail "tomorrow: not shown today"
grep -q "Flags \[P.\], .* length 8, shm" <<<"$text" || fail "tomorrow: not shown: $text"

if [ "$(id -u)" -eq 0 ]; then
	how=forged
	begin forged
	for _ in {1..100}; do
		timeout 60 "$tool" ss "$pid" 2>/dev/null
	done >"$work/forged"
	grep ':666\>' "$work/forged" && fail "forged: believed"
	kill -KILL "$pid"
fi

# Only one's own.
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	how=stranger
	cp "$tool" "$work/ztcp" && chmod 755 "$work" "$work/ztcp"
	other=$(setpriv --reuid 65534 --regid 65534 --clear-groups "$work/ztcp" ss -j)
	[ "$other" = '[]' ] || fail "another user sees: $other"
	other=$(setpriv --reuid 65534 --regid 65534 --clear-groups "$work/ztcp" why "$good_pid:$good_client" 2>&1)
	[ "$other" = "ztcp: process $good_pid: it is not yours" ] || fail "another user asks why: $other"
fi

# What is no connection of a program under ztcp_run.
python3 -c '
import os, socket, subprocess, sys
tool = sys.argv[1]
l = socket.socket()
l.bind(("127.0.0.1", 0))
l.listen()
def why(fd):
    r = subprocess.run([tool, "why", "%d:%s" % (os.getpid(), fd)], capture_output=True, text=True)
    return r.returncode, r.stdout + r.stderr
rc, text = why(l.fileno())
assert rc == 0 and "does not run under ztcp_run" in text, text
r, w = os.pipe()
rc, text = why(r)
assert rc == 1 and "is no TCP socket" in text and "pipe:" in text, text
rc, text = why(999)
assert rc == 1 and "has no descriptor 999" in text, text
' "$tool" || fail "ztcp why on other things"

grep -q "policy check" <<<"$("$tool" policy check --help)" || fail "help of a command in two words"
usage "which command? see ztcp --help"
usage "unknown command 'frob'; see ztcp --help" frob
usage "'x': expected the id of a process" ss x
usage "usage: ztcp why [-j] PID:FD" why
usage "usage: ztcp why [-j] PID:FD" why 1:2:3
usage "usage: ztcp why [-j] PID:FD" why 1
usage_error=$("$tool" ss -z 2>&1)
[ $? -eq 2 ] && [ "$usage_error" = "ztcp ss: invalid option -- 'z'" ] || fail "ztcp ss -z says: $usage_error"
[ "$("$tool" why --help)" = "$("$tool" --help | sed -n '1p; / ztcp why /p')" ] || fail "ztcp why --help: $("$tool" why --help)"
"$tool" ss 2147483647 >/dev/null 2>"$work/err" && fail "ss of no process succeeds"
grep -qx "ztcp: process 2147483647: there is none" "$work/err" || fail "ss of no process: $(cat "$work/err")"
"$tool" --help >/dev/full 2>/dev/null && fail "--help onto a full device succeeds"

publish_end
