# apps_lib.sh - what every test of a real program shares; sourced as the first thing, never run
#
# A test script defines a function that starts servers with "${S[@]}" before them and clients with
# "${C[@]}" before them, checks what they did, and calls `matrix FUNCTION`.  That runs it once a side:
#
#   native   nothing wrapped: proves the test itself
#   both     both ends under ztcp_run, as a user would
#   server   only what S precedes        client   only what C precedes
#   eager    both, ZTCP_LIFT=0: lifted as soon as possible
#   chaos    both, ZTCP_CHAOS=seed: lifted and lowered at random; the seed is printed, SEED sets it
#
# As root every script runs in network, process and mount namespaces of its own; otherwise in place,
# on free ports of the loopback.  Whatever was started is ended by its pid.
#
# Environment: ZTCP_RUN  the program under test (default: bin/ztcp_run of the build folder)
#              SIDES     which sides; KEEP=1 keeps the temporary folder
# Results: $BUILD/apps/NAME.txt, a line a side, for apps_table.sh.
# Exit: 0 all sides right, 1 a check failed, 77 a program is missing.
set -u

APPS=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
BUILD=${ZTCP_BUILD:-$(dirname "$(dirname "$APPS")")/build/release}
ZTCP_RUN=${ZTCP_RUN:-$BUILD/bin/ztcp_run}
PROGRAMS=$BUILD/tests/bin
SIDES=${SIDES:-native both server client eager}
PYTHON=/usr/bin/python3
NAME=$(basename "$0" .sh)
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C.UTF-8
unset ZTCP_EXPLAIN ZTCP_LIFT ZTCP_CHAOS ZTCP_PATH ZTCP_SPIN ZTCP_POLICY ZTCP_ONLY

# descriptors that a test runner left open would be inherited by every program; 255 is the shell's own
for fd in /proc/$$/fd/*; do
	fd=${fd##*/}
	[ "$fd" -le 2 ] || [ "$fd" = 255 ] || eval "exec $fd>&-"
done

if [ "$(id -u)" = 0 ] && [ -z "${APPS_IN_SPACES-}" ]; then
	export APPS_IN_SPACES=1
	exec unshare -n -m -p -f --mount-proc --kill-child -- \
		bash -c 'ip link set lo up; mount -t tmpfs tmpfs /dev/shm; exec bash "$@"' - \
		"$(readlink -f "$0")" "$@"
fi

T=$(mktemp -d "${TMPDIR:-/tmp}/ztcp-$NAME.XXXXXX") || exit 2
chmod 755 "$T"
PIDS=() LOGS=() GIVEN=()
FAILED=0
SIDE=setup
S=() C=()

# ended PID: nothing runs under it (one that is not waited for yet has ended too)
ended() {
	local state

	state=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2> /dev/null)
	[ -z "$state" ] || [ "$state" = Z ]
}

