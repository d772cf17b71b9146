#!/bin/bash
# daemon_pair.sh - redis in one network namespace, its clients in another, of another user: attested, introduced by ztcpd and
# lifted; through DNAT too; not by a rule that forbids it; policies change under load, and hold at once; ztcpd is killed under load
. "$(dirname "$(readlink -f "$0")")/daemon_lib.sh"
need redis-server redis-benchmark nft python3
. "$HERE/daemon_net.bash"

PORT=6399 OLD=6398
KILLS=${KILLS:-100}
touch "$T/server" "$T/client"
chmod 666 "$T/server" "$T/client"
net_up

start() {
	redis $OLD # a listener that is older than the selector
	policy "lift path=shm port=$PORT,$OLD,7000" kernel
	daemon
	grep -q "took up" "$T/ztcpd.err" && fail "something was pinned before: $(cat "$T/ztcpd.err")"
	grep '/Cap\|^Cap' "/proc/$DAEMON/status" >"$T/caps"
	same "capabilities of ztcpd" "$(printf '%016x' $((1 << 2 | 1 << 12 | 1 << 13 | 1 << 19 | 1 << 21 | 1 << 38 | 1 << 39)))" \
		"$(sed -n 's/^CapPrm:\t//p' "/proc/$DAEMON/status")"
}

plain() {
	redis $PORT
	bench 10.9.0.2 $PORT -n 20000 -c 10
	[ "$(lifted)" -ge 10 ] || fail "lifted: $(cat "$T/client" "$T/ztcpd.err")"
	grep -q 'path=kernel reason=NO_DAEMON' "$T/client" && fail "ztcpd was not found"
	"$ZTCP" ss -j >/dev/null || fail "ztcp ss"
}

# Inside of `ip netns exec` there is another /sys; what is in force is found all the same. Without a policy file that is said.
inside() {
	local here there
	here=$("$ZTCP" rules -p "$PIN") there=$(ip netns exec a "$ZTCP" rules -p "$PIN" 2>&1)
	same "ztcp rules inside of ip netns exec" "$(sed 's/^ *[0-9]*//' <<<"$here")" "$(sed 's/^ *[0-9]*//' <<<"$there")"
	rm /etc/ztcp/policy
	until_true 60 no_rules || fail "without a policy file: $("$ZTCP" rules -p "$PIN")"
	same "rules as JSON without a policy file" "[]" "$("$ZTCP" rules -j -p "$PIN")"
	policy "lift path=shm port=$PORT,$OLD,7000" kernel
	until_true 60 lift_seen || fail "lifted with a file again"
}

no_rules() {
	[ "$("$ZTCP" rules -p "$PIN")" = "no policy file: every connection of a user within a network namespace may be lifted, no other" ]
}

# What it accepts first cannot be attested. Then the selector sees it, too, if the kernel lets it.
older() {
	bench 10.9.0.2 $OLD -n 400 -c 2
	same "lifted from a listener that is older than the selector" 0 "$(lifted)"
	until_true 60 grep -q 'reason=OLDER' "$T/server" || fail "the reason is not said: $(tail -3 "$T/server")"
	kernel_before 6 12 || until_true 60 old_lifted || fail "the listener is not seen: $(head -2 "$T/client")"
}

old_lifted() {
	bench 10.9.0.2 $OLD -n 1000 -c 2
	[ "$(lifted)" -ge 2 ]
}

# 10.9.0.9:7000 leads to redis, by a rule in the client's namespace
dnat() {
	ip -n a route add 10.9.0.9/32 dev va
	ip netns exec a nft -f - <<-END || fail "nft"
		table ip t {
			chain o {
				type nat hook output priority -100
				ip daddr 10.9.0.9 tcp dport 7000 dnat to 10.9.0.2:$PORT
			}
		}
	END
	bench 10.9.0.9 7000 -n 20000 -c 10
	[ "$(lifted)" -ge 10 ] || fail "lifted through DNAT: $(cat "$T/client")"
}

forbidden() {
	policy "kernel port=$PORT" "lift path=shm"
	until_true 60 reload_seen || fail "the new policy is not in force: $(head -3 "$T/client")"
	same "lifted against a rule" 0 "$(lifted)"
	grep -q 'reason=POLICY' "$T/client" || fail "the reason is not said: $(head -3 "$T/client")"
	# a wrong file changes nothing and is said
	policy "lift prot=1"
	until_true 60 grep -q 'policy:1:.*; the policy before stays in force$' "$T/ztcpd.err" || fail "the error is not said"
	rules_say "all other network namespaces: wrong policy" "policy:1:6: .*; the one before is in force"
	bench 10.9.0.2 $PORT -n 2000 -c 2
	same "lifted under a policy that was wrong" 0 "$(lifted)"
	policy "lift path=shm port=$PORT,$OLD,7000" kernel
	until_true 60 lift_seen || fail "lifted again: $(head -3 "$T/client")"
}

# rules_say HEAD LINE: ztcp rules has them
rules_say() {
	"$ZTCP" rules -p "$PIN" >"$T/rules" || fail "ztcp rules: $?"
	grep -q "^$1" "$T/rules" && grep -q "$2" "$T/rules" || fail "ztcp rules does not say '$1: $2': $(cat "$T/rules")"
}

