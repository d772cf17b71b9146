#!/bin/bash
# bench_inst.sh - instructions a request costs in an instance, flat over connections, and bytes an idle connection
#
# usage: bench_inst.sh BENCH_INST [report|soak]
# Without a second word it is a test: quiet when within the limits below, exit 1 when not, 77 without valgrind.
# report prints the figures; soak does the same with a million connections counted and ten million idle.
set -u
bench=${1:?usage: bench_inst.sh BENCH_INST [report|soak]}
mode=${2:-test}
instructions_goal=600
instructions_max=3500 # what the code needs today and a little more: it may only go down
spread_percent_max=15
bytes_max=400
command -v valgrind >/dev/null || exit 77
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Instructions a request: N and 3N requests, difference over 2N.
count() { # CONNECTIONS REQUESTS
	valgrind --tool=callgrind --toggle-collect=server_turn --callgrind-out-file="$work/out" \
		"$bench" echo "$1" "$2" >/dev/null 2>"$work/err" || { cat "$work/err"; exit 1; }
	sed -n 's/^summary: //p; s/^totals: //p' "$work/out" | head -1
}
each() { # CONNECTIONS REQUESTS
	local few many
	few=$(count "$1" "$2") || exit 1
	many=$(count "$1" $((3 * $2))) || exit 1
	echo $(((many - few) / (2 * $2)))
}

counts=(1 1000 20000)
idle=1000000
[ "$mode" = soak ] && { counts=(1 1000 100000 1000000); idle=10000000; }
failed=0 first=''
for n in "${counts[@]}"; do
	cost=$(each "$n" $((n < 2000 ? 2000 : n))) || exit 1
	: "${first:=$cost}"
	[ "$mode" = test ] || echo "$cost instructions a request and answer, $n connections (goal: $instructions_goal)"
	[ "$cost" -le $instructions_max ] || { echo "$cost instructions with $n connections: more than $instructions_max"; failed=1; }
	[ $((cost * 100)) -le $((first * (100 + spread_percent_max))) ] ||
		{ echo "$cost instructions with $n connections, $first with one: not flat"; failed=1; }
done
line=$("$bench" idle $idle) || exit 1
[ "$mode" = test ] || echo "$line"
bytes=${line%%.*}
[ "$bytes" -le $bytes_max ] || { echo "$line: more than $bytes_max"; failed=1; }
exit $failed
