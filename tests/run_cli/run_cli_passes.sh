#!/bin/bash
# run_cli_passes.sh - exit status, signals, process id, arguments and streams are the program's own
. "$(dirname "${BASH_SOURCE[0]}")/run_cli_lib.bash"

for want in 0 1 42 255; do
	said "$run" sh -c "exit $want"
	same "exit status" "$want" "$status"
done

said "$run" sh -c 'kill -TERM $$'
same "death by SIGTERM" 143 "$status"
said "$run" sh -c 'kill -KILL $$'
same "death by SIGKILL" 137 "$status"

"$run" sh -c 'trap "exit 7" USR1; echo ready >"$0"; while :; do sleep 0.05; done' "$work/ready" &
pid=$!
for _ in $(seq 1200); do [ -s "$work/ready" ] && break; sleep 0.05; done
same "the process is the program" "sh" "$(cat /proc/$pid/comm)"
kill -USR1 $pid
wait $pid
same "a signal to the process reaches the program" 7 $?

same "standard input and output" "one two" "$(echo 'one two' | "$run" cat)"
said "$run" sh -c 'echo to-out; echo to-err >&2'
same "stdout" to-out "$out"
same "stderr" to-err "$err"
same "closed standard input stays closed" "" "$("$run" sh -c '[ -e /proc/self/fd/0 ] && echo open' <&-)"
same "no descriptor is added" "$(ls /proc/self/fd | wc -l)" "$("$run" ls /proc/self/fd | wc -l)"

args=("" "a b" -- --spin '*' $'new\nline')
same "arguments" "$(printf '<%s>' "${args[@]}")" "$("$run" -- printf '<%s>' "${args[@]}")"
same "options behind the program are the program's" "-- --version" "$("$run" sh -c 'echo $*' sh -- --version)"

said "$run" "$work/none"
same "not found: status" 127 "$status"
same "not found: stderr" "ztcp_run: $work/none: No such file or directory" "$err"
said "$run" no-such-program-anywhere
same "not in PATH: status" 127 "$status"
: >"$work/plain"
said "$run" "$work/plain"
same "not executable: status" 126 "$status"
same "not executable: stderr" "ztcp_run: $work/plain: Permission denied" "$err"
said "$run" "$work"
same "a folder: status" 126 "$status"

# As env(1) does, case by case.
for program in "$work/none" "$work/plain" "$work" no-such-program-anywhere true false; do
	env "$program" >/dev/null 2>&1
	want=$?
	"$run" "$program" >/dev/null 2>&1
	same "status of $program, by env" "$want" $?
done

# The signal mask and ignored signals go through.
same "ignored signals" "$(trap '' PIPE; env grep SigIgn /proc/self/status)" \
	"$(trap '' PIPE; "$run" grep SigIgn /proc/self/status)"

# A script without "#!" runs as execvp() has it.
echo 'echo plain script $1' >"$work/script"
chmod +x "$work/script"
said "$run" "$work/script" x
same "script without interpreter line" "plain script x" "$out"
same "and nothing is said of it" "" "$err"

run_cli_end
