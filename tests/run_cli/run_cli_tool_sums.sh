#!/bin/bash
# run_cli_tool_sums.sh - ztcp stat, metrics and top add up what is published
. "$(dirname "$0")/run_cli_publish.bash"

begin good
good=$pid
"$tool" stat -j "$pid" | python3 -c 'import json, sys
s, = json.load(sys.stdin)
want = {"pid": int(sys.argv[1]), "program": "tool_publish", "connections": 2, "lifted": 1, "shm_sent": 1500,
        "shm_received": 70, "kernel_sent": 5, "kernel_received": 5, "lifts": 3, "lowers": 2,
        "reasons": {"LIFTED": 1, "PEER_PLAIN": 1}}
assert s == want, s' "$pid" || fail "ztcp stat -j"
"$tool" stat "$pid" | grep -qE "^ *$pid tool_publish +2 +1 +1500 +70 +5 +5 +3 +2$" || fail "ztcp stat: $("$tool" stat "$pid")"

# A name that must be escaped, and a reason that nobody knows.
cp "$publish" "$work/a\"b\\c"
publish="$work/a\"b\\c"
begin nonsense
odd=$pid
"$tool" metrics >"$work/metrics" || fail "ztcp metrics fails"
python3 - "$work/metrics" "$odd" "$good" <<'PY' || fail "ztcp metrics: $(cat "$work/metrics")"
import re, sys
lines = open(sys.argv[1]).read().split("\n")
assert lines[-2:] == ["# EOF", ""], lines[-2:]
sample = re.compile(r'(\w+)\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*)\} (\d+)$')
families, family, seen = set(), None, {}
for line in lines[:-2]:
    if line.startswith("# TYPE "):
        family = line.split()[2]
        assert family not in families and line.endswith(" gauge"), line
        families.add(family)
    elif line.startswith("#"):
        assert line.split()[2] == family, line
    else:
        m = sample.match(line)
        assert m and m[1] == family, line
        key = m[1], tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', m[2])))
        assert key not in seen, "twice: " + line
        seen[key] = int(m[3])
of = lambda metric, **labels: [v for (n, l), v in seen.items() if n == metric and labels.items() <= dict(l).items()]
assert of("ztcp_connection_bytes", pid=sys.argv[3], path="shm", direction="sent") == [1500]
assert of("ztcp_connections", pid=sys.argv[3], reason="PEER_PLAIN") == [1]
assert of("ztcp_connections", pid=sys.argv[2], program='a\\"b\\\\c', reason="65535") == [1]
assert of("ztcp_lifted_connections", pid=sys.argv[3]) == [1]
PY

/usr/bin/python3 "$here/../daemon/daemon_metrics.py" "$work/metrics" || fail "ztcp metrics is no OpenMetrics"

# The same numbers as JSON.
"$tool" metrics -j | python3 -c 'import json, sys
page = json.load(sys.stdin)
of = lambda name, **tags: [s["value"] for f in page if f["name"] == name for s in f["samples"] if tags.items() <= s.items()]
odd, good = int(sys.argv[1]), int(sys.argv[2])
assert all(f["type"] == "gauge" and f["help"] for f in page), page
assert of("ztcp_connection_bytes", pid=good, path="shm", direction="sent") == [1500]
assert of("ztcp_connections", pid=good, reason="PEER_PLAIN") == [1]
assert of("ztcp_connections", pid=odd, program="a\"b\\c", reason="65535") == [1]
assert of("ztcp_connection_lifts", pid=good) == [3]' "$odd" "$good" || fail "ztcp metrics -j"

# top: two frames, rates of a connection that grows.
publish=$build/tests/bin/tool_publish
begin growing
"$tool" top -b -d 1 -n 2 >"$work/top" || fail "ztcp top -b fails"
[ "$(grep -c ' connections, ' "$work/top")" -eq 2 ] || fail "ztcp top -n 2: $(cat "$work/top")"
awk -v pid="$pid" '$1 == pid && $3 + 0 > 0 && $5 == "shm" { ok++ } END { exit ok != 2 }' "$work/top" ||
	fail "ztcp top shows no rate of $pid: $(cat "$work/top")"
python3 - "$work/top" <<'PY' || fail "ztcp top: not in the order of rates: $(cat "$work/top")"
import sys
def number(text):
    return float(text[:-1]) * 1000 ** " KMGT".index(text[-1]) if text[-1] in "KMGT" else float(text)
last = None
for line in open(sys.argv[1]):
    words = line.split()
    if "connections," in words:
        last = float("inf")
    elif words and words[0].isdigit():
        rate = number(words[2]) + number(words[3])
        assert rate <= last * 1.1 + 1, line  # as printed, rounded
        last = rate
PY

[ "$("$tool" top -j -d 0.5 -n 2 | python3 -c 'import json, sys
frames = [json.loads(line) for line in sys.stdin]
print(len(frames), all(any(c["pid"] == int(sys.argv[1]) and c["shm_per_second"] > 0 for c in f) for f in frames))' "$pid")" = "2 True" ] || fail "ztcp top -j"

# On a terminal, until q.
drawn() {
	for _ in $(seq 600); do grep -aq "connections, " "$work/typescript" && return; sleep 0.1; done
}
if command -v script >/dev/null; then
	: >"$work/typescript"
	(drawn; printf q; sleep 3) 2>/dev/null | TERM=xterm timeout 120 script -fqec "stty rows 20 cols 100; exec '$tool' top -d 0.3" \
		"$work/typescript" >/dev/null &
	pid_of_script=$!
	started+=("$pid_of_script")
	for _ in $(seq 1200); do kill -0 "$pid_of_script" 2>/dev/null || break; sleep 0.1; done
	kill -0 "$pid_of_script" 2>/dev/null && fail "ztcp top does not end at q"
	grep -aq "connections, " "$work/typescript" || fail "ztcp top draws nothing"
fi

usage "-d: expected seconds from 0.1 to 3600, found 'x'" top -d x
usage "-d: expected seconds from 0.1 to 3600, found 'nan'" top -d nan
usage "-n: expected a number of frames, found '0'" top -n 0
usage "usage: ztcp top [-b | -j] [-d SECONDS] [-n FRAMES]" top x
usage "metrics: no argument belongs behind it, found 'x'" metrics -j x
usage "'0': expected the id of a process" stat 0

publish_end
