#!/bin/bash
# daemon_lacks.sh - a kernel that lacks something: the calls of bpf() that ztcpd makes are refused in turn, and each kind of call for good;
# no BTF, no cgroup v2, no capabilities. ztcpd says what it lacks and serves the rest; programs are on a correct path, and each
# connection says why
. "$(dirname "$(readlink -f "$0")")/daemon_lib.sh"
need redis-server redis-benchmark setpriv
. "$HERE/daemon_net.bash"

FAIL_BPF=$BUILD/tests/bin/bpf_fail
EPERM=1 EINVAL=22 ENOSYS=38
PORT=6399 KEPT=6398
STEP=${STEP:-1}
WITHIN=(--cgroup "$CGROUP")
touch "$T/server" "$T/client"
chmod 666 "$T/server" "$T/client"

# ask WHO HOST PORT: 2 connections with enough requests to be lifted; their reports in $T/client
ask() {
	local -n who=$1
	: >"$T/client"
	"${who[@]}" timeout 60 "$RUN" --explain="$T/client" redis-benchmark -h "$2" -p "$3" -t get -n 400 -c 2 -q >"$T/bench" 2>&1 ||
		fail "$PLAN: requests to $2:$3 failed: $(tail -2 "$T/bench")"
	grep -q 'path=' "$T/client" || fail "$PLAN: nothing was reported"
}

# The program's first connection ends after one question, another one perhaps after a few, and says that this was too few.
reasons() {
	awk '!/reason=WARMING/ || (match($0, / tx=[0-9]+/) && substr($0, RSTART + 4, RLENGTH - 4) + 0 > 4000)' "$T/client" | sed -n 's/.*path=kernel reason=\([A-Z_]*\).*/\1/p' | sort -u | xargs
}

# outcome: what became of the connections of the last ask: "lifted", or the reasons of those that were not
outcome() {
	local why
	why=$(reasons)
	echo "${why:-lifted}"
}

# serve PROGRAM...: ztcpd by way of it. Sets $UP: whether it serves.
serve() {
	: >"$T/ready"
	: >"$T/refused"
	: >"$T/ztcpd.err"
	"$@" "$ZTCPD" --pin "$PIN" "${WITHIN[@]}" --ready-fd 3 3>"$T/ready" 2>>"$T/ztcpd.err" &
	DAEMON=$!
	PIDS=("$KEPT_BY" "$DAEMON")
	until_true 60 served || fail "$PLAN: ztcpd neither serves nor ends"
	UP=
	[ ! -s "$T/ready" ] || UP=yes
	redis $PORT # a listener that the selector has seen
}

served() {
	[ -s "$T/ready" ] || ! kill -0 "$DAEMON" 2>/dev/null
}

stop() {
	local status
	if [ -n "$UP" ]; then
		kill -0 "$DAEMON" 2>/dev/null || fail "$PLAN: ztcpd has ended: $(cat "$T/ztcpd.err")"
		# unshare stays in front of a new PID namespace and hears nothing
		[ "$(cat "/proc/$DAEMON/comm")" = unshare ] && kill "$(pgrep -P "$DAEMON")" || kill "$DAEMON"
	fi
	wait "$DAEMON"
	status=$?
	finish "$REDIS"
	same "$PLAN: how ztcpd ended" "${UP:+0}${UP:-1}" "${status}${UP:+yes}"
	"$ZTCPD" --detach --pin "$PIN" || fail "$PLAN: detach"
	[ ! -e "$PIN" ] || fail "$PLAN: left behind: $(find "$PIN")"
}

# What holds whatever is lacking: a rule for the kernel is kept to, and who is not lifted is told why.
sound() {
	local why
	ask B 127.0.0.1 $KEPT
	same "$PLAN: against a rule for the kernel" 0 "$(lifted)"
	case $(reasons) in POLICY | UNJUDGED) ;; *) fail "$PLAN: kept by a rule, and says $(reasons)" ;; esac
	for why in "B 127.0.0.1" "A 10.9.0.2"; do
		# shellcheck disable=SC2086 # two words
		until_true 60 told $why || fail "$PLAN: $why: $(outcome): $(cat "$T/client")"
	done
}

# told WHO HOST: each connection is lifted or says what for it is not; one that ends while its ends are joined may still say WARMING
told() {
	ask "$1" "$2" $PORT
	case $(outcome) in
	*NONE*) fail "$PLAN: $1 $2: no reason: $(cat "$T/client")" ;;
	*WARMING*) return 1 ;;
	esac
}

# lack WHAT-IS-SAID SAME-NAMESPACE ACROSS PROGRAM...: for good; how connections in one namespace, and across, must fare
lack() {
	local said=$1 here=$2 across=$3
	shift 3
	serve "$@"
	[ -n "$UP" ] || fail "$PLAN: it serves nothing: $(cat "$T/ztcpd.err")"
	grep -q "$said" "$T/ztcpd.err" || fail "$PLAN: not said: $said; but: $(cat "$T/ztcpd.err")"
	sound
	settles B 127.0.0.1 "$here"
	settles A 10.9.0.2 "$across"
	stop
}