# A namespace whose first policy is wrong: nothing is lifted there, and it is shown
wrong() {
	# whole at once: an empty file is a good one, and would be in force
	mkdir -p /etc/netns/b/.ztcp
	echo "lift prot=1" >/etc/netns/b/.ztcp/policy
	mv /etc/netns/b/.ztcp /etc/netns/b/ztcp
	until_true 60 grep -q 'netns/b/ztcp/policy:1:' "$T/ztcpd.err" || fail "the error is not said"
	until_true 60 reload_seen || fail "lifted under a policy that was wrong from the start"
	grep -q 'netns/b/ztcp/policy:1:.*; nothing is lifted until it is right$' "$T/ztcpd.err" || fail "what then holds is not said: $(tail -3 "$T/ztcpd.err")"
	rules_say "network namespace b: wrong policy" "/etc/netns/b/ztcp/policy:1:6: .*; nothing is lifted"
	"$ZTCP" rules -j -p "$PIN" | python3 -c 'import json, sys
w = [r for r in json.load(sys.stdin) if "wrong" in r]
assert len(w) == 1 and w[0]["closed"] and w[0]["netns"] and w[0]["netns_name"] == "b", w' || fail "ztcp rules -j"
	rm -r /etc/netns/b
	until_true 60 lift_seen || fail "lifted again: $(head -3 "$T/client")"
	"$ZTCP" rules -p "$PIN" | grep -q wrong && fail "still wrong: $("$ZTCP" rules -p "$PIN")"
}

reload_seen() {
	bench 10.9.0.2 $PORT -n 1000 -c 2
	[ "$(lifted)" = 0 ]
}

lift_seen() {
	bench 10.9.0.2 $PORT -n 1000 -c 2
	[ "$(lifted)" -ge 2 ]
}

# Load that must not fail while policies change and ztcpd dies
load_begin() {
	: >"$T/load"
	chmod 666 "$T/load"
	begin "${A[@]}" "$RUN" redis-benchmark -h 10.9.0.2 -p $PORT -t get -n 100000000 -c 5 --csv >"$T/load" 2>&1
	LOAD=$PID
}

load_end() {
	kill -0 "$LOAD" 2>/dev/null || fail "the load ended: $(cat "$T/load")"
	finish "$LOAD"
	grep -i 'error\|refused\|reset' "$T/load" && fail "requests failed"
}

reloads() {
	local i
	load_begin
	for i in 1 2 3 4 5 6 7 8 9 10; do
		policy "kernel port=$PORT" "lift path=shm"
		sleep 0.05
		policy "lift path=shm port=$PORT,$OLD,7000" kernel
		sleep 0.05
	done
	load_end
	until_true 60 lift_seen || fail "lifted after reloads"
}

# What is loaded holds for the next connection, while those before go on: nothing is waited for
at_once() {
	local i
	echo "kernel port=$PORT" >"$T/no"
	echo "lift path=shm port=$PORT" >"$T/yes"
	load_begin
	for i in 1 2 3 4 5; do
		"$ZTCP" policy load -p "$PIN" "$T/no" >/dev/null || fail "ztcp policy load"
		bench 10.9.0.2 $PORT -n 1000 -c 2
		same "load $i: lifted by the policy before" 0 "$(lifted)"
		"$ZTCP" policy load -p "$PIN" "$T/yes" >/dev/null || fail "ztcp policy load"
		bench 10.9.0.2 $PORT -n 1000 -c 2
		[ "$(lifted)" -ge 2 ] || fail "load $i: kept by the policy before: $(head -3 "$T/client")"
	done
	load_end
	policy "lift path=shm port=$PORT,$OLD,7000" kernel
	until_true 60 rules_are_files || fail "the file is not in force again"
}

rules_are_files() {
	"$ZTCP" rules -p "$PIN" | grep -q '/etc/ztcp/policy:2: kernel'
}

pins() {
	find "$PIN" | sort | md5sum
}

kills() {
	local before
	before=$(pins)
	load_begin
	finish "$DAEMON" KILL
	"$BUILD/tests/bin/daemon_again" "$KILLS" "${A[@]}" "$RUN" "$BUILD/tests/bin/daemon_again" --client 10.9.0.2 $PORT \
		-- "$ZTCPD" --pin "$PIN" --cgroup "$CGROUP" --ready-fd 3 2>"$T/again" || fail "after a kill: $(cat "$T/again")"
	load_end
	same "after $KILLS kills: what is pinned" "$before" "$(pins)"
	same "successors that took up what was pinned" $((KILLS + 1)) "$(grep -c 'took up' "$T/again")"
	# without any ztcpd: it goes on by the kernel
	bench 10.9.0.2 $PORT -n 2000 -c 2
	same "lifted without a daemon" 0 "$(lifted)"
	grep -q 'reason=NO_DAEMON' "$T/client" || fail "the reason is not said: $(head -2 "$T/client")"
	daemon
}

metrics() {
	finish "$DAEMON"
	daemon --metrics 127.0.0.1:9464
	bench 10.9.0.2 $PORT -n 2000 -c 2
	curl -s "http://127.0.0.1:9464/metrics" >"$T/metrics" || fail "no metrics"
	grep -q '^ztcpd_introductions_total [1-9]' "$T/metrics" || fail "introductions: $(grep ztcpd_ "$T/metrics")"
	grep -q '^ztcp_rule_connections_total{.*} [1-9]' "$T/metrics" || fail "rules: $(grep rule "$T/metrics")"
	python3 "$HERE/daemon_metrics.py" "$T/metrics" "$DAEMON_DOCS/grafana.json" || fail "ztcpd --metrics"
	same "another page" 404 "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:9464/")"
}

detach() {
	finish "$DAEMON"
	[ -d "$PIN" ] || fail "pins go with the daemon"
	"$ZTCPD" --detach --pin "$PIN" || fail "ztcpd --detach"
	[ ! -e "$PIN" ] || fail "left behind: $(find "$PIN")"
	same "programs left on the cgroup" "" "$(bpftool cgroup show "$CGROUP" 2>/dev/null | sed 1d)"
}

for part in ${PARTS:-start older plain inside dnat forbidden wrong reloads at_once kills metrics detach}; do
	$part
	echo "$part: done"
done
finish "$REDIS"
end
