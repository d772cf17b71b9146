#!/bin/bash
# run_cli_tool_policy.sh - ztcp policy check and explain
set -u
build=${ZTCP_BUILD:-$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)/build/release}
tool=$build/bin/ztcp
[ -x "$tool" ] || { echo "no $tool: build it first"; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/tool_policy.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

# says STATUS WANT ARGS...: all that it prints, on both streams
says() {
	local want_status=$1 want=$2 got status
	shift 2
	got=$("$tool" policy "$@" 2>&1)
	status=$?
	[ "$status" = "$want_status" ] && [ "$got" = "$want" ] && return
	echo "FAIL: ztcp policy $*"$'\n'"  want $want_status: $want"$'\n'"  got  $status: $got"
	failures=$((failures + 1))
}

mkdir policy.d
cat >policy <<'P'
# redis by its port, on this host only
lift path=shm threshold=0 port=6379 local=127.0.0.0/8,::1
include policy.d/*
kernel user=0 program=/usr/bin/curl
direct path=stack role=connect remote=2001:db8::/32
count bpf=mine
kernel cgroup=/system.slice
P
echo 'kernel port=22' >policy.d/ssh
printf 'lift\nkernel port=22x\n' >bad

says 0 "policy: 6 rules" check policy
says 0 "policy.d/ssh: 1 rule" check policy.d/ssh
says 1 "ztcp: bad:2:13: expected a port or range of ports, 0 to 65535, found '22x'" check bad
says 1 "ztcp: none: expected a file that exists" check none
says 0 '{"ok": true, "file": "policy", "rules": 6}' check -j policy

echo 'interface zt0 device=tap:zt0 address=10.9.0.2/24 gateway=10.9.0.1' >interfaces
printf '# one\ninterface zt0 device=tap:zt0 address=10.9.0.2\n' >bad_interfaces
says 0 "interfaces: 1 interface" check -i interfaces
says 0 '{"ok": true, "file": "interfaces", "interfaces": 1}' check -j -i interfaces
says 1 "ztcp: bad_interfaces:2:38: expected a host's address with the length of its prefix: 10.0.0.2/24, found 10.9.0.2" check -i bad_interfaces
says 1 "ztcp: none: expected a file that exists" check -i none
says 1 '{"ok": false, "file": "bad", "line": 2, "column": 13, "expected": "a port or range of ports, 0 to 65535", "found": "'"'22x'"'"}' \
	check -j bad

says 0 "policy:2: lift path=shm threshold=0" explain policy role=listen local=127.0.0.1:6379 remote=127.0.0.1:40000
says 0 "policy:2: lift path=shm threshold=0" explain policy local=[::1]:40000 remote=[::1]:6379
says 0 "policy.d/ssh:1: kernel" explain policy remote=10.0.0.1:22
says 0 "no rule matches: lift path=shm,stack" explain policy remote=10.0.0.1:80 user=1
says 0 "policy:4: kernel" explain policy remote=10.0.0.1:80 user=root program=/usr/bin/curl
says 0 "no rule matches: lift path=shm,stack" explain policy remote=10.0.0.1:80 user=1 program=/usr/bin/curl
says 0 "policy:5: direct path=stack" explain policy "remote=[2001:db8::5]:80" user=1
says 0 "policy:6: count" explain policy user=1 bpf=mine
says 0 "no rule matches: lift path=shm,stack" explain policy user=1 bpf=yours
says 0 "policy:7: kernel" explain policy user=1 cgroup=/system.slice/x.service
says 0 "policy:2: lift, but port= differs
policy.d/ssh:1: kernel" explain -v policy remote=127.0.0.1:22
says 0 '{"verdict": "lift", "path": "shm", "threshold": 0, "rule": 0, "file": "policy", "line": 2, "others": []}' \
	explain -j -v policy local=127.0.0.1:1 remote=127.0.0.1:6379

# From a living process: this shell.
program=$(readlink -f /proc/$$/exe)
printf 'count program=%s user=%s\n' "$program" "$(id -u)" >own
says 0 "own:1: count" explain own pid=$$
printf 'count netns=%s\n' "$(readlink /proc/$$/ns/net | tr -dc 0-9)" >own
says 0 "own:1: count" explain own pid=$$

expected="expected role=listen|connect, local=ADDRESS[:PORT], remote=ADDRESS[:PORT], program=PATH, user=, group=,"
expected="$expected cgroup=/PATH, netns=, bpf=NAME or pid=PID"
for word in x remote= remote=1.2.3 role=both user=no-such-user pid=0x1; do
	says 2 "ztcp: '$word': $expected" explain policy "$word"
done
says 2 "ztcp: usage: ztcp policy check [-j] [-i] [FILE], ztcp policy explain [-j] [-v] FILE KEY=VALUE..., or ztcp policy load [-j] [-n NETNS] [-p PIN_FOLDER] [FILE]" explain

[ "$failures" -eq 0 ] || { echo "$failures checks failed"; exit 1; }
