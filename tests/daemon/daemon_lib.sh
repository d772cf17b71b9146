# daemon_lib.sh - what the tests of ztcpd and its tools share; sourced first
#
# As root each runs in mount and network namespaces of its own (ztcpd must see the initial one of processes), with an empty /etc/ztcp, /etc/netns and /run:
# nothing of the host is read or written but the selector's programs, which are pinned under a name of the test's
# and attached to a cgroup of its own. Whatever was started is ended by its pid. The programs and these scripts are at
# /run/build and /run/tests there: the tree may be where other users cannot look, such as /root.
set -u

HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
BUILD=${ZTCP_BUILD:-$(dirname "$(dirname "$HERE")")/build/release}
RUN=$BUILD/bin/ztcp_run
ZTCP=$BUILD/bin/ztcp
ZTCPD=$BUILD/bin/ztcpd
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C.UTF-8
unset LD_PRELOAD ${!ZTCP_@}

skip() {
	echo "skipped: $*"
	exit 77
}

need() {
	local program
	for program; do
		command -v "$program" >/dev/null || skip "no $program"
	done
}

[ "$(id -u)" = 0 ] || skip "needs root: namespaces"
if [ -z "${DAEMON_IN_SPACES-}" ]; then
	# as they stand in ztcpd's name
	DAEMON_VERSIONS=$(sed -n 's/.*\(AGENT\|SHM\)_VERSION = \([0-9]*\).*/\2/p' "$HERE"/../../shm/{agent,contract}.h | paste -sd.)
	export DAEMON_VERSIONS
	export DAEMON_IN_SPACES=1 ZTCP_BUILD=/run/build DAEMON_DOCS=$HERE/../../docs
	exec unshare -n -m --propagation private -- \
		bash -c 'ip link set lo up; mount -t tmpfs -o mode=755 tmpfs /run; mkdir /run/netns /run/build /run/tests
			mount --bind "$1" /run/build; mount --bind "$2" /run/tests; mkdir -p /etc/ztcp /etc/netns; shift 2
			mount -t tmpfs tmpfs /etc/ztcp; mount -t tmpfs tmpfs /etc/netns; exec bash "$@"' - \
		"$BUILD" "$HERE" "/run/tests/$(basename "$0")" "$@"
fi
unset ZTCP_BUILD

# Names of what the test makes outside of its namespaces: of its PID namespace and its shell, so that the next one knows what is left
TESTS=ztcp-test-$(stat -Lc %i /proc/self/ns/pid)
TEST=$TESTS-$$
for left in "${TMPDIR:-/tmp}/$TESTS"-*; do # folders of tests that were killed
	pid=${left##*"$TESTS-"}
	[ ! -d "$left" ] || [ -d "/proc/${pid%%.*}" ] || rm -rf "$left"
done
T=$(mktemp -d "${TMPDIR:-/tmp}/$TEST.XXXXXX") || exit 2
chmod 755 "$T"
PIDS=()
FAILED=0

fail() {
	echo "FAIL: $*"
	FAILED=1
}

# same WHAT WANT GOT
same() {
	[ "$2" = "$3" ] || fail "$1: want '$2', got '$3'"
}

# until SECONDS COMMAND...: repeat until it succeeds
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.02
	done
}

# begin COMMAND...: in the background; its pid is in $PID
begin() {
	"$@" &
	PID=$!
	PIDS+=("$PID")
}

# finish PID [SIGNAL]
finish() {
	kill -"${2:-TERM}" "$1" 2>/dev/null
	wait "$1" 2>/dev/null
}

# kernel_before MAJOR MINOR
kernel_before() {
	local major minor
	IFS=. read -r major minor _ < <(uname -r)
	[ "$major" -lt "$1" ] || { [ "$major" = "$1" ] && [ "${minor%%[^0-9]*}" -lt "$2" ]; }
}

# leftovers CGROOT: end and remove what tests left that were killed: cgroups, processes in them, what they pinned
leftovers() {
	local left pid
	for left in "$1/$TESTS"-* "/sys/fs/bpf/$TESTS"-*; do
		pid=${left##*"$TESTS-"}
		[ -d "$left" ] && [ ! -d "/proc/${pid%%-*}" ] || continue
		echo "left by a test that was killed: $left"
		if [ -e "$left/cgroup.procs" ]; then
			echo 1 >"$left/cgroup.kill"
			until_true 10 find "$left" -depth -type d -exec rmdir {} + 2>/dev/null
		else
			"$ZTCPD" --detach --pin "$left" 2>/dev/null || rm -rf "$left"
		fi
	done
}

listens() {
	ss -Hltn "sport = :$1" | grep -q .
}

clean() {
	local pid
	for pid in "${PIDS[@]}"; do
		kill -9 "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	if [ "$(type -t clean_more)" = function ]; then
		clean_more
	fi
	[ -n "${KEEP-}" ] || rm -rf "$T"
}
trap clean EXIT

end() {
	[ $FAILED = 0 ] && echo "all as it should be"
	exit $FAILED
}
