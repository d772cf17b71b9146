#!/bin/bash
# daemon_odd.sh - ztcpd where things are not as they should be: files that are no policies, names that are no namespaces, a thousand
# namespaces that come and go, one user's hundreds of them, storms of signals, few descriptors, a second ztcpd, places it may not write to or empty
. "$(dirname "$(readlink -f "$0")")/daemon_lib.sh"
need curl python3 bpftool
. "$HERE/daemon_net.bash"

METRICS=127.0.0.1:9464
USER_ID=1003

# count NAME: what ztcpd tells now, or told within the last second
count() {
	curl -s "http://$METRICS/metrics" >"$T/metrics"
	sed -n "s/^ztcpd_$1 //p" "$T/metrics"
}

# serves NAME: ztcpd can be found in this namespace. (Other programs of the host have namespaces too, which come and go.)
serves() {
	ip netns exec "$1" ss -Hxl 2>/dev/null | grep -q '@ztcpd/'
}

count_is() { test "$(count "$1")" "$2" "$3"; }

descriptors() {
	find "/proc/$DAEMON/fd" -mindepth 1 | wc -l
}

descriptors_are() { test "$(descriptors)" "$1" "$2"; }

alive() {
	kill -0 "$DAEMON" 2>/dev/null || fail "$1: ztcpd has ended: $(tail -3 "$T/ztcpd.err")"
}

in_force() {
	"$ZTCP" rules -p "$PIN" 2>&1 | grep -q "$1"
}

start() {
	policy "lift path=shm port=7001" kernel
	daemon --metrics $METRICS
	in_force "lift path=shm port=7001" || fail "no policy is in force"
}

# refused WHAT WORDS COMMAND...: the command puts something into the policy's place; the rules before stay in force, and it is said
refused() {
	local what=$1 words=$2
	shift 2
	: >"$T/ztcpd.err"
	"$@"
	until_true 60 grep -q "$words" "$T/ztcpd.err" || fail "$what: not said: $words; but: $(cat "$T/ztcpd.err")"
	alive "$what"
	grep -qa "; the policy before stays in force$" "$T/ztcpd.err" || fail "$what: what then holds is not said: $(cat "$T/ztcpd.err")"
	in_force "lift path=shm port=7001" || fail "$what: the rules before are not in force"
	rm -rf /etc/ztcp/policy.d
	policy "lift path=shm port=7001" kernel
	until_true 60 grep -q "is right again" "$T/ztcpd.err" || fail "$what: a right policy is not taken: $(cat "$T/ztcpd.err")"
}

put() { # FILE: into the policy's place, at once
	python3 -c 'import os, sys; os.rename(sys.argv[1], "/etc/ztcp/policy")' "$1"
}

files() {
	mkfifo /etc/ztcp/.fifo && refused "a FIFO" "policy: expected a regular file" put /etc/ztcp/.fifo
	ln -s /dev/zero /etc/ztcp/.zero && refused "/dev/zero" "policy: expected a regular file" put /etc/ztcp/.zero
	ln -s policy /etc/ztcp/.loop && refused "a link to itself" "policy: expected a file (too many symbolic links)" put /etc/ztcp/.loop
	truncate -s 1G /etc/ztcp/.big && refused "1 GB" "policy: expected a file of at most 4 MiB" put /etc/ztcp/.big
	head -c 3000000 /dev/urandom >/etc/ztcp/.noise && refused "noise" "policy:[0-9]*:[0-9]*: expected" put /etc/ztcp/.noise
	refused "an include of itself" "expected at most 8 files that include one another" policy "include policy"
	mkdir /etc/ztcp/policy.d && echo 'include ../policy' >/etc/ztcp/policy.d/back
	refused "a circle" "expected at most 8 files that include one another" policy "include policy.d/*"
	mkdir /etc/ztcp/policy.d && mkfifo /etc/ztcp/policy.d/fifo
	refused "a FIFO in a folder" "policy:1:9: expected a regular file, found /etc/ztcp/policy.d/fifo" policy "include policy.d/*"
	mkdir /etc/ztcp/policy.d && (cd /etc/ztcp/policy.d && seq 257 | xargs touch)
	refused "a crowd" "expected a pattern that at most 256 files match" policy "include policy.d/*"
	echo kernel >/etc/ztcp/.open && chmod 666 /etc/ztcp/.open
	refused "everybody's file" "policy: expected a file and a folder that not everybody may write to" put /etc/ztcp/.open
	mkdir -m 777 /etc/ztcp/policy.d && echo kernel >/etc/ztcp/policy.d/mine
	refused "everybody's folder" "policy:1:9: expected a file and a folder that not everybody may write to" policy "include policy.d/*"
	mkdir /etc/ztcp/policy.d && echo kernel >/etc/ztcp/policy.d/mine && chmod 666 /etc/ztcp/policy.d/mine
	refused "everybody's file in a folder" "policy:1:9: expected a file and a folder that not everybody may write to" policy "include policy.d/*"
}