# settles WHO HOST WANT: an introduction may take longer than few requests
settles() {
	until_true 60 outcome_is "$@" || fail "$PLAN: $1 to $2: want '$3', got '$(outcome)'"
}

outcome_is() {
	ask "$1" "$2" $PORT
	[ "$(outcome)" = "$3" ]
}

# refused WHAT-IS-SAID SAME ACROSS PLAN: the same, by a kind of call; it must be one that is made
refused() {
	PLAN="every call $4"
	lack "$1" "$2" "$3" "$FAIL_BPF" "$4" "$T/refused"
	[ -s "$T/refused" ] || fail "$PLAN: no such call is made"
}

start() {
	net_up
	policy "lift path=shm port=$PORT" kernel
	redis $KEPT
	KEPT_BY=$REDIS
}

nothing() {
	local no="no selector: "
	refused "$no" lifted PEER_REMOTE all/$EPERM  # as seccomp of a container has it, and unprivileged_bpf_disabled
	refused "$no" lifted PEER_REMOTE all/$ENOSYS # as seccomp of others, and a kernel without
	refused "no selector: " lifted PEER_REMOTE 5:-1/$EPERM # no program: what unprivileged_bpf_disabled=0 leaves to who has no CAP_BPF
	PLAN="no CAP_BPF, unprivileged_bpf_disabled=$(cat /proc/sys/kernel/unprivileged_bpf_disabled)"
	lack "$no" lifted PEER_REMOTE setpriv --bounding-set -bpf,-sys_admin --inh-caps -bpf,-sys_admin
	PLAN="no capabilities"
	lack "$no" lifted PEER_REMOTE setpriv --bounding-set -all,+setpcap --inh-caps -all
	PLAN="no BTF"
	lack "$no" lifted PEER_REMOTE unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf && exec "$@"' -
	ip netns exec a unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf && exec "$@"' - "$ZTCP" nic attach va 2>"$T/nic" &&
		fail "$PLAN: ztcp nic attach"
	grep -q "va: load the program: this kernel has no BTF" "$T/nic" || fail "$PLAN: ztcp nic attach says: $(cat "$T/nic")"
	PLAN="another PID namespace"
	lack "not in the initial PID namespace" lifted PEER_REMOTE unshare -p -f --mount-proc
	PLAN="no cgroup v2"
	WITHIN=() # there is no such folder then
	lack "no cgroup v2" lifted PEER_REMOTE unshare -m sh -c 'umount -l "$0" && exec "$@"' "$CGROOT"
	PLAN="cgroup v1 only"
	lack "no cgroup v2" lifted PEER_REMOTE unshare -m sh -c 'umount -l "$0" && mount -t cgroup -o none,name=ztcp none /mnt && exec "$@"' "$CGROOT"
	WITHIN=(--cgroup "$CGROUP")
}

# Kinds of calls, as an older kernel, or one that was built without, refuses them: maps, programs, hooks
kinds() {
	local type
	for type in 1 2 3 9 12 24 27; do # hash, array, programs, LRU hash, array of maps, socket storage, ring buffer
		refused "no selector: " lifted PEER_REMOTE 0:$type/$EINVAL
	done
	refused "without answer" lifted PEER_REMOTE 5:25/$EINVAL     # programs for socket options
	refused "without answer" lifted PEER_REMOTE 28:21/$EINVAL    # their hooks: getsockopt
	refused "without claim" lifted NO_DAEMON 28:22/$EINVAL       # setsockopt
	refused "without attest" lifted PEER_REMOTE 5:13/$EINVAL     # sockops
	refused "without attest" lifted PEER_REMOTE 28:3/$EINVAL
	refused "without kinds" lifted lifted 5:26/$EINVAL           # iter/task
	refused "without kinds" lifted lifted 28:28/$EINVAL
	refused "without pin" lifted lifted 6:-1/$EPERM
	refused "policy: " POLICY POLICY 26:-1/$EINVAL               # a table filled at once: no policy can be put into force
	policy "lift path=shm port=$PORT program=redis-*" kernel
	refused "without kinds" UNJUDGED UNJUDGED 5:26/$EINVAL
	policy "lift path=shm port=$PORT" kernel
}

# Each call in turn from FIRST on, or each STEP-th, until there are no more
each() {
	local n
	for ((n = ${FIRST:-1}; n < 1000; n += STEP)); do
		PLAN="call $n"
		serve "$FAIL_BPF" $n/$((n % 2 ? EPERM : EINVAL)) "$T/refused"
		[ -n "$UP" ] || grep -q "cannot start" "$T/ztcpd.err" || fail "$PLAN: it ended without a word"
		sound
		stop
		[ -s "$T/refused" ] || break
	done
	[ $n -gt 60 ] || fail "only $n calls were made"
	echo "$n calls"
}

# And then a kernel that lacks nothing
whole() {
	PLAN="nothing refused"
	serve
	same "$PLAN: said" "" "$(cat "$T/ztcpd.err")"
	settles A 10.9.0.2 lifted
	stop
}

for part in ${PARTS:-start nothing kinds each whole}; do
	$part
	echo "$part: done"
done
end