# descendants PID: its children, their children and so on
descendants() {
	local child

	for child in $(cat /proc/"$1"/task/*/children 2> /dev/null); do
		echo "$child"
		descendants "$child"
	done
}

# end_all: whatever is left of a side; every process by its pid
end_all() {
	local pid all=()

	for pid in ${PIDS[@]+"${PIDS[@]}"}; do
		ended "$pid" && continue
		readarray -t -O ${#all[@]} all < <(descendants "$pid")
		all+=("$pid")
	done
	if [ -n "${APPS_IN_SPACES-}" ]; then
		for pid in /proc/[0-9]*; do
			pid=${pid#/proc/}
			[ "$pid" = $$ ] || [ "$pid" = "$BASHPID" ] || ended "$pid" || all+=("$pid")
		done
	fi
	{
		for pid in ${all[@]+"${all[@]}"}; do
			kill -9 "$pid"
		done
		wait
	} 2> /dev/null
	PIDS=()
}

at_exit() {
	local rc=$?

	end_all
	cd /
	if [ -n "${KEEP-}" ]; then echo "$NAME: kept $T"; else rm -rf "$T"; fi
	exit $rc
}
trap at_exit EXIT
trap 'exit 1' INT TERM

# need PROGRAM...: skip the test when one is missing
need() {
	local p

	for p in "$@"; do
		command -v "$p" > /dev/null || { echo "$NAME: skipped, no $p"; exit 77; }
	done
}

# need_file FILE...: the same for files
need_file() {
	local f

	for f in "$@"; do
		[ -e "$f" ] || { echo "$NAME: skipped, no $f"; exit 77; }
	done
}

# fail WORDS...: says so and goes on
fail() {
	echo "$NAME: $SIDE: FAILED: $*"
	FAILED=1
}

# same WHAT GOT EXPECTED
same() {
	[ "$2" = "$3" ] || fail "$1: got '$2', expected '$3'"
}

# check WHAT COMMAND...: the command's output goes to a log, shown when it fails
check() {
	local what=$1 rc

	shift
	timeout -k 5 "${LIMIT:-120}" "$@" > "$D/check.log" 2>&1 < /dev/null
	rc=$?
	[ $rc = 0 ] && return 0
	fail "$what: exit $rc of: $*"
	tail -n 15 "$D/check.log" | sed 's/^/    /'
	return 1
}

# output COMMAND...: runs it with a time limit; its standard output is the result
output() {
	timeout -k 5 "${LIMIT:-120}" "$@" 2>> "$D/stderr.log" < /dev/null
}

listening() {
	awk -v p="$(printf ':%04X$' "$1")" '$4 == "0A" && $2 ~ p { found = 1 } END { exit !found }' \
		/proc/net/tcp /proc/net/tcp6 2> /dev/null
}

# free_port: one that nobody listens on, in $PORT, and the three behind it; each is handed out once
free_port() {
	while :; do
		PORT=$((20000 + RANDOM % 2500 * 4))
		[ -z "${GIVEN[PORT]-}" ] || continue
		awk -v p="$(printf ':(%04X|%04X|%04X|%04X)$' $PORT $((PORT + 1)) $((PORT + 2)) $((PORT + 3)))" \
			'$2 ~ p { found = 1 } END { exit found }' /proc/net/tcp /proc/net/tcp6 2> /dev/null && break
	done
	GIVEN[PORT]=1
}

# spawn LOG COMMAND...: start it in the background, its pid in $PID
spawn() {
	local log=$D/$1.log

	shift
	"$@" > "$log" 2>&1 < /dev/null &
	PID=$!
	PIDS+=("$PID")
	LOGS[PID]=$log
}

# until_true SECONDS COMMAND...: polls
until_true() {
	local end=$((SECONDS + $1))

	shift
	until "$@" 2> /dev/null; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

# wait_port PORT PID: until the server listens; it is not disturbed by a connection
wait_port() {
	local end=$((SECONDS + 60))

	until listening "$1"; do
		if ended "$2" || [ $SECONDS -ge $end ]; then
			fail "the server does not listen on port $1"
			tail -n 8 "$(ls -t "$D"/*.log | head -n 1)" | sed 's/^/    /'
			return 1
		fi
		sleep 0.05
	done
}

# stop PID [SIGNAL [EXPECTED EXIT]]: end a server, wait for it, compare its exit code
stop() {
	local rc

	kill "-${2:-TERM}" "$1" 2> /dev/null
	if ! until_true 60 ended "$1"; then
		fail "pid $1 ($(tr '\0' ' ' < /proc/"$1"/cmdline)) does not end on ${2:-TERM}"
		kill -9 "$1"
	fi
	wait "$1" 2> /dev/null
	rc=$?
	[ -n "${3-}" ] && [ $rc != "$3" ] || return 0
	fail "exit code of the server: got $rc, expected $3"
	tail -n 15 "${LOGS[$1]:-/dev/null}" | sed 's/^/    /'
}

# finish PID WHAT [SECONDS]: wait for a client that was spawned; it has to exit with 0
finish() {
	if ! until_true "${3:-60}" ended "$1"; then
		fail "$2 hangs: $(tr '\0' ' ' < /proc/"$1"/cmdline)"
		kill -9 "$1"
	fi
	wait "$1"
	local rc=$?
	[ $rc = 0 ] || fail "$2: exit $rc"
	return $rc
}

sum() { # sum FILE
	sha256sum < "$1" | cut -d' ' -f1
}

# data FILE BYTES SEED: bytes that look random and are the same in every run
data() {
	openssl enc -aes-128-ctr -K "$(printf '%032x' "$3")" -iv 0 -in /dev/zero 2> /dev/null |
		head -c "$2" > "$1"
}

wrap_for() { # wrap_for SIDE: S and C
	local w=(env "ZTCP_EXPLAIN=$D/explain" "$ZTCP_RUN" --)

	S=() C=()
	case $1 in
	native) ;;
	both) S=("${w[@]}") C=("${w[@]}") ;;
	server) S=("${w[@]}") ;;
	client) C=("${w[@]}") ;;
	eager) w=(env ZTCP_LIFT=0 "${w[@]}"); S=("${w[@]}") C=("${w[@]}") ;;
	chaos) w=(env "ZTCP_CHAOS=$seed" "${w[@]}"); S=("${w[@]}") C=("${w[@]}") ;;
	*) echo "$NAME: no side $1" >&2; exit 2 ;;
	esac
}

# matrix FUNCTION: see the head.  LIFTS=0: its connections need not be lifted; LIFTS=eager: they end so soon that by
# default it is a question of time.
matrix() {
	local began lifted seen seed shm before results=$BUILD/apps/$NAME.txt

	mkdir -p "$BUILD/apps" && : > "$results"

	for SIDE in $SIDES; do
		if [ "$SIDE" != native ] && [ ! -x "$ZTCP_RUN" ]; then
			echo "$NAME: $ZTCP_RUN is not there: build it first" >&2
			exit 2
		fi
		D=$T/$SIDE
		seed=${SEED:-$((RANDOM + 1))}
		rm -rf "$D"
		mkdir -p "$D"
		chmod 777 "$D"
		: > "$D/explain"
		chmod 666 "$D/explain"
		wrap_for "$SIDE"
		cd "$D" || exit 2
		began=$SECONDS before=$FAILED
		shm=$(ls /dev/shm)
		"$1"
		end_all
		[ -z "${APPS_IN_SPACES-}" ] || same "/dev/shm after the run" "$(ls /dev/shm)" "$shm"
		seen=$(grep -c 'path=' "$D/explain")
		lifted=$(grep -c 'path=shm' "$D/explain")
		case $SIDE in
		both | eager | chaos)
			[ "${LIFTS:-1}" = 0 ] || [ "$lifted" -gt 0 ] || { [ "${LIFTS-}" = eager ] && [ "$SIDE" != eager ]; } || fail "no connection was lifted ($seen seen)"
			;;
		esac
		[ "$SIDE" != chaos ] || echo "$NAME: $SIDE: seed $seed"
		echo "$NAME: $SIDE: $seen connections, $lifted lifted, $((SECONDS - began)) s"
		printf '%s\t%s\t%s\t%s\n' "$SIDE" "$([ $FAILED = $before ] && echo ok || echo FAILED)" "$seen" "$lifted" >> "$results"
		# a test that fails natively proves nothing about the other sides
		[ "$SIDE" != native ] || [ $FAILED = $before ] || exit 1
	done
	exit $FAILED
}