# A match that is not loaded is no reason to keep the rules before
unloaded() {
	: >"$T/ztcpd.err"
	policy "lift bpf=none port=7002" kernel
	until_true 60 grep -q "a bpf= match is not loaded and matches nothing; the policy is in force$" "$T/ztcpd.err" ||
		fail "a match that is not loaded: said: $(cat "$T/ztcpd.err")"
	in_force "bpf=none" || fail "a match that is not loaded: not in force"
	in_force wrong && fail "a match that is not loaded: called wrong"
	policy "lift path=shm port=7001" kernel
	until_true 60 in_force "lift path=shm port=7001" || fail "after it: not in force"
}

# What is under /run/netns and is no namespace holds up nobody
names() {
	local before
	before=$(count network_namespaces)
	mkfifo /run/netns/fifo
	mkdir /run/netns/folder
	touch /run/netns/file
	ln -s loop /run/netns/loop
	ln -s /dev/zero /run/netns/zero
	ip netns add true
	until_true 60 serves true || fail "a namespace beside odd names is not served"
	ip netns del true
	rm -r /run/netns/*
	until_true 60 count_is network_namespaces -le "$before" || fail "names that went: $(count network_namespaces), $before before"
	alive names
}

# A thousand namespaces that come, and go as soon as they are there
thousand() {
	local before fds
	before=$(count network_namespaces) fds=$(descriptors)
	python3 - <<-'END' || fail "cannot make a thousand namespaces"
		import ctypes, os
		libc = ctypes.CDLL(None, use_errno=True)
		def check(ret):
		    if ret:
		        raise OSError(ctypes.get_errno(), 'a namespace')
		names = [b'/run/netns/n%d' % i for i in range(1000)]
		def make(name):
		    check(libc.unshare(0x40000000))
		    open(name, 'w').close()
		    check(libc.mount(b'/proc/self/ns/net', name, b'none', 4096, None))
		def drop(name):
		    check(libc.umount2(name, 2))
		    os.unlink(name)
		for name in names[:500]:
		    make(name)
		for name in names[:500]:
		    drop(name)
		for name in names[500:]:
		    make(name)
		    drop(name)
	END
	until_true 60 count_is network_namespaces -le "$before" || fail "a thousand came and went: $(count network_namespaces) are left of $before"
	until_true 60 descriptors_are -le $((fds + 2)) || fail "a thousand came and went: $(descriptors) descriptors, $fds before"
	ip netns add true
	until_true 60 serves true || fail "a namespace after a thousand is not served"
	ip netns del true
	# what is told may be a second old, and the next part begins with it
	until_true 60 count_is network_namespaces -le "$before" || fail "the namespace after a thousand is not forgotten"
	alive "a thousand namespaces"
}

# served_of PID: in how many namespaces of its children ztcpd can be found
served_of() {
	local children
	children=$(cat "/proc/$1/task/$1/children")
	# shellcheck disable=SC2086 # one word each
	grep -ls '@ztcpd/' $(printf '/proc/%s/net/unix ' $children) | wc -l
}

served_of_is() { test "$(served_of "$1")" "$2" "$3"; }

# Those of one user, each with a process that asks the selector: some are served, and root's as before
hundreds() {
	local before many=300 most=256
	before=$(count network_namespaces)
	begin setpriv --reuid $USER_ID --regid $USER_ID --clear-groups python3 -c '
import ctypes, os, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
ready, done = os.pipe()
hold, release = os.pipe()
for i in range(int(sys.argv[1])):
    if os.fork():
        continue
    os.close(release)
    if libc.unshare(0x50000000):
        os._exit(1)
    socket.socket().getsockopt(0x7a74, 1, 64)
    os.write(done, b"y")
    os.read(hold, 1)
    os._exit(0)
os.close(done)
n = 0
while n < int(sys.argv[1]) and os.read(ready, 1):
    n += 1
print(n, flush=True)
signal.pause()' $many >"$T/made"
	until_true 60 test -s "$T/made"
	same "namespaces of one user" $many "$(cat "$T/made")"
	until_true 60 served_of_is "$PID" -ge $most || fail "of $many namespaces of one user $(served_of "$PID") are served"
	ip netns add true
	until_true 60 serves true || fail "one of root's beside them is not served"
	served_of_is "$PID" -le $most || fail "of $many namespaces of one user $(served_of "$PID") are served, and at most $most should be"
	finish "$PID"
	ip netns del true
	until_true 60 count_is network_namespaces -le "$before" || fail "they have gone, and $(($(count network_namespaces) - before)) are still served"
	alive "hundreds of namespaces"
}

# Asked again at once, the page is the same, although ztcpd has counted something meanwhile; after a while it is new.
pages() {
	until_true 60 page_is same || fail "a new page is made each time"
	until_true 60 page_is other || fail "the page is never made again"
}

page_is() {
	curl -s "http://$METRICS/metrics" >"$T/page.1"
	kill -HUP "$DAEMON"
	curl -s "http://$METRICS/metrics" >"$T/page.2"
	case $1 in
	same) cmp -s "$T/page.1" "$T/page.2" ;;
	*) ! cmp -s "$T/page.1" "$T/page.2" ;;
	esac
}

line_count_is() { [ "$(wc -l <"$1")" -eq "$2" ]; }

# A user publishes more of its connections than anybody has: the page comes without those of processes, and ztcpd is none the slower
hog() {
	: >"$T/made"
	begin setpriv --reuid $USER_ID --regid $USER_ID --clear-groups python3 -c '
import os, signal, struct
rows = b"".join(struct.pack("=IiQ80x", 1, -1, i + 1) for i in range(65536))
def publish():
    head = struct.pack("=QIIIIIIQQ16x", 0x7a74637073746174, 2, os.getpid(), 65536, 65536, 0, 0, 0, 0)
    for _ in range(9):
        fd = os.memfd_create("ztcp-stats")
        os.write(fd, head)
        os.write(fd, rows)
        for _ in range(20):
            os.dup(fd)
    print("made", flush=True)
me = os.getpid()
for _ in range(11): # each more than is read of a process
    if os.fork() == 0:
        import ctypes
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        os.getppid() == me or os._exit(0)
        break
publish()
signal.pause()' >"$T/made"
	local hog=$PID most
	until_true 60 line_count_is "$T/made" 12 || fail "no tables are published"
	until_true 60 count_is survey_good = 0 || fail "the page has all of it: $(count survey_good)"
	grep -q '^# EOF' "$T/metrics" || fail "the page has no end"
	most=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$DAEMON/status")
	[ "$most" -lt 200000 ] || fail "ztcpd has taken $most KB"
	alive "much to read"
	finish "$hog" KILL
	until_true 60 count_is survey_good = 1 || fail "the page has no processes any more"
}

signals() {
	local reloads
	reloads=$(count policy_reloads_total)
	for _ in $(seq 1000); do kill -HUP "$DAEMON"; done
	until_true 60 count_is policy_reloads_total -gt "$reloads" || fail "SIGHUP has nothing looked at"
	alive SIGHUP
	for _ in $(seq 100); do kill -TERM "$DAEMON" 2>/dev/null; done
	wait "$DAEMON"
	same "how it ends in a storm of SIGTERM" 0 $?
	# what is pinned is taken up
	: >"$T/ztcpd.err"
	daemon --metrics $METRICS
	grep -q "took up" "$T/ztcpd.err" || fail "what was pinned is not taken up: $(cat "$T/ztcpd.err")"
	in_force "lift path=shm port=7001" || fail "the rules are not in force"
	# a successor that does not wait for its end; while it is stopped it cannot end
	local before=$DAEMON
	kill -STOP "$before"
	(sleep 0.2 && kill -KILL "$before") &
	daemon --metrics $METRICS
	alive "a successor"
	wait "$before"
}

# With few descriptors: who comes when all are in use is turned away, and does not wait for nothing; afterwards all is as before
few() {
	finish "$DAEMON"
	: >"$T/ready"
	prlimit --nofile=80 setpriv --bounding-set -sys_resource --inh-caps -sys_resource \
		"$ZTCPD" --pin "$PIN" --cgroup "$CGROUP" --ready-fd 3 --metrics $METRICS 3>"$T/ready" 2>"$T/ztcpd.err" &
	DAEMON=$!
	PIDS+=("$DAEMON")
	until_true 60 [ -s "$T/ready" ] || fail "it does not start with 80 descriptors: $(cat "$T/ztcpd.err")"
	for _ in 1 2; do
		setpriv --reuid $USER_ID --regid $USER_ID --clear-groups python3 "$HERE/daemon_few.py" 200 >"$T/few" || fail "$(cat "$T/few")"
		cat "$T/few"
	done
	alive "few descriptors"
	finish "$DAEMON"
	daemon --metrics $METRICS
}

# refuses STATUS WORDS COMMAND...: it ends and says why
refuses() {
	local status=$1 words=$2 got
	shift 2
	timeout 60 "$@" 2>"$T/refuses"
	got=$?
	same "status of: $*" "$status" "$got"
	grep -qxF "ztcpd: $words" "$T/refuses" || fail "$*: want '$words', got: $(cat "$T/refuses")"
}

places() {
	refuses 1 "cannot start: another ztcpd is running" "$ZTCPD" --pin "$PIN-2" --cgroup "$CGROUP"
	[ ! -e "$PIN-2" ] || fail "a second ztcpd has made a folder"
	alive "a second one"
	refuses 1 "cannot start: /run/ztcp/ztcpd.lock: Read-only file system" \
		unshare -m sh -c 'mount -t tmpfs -o ro none /run/ztcp && exec "$@"' - "$ZTCPD" --pin "$PIN-2" --cgroup "$CGROUP"
	# folders of others: not mounted over, not emptied
	refuses 1 "--detach: /etc/ztcp: not in a bpf file system" "$ZTCPD" --detach --pin /etc/ztcp
	[ -s /etc/ztcp/policy ] || fail "--detach has emptied a folder"
	mkdir "$PIN-2"
	bpftool map create "$PIN-2/theirs" type array key 4 value 4 entries 1 name theirs || fail "bpftool cannot pin a map"
	refuses 1 "--detach: $PIN-2: others have something in it" "$ZTCPD" --detach --pin "$PIN-2"
	[ -e "$PIN-2/theirs" ] || fail "--detach has removed the pins of others"
	finish "$DAEMON"
	# a bpffs as the kernel makes it where nobody says otherwise: everybody may write to it
	mkdir /run/bpf && mount -t bpf none /run/bpf || fail "no bpffs"
	setpriv --reuid $USER_ID --regid $USER_ID --clear-groups mkdir /run/bpf/theirs || fail "a user has no folder in the bpffs"
	refuses 1 "--detach: /run/bpf/theirs: another user has made it, or may write to it" "$ZTCPD" --detach --pin /run/bpf/theirs
	for folder in /etc/ztcp/pins "$PIN-2" /run/bpf/theirs; do
		: >"$T/ready"
		: >"$T/ztcpd.err"
		"$ZTCPD" --pin $folder --cgroup "$CGROUP" --ready-fd 3 3>"$T/ready" 2>"$T/ztcpd.err" &
		DAEMON=$!
		PIDS+=("$DAEMON")
		until_true 60 [ -s "$T/ready" ] || fail "--pin $folder: it does not serve without"
		grep -q "without pin: \(not in a bpf file system\|others have something in it\|another user has made it, or may write to it\)$" "$T/ztcpd.err" || fail "--pin $folder: said: $(cat "$T/ztcpd.err")"
		finish "$DAEMON"
	done
	[ -e "$PIN-2/theirs" ] && [ -s /etc/ztcp/policy ] && [ ! -e /etc/ztcp/pins ] && [ -z "$(ls /run/bpf/theirs)" ] ||
		fail "--pin changes folders of others"
	rm -r "$PIN-2"
	umount /run/bpf
}

# The unit of systemd allows what ztcpd asks for
unit() {
	local daemon=$DAEMON_DOCS/../daemon/ztcpd word
	for word in $(grep -rhoE '\b(socket|raw|socketpair)\(AF_[A-Z0-9]+' "$daemon" "$daemon/../bpf" | sed 's/.*(//' | sort -u); do
		grep -q "^RestrictAddressFamilies=.*\b$word\b" "$daemon/ztcpd.service" || fail "ztcpd.service forbids sockets of $word"
	done
	for word in $(sed -n '/needed\[\] = {/,/};/p' "$daemon/ztcpd_caps.c" | grep -oE 'CAP_[A-Z_]+'); do
		grep -q "^CapabilityBoundingSet=.*\b$word\b" "$daemon/ztcpd.service" || fail "ztcpd.service takes $word away"
	done
}

# systemd is told when it serves, at a path or an abstract name
notify() {
	local where listener
	for where in "$T/notify" "@ztcp-notify-$$"; do
		[ -z "${DAEMON-}" ] || finish "$DAEMON"
		: >"$T/told"
		begin python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1].replace("@", chr(0)))
s.settimeout(100)  # ends a hang
print("bound", flush=True)
print(s.recv(1000).decode())' "$where" >"$T/told"
		listener=$PID
		until_true 60 grep -q bound "$T/told" || fail "nobody listens for what systemd is told"
		NOTIFY_SOCKET=$where daemon
		wait "$listener"
		grep -qx "READY=1" "$T/told" && grep -qx "STATUS=serving" "$T/told" || fail "$where: systemd is told: $(cat "$T/told")"
	done
}

# The cgroup that is served goes while ztcpd runs: it says so and ends; what is pinned is made anew for the next one
cgroup() {
	local inner=$CGROUP/inner
	[ -z "${DAEMON-}" ] || finish "$DAEMON"
	for _ in 1 2; do
		mkdir "$inner" || fail "no cgroup"
		: >"$T/ready"
		: >"$T/ztcpd.err"
		"$ZTCPD" --pin "$PIN" --cgroup "$inner" --ready-fd 3 3>"$T/ready" 2>"$T/ztcpd.err" &
		DAEMON=$!
		PIDS+=("$DAEMON")
		until_true 60 [ -s "$T/ready" ] || fail "it does not serve a cgroup inside: $(cat "$T/ztcpd.err")"
		rmdir "$inner" || fail "the cgroup is in use"
		until_true 60 ended || fail "its cgroup has gone, and it goes on"
		wait "$DAEMON"
		same "how it ends without its cgroup" 0 $?
		grep -q "cgroup $inner: it has gone" "$T/ztcpd.err" || fail "said: $(cat "$T/ztcpd.err")"
	done
	grep -q "made anew: its cgroup is another one, or has gone" "$T/ztcpd.err" || fail "taken up for another cgroup: $(cat "$T/ztcpd.err")"
}

ended() { ! kill -0 "$DAEMON" 2>/dev/null; }

for part in ${PARTS:-start files unloaded names thousand hundreds pages hog signals few places unit notify cgroup}; do
	$part
	echo "$part: done"
done
end
