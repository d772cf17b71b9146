#!/bin/bash
# bench_inst.sh - instructions of a turn in an instance against inst.tsv, and bytes an idle connection
#
# usage: bench_inst.sh BENCH_INST [--update | --soak]
#   --update   keep what is counted now as the figures to compare with
#   --soak     also with 100 000 and a million connections counted, and ten million idle
# Each workload (bench_inst.c says what they are) is run N and 3N times; what is counted in its turns, difference over 2N, without
# the functions that play the application, is compared with two figures: the figure kept from before, which may be passed by 2 % at most, and the bar, which is
# where it has to get to. More connections may cost 15 % more than the first row of their workload, and an idle
# connection 400 bytes. The counts do not depend on the machine's speed or load.
# Status 0: well; 1: passed; 77: no valgrind.
set -u
export LC_ALL=C
bench=${1:?usage: bench_inst.sh BENCH_INST [--update | --soak]}
mode=${2-}
table=$(cd -- "$(dirname -- "$0")" && pwd)/inst.tsv
spread_percent_max=15
bytes_max=400
idle=1000000
command -v valgrind >/dev/null || { echo 'bench_inst.sh: skipped, no valgrind'; exit 77; }
tmp=$(mktemp -d) || exit 1
trap 'rm -rf -- "$tmp"' EXIT

counted() { # WORKLOAD CONNECTIONS TURNS
	valgrind --tool=callgrind --toggle-collect=server_turn --callgrind-out-file="$tmp/out" \
		"$bench" "$1" "$2" "$3" >/dev/null 2>"$tmp/err" || { cat "$tmp/err" >&2; return 1; }
	# Lines of cost belong to the function before; the one after "calls=" is what that call cost.
	awk '/^fn=/ { if (NF > 1) name[$1] = $2; app = name[$1] ~ /^(server_turn|copy_turn|request_pieces)/ }
		/^cfn=/ { if (NF > 1) name[substr($1, 2)] = $2 }
		/^calls=/ { call = 1; next }
		/^(0x|[-+*0-9])/ { if (!call && !app) t += $2; call = 0 }
		END { print t + 0 }' "$tmp/out"
}

each() { # WORKLOAD CONNECTIONS
	local few many n=2000
	case $1 in
	receive | send) n=100 ;;
	esac
	[ "$2" -le $n ] || n=$(($2 < 50000 ? $2 : 50000))
	few=$(counted "$1" "$2" "$n") && many=$(counted "$1" "$2" $((3 * n))) || return 1
	awk -v a="$few" -v b="$many" -v n="$n" 'BEGIN { printf "%.1f\n", (b - a) / (2 * n) }'
}

failed=0
declare -A first
: >"$tmp/table"
printf '%-10s %11s %9s %9s %9s\n' workload connections counted bar kept

# One row: WORKLOAD CONNECTIONS BAR KEPT.
row() {
	local verdict
	now=$(each "$1" "$2") || exit 1
	: "${first[$1]:=$now}"
	verdict=$(awk -v x="$now" -v bar="$3" -v kept="$4" -v one="${first[$1]}" -v spread=$spread_percent_max 'BEGIN {
		if (kept != "-" && x > kept * 1.02) print "MORE THAN KEPT"
		else if (x > one * (1 + spread / 100)) print "NOT FLAT"
		else if (bar != "-" && x > bar + 0) print "not yet at the bar" }')
	printf '%-10s %11s %9s %9s %9s  %s\n' "$1" "$2" "$now" "$3" "$4" "$verdict"
	case $verdict in
	MORE* | NOT*) failed=1 ;;
	esac
}

while IFS=$'\t' read -r name conns bar kept about; do
	if [[ $name = '#'* || -z $name ]]; then
		printf '%s\n' "$name${conns:+	$conns}${bar:+	$bar}${kept:+	$kept}${about:+	$about}" >>"$tmp/table"
		continue
	fi
	row "$name" "$conns" "$bar" "$kept"
	printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$conns" "$bar" "$now" "$about" >>"$tmp/table"
done <"$table"
if [ "$mode" = --soak ]; then
	row request 100000 600 -
	row request 1000000 600 -
	idle=10000000
fi
line=$("$bench" idle $idle) || exit 1
echo "$line"
[ "${line%%.*}" -le $bytes_max ] || { echo "more than $bytes_max bytes"; failed=1; }
[ "$mode" != --update ] || cp -- "$tmp/table" "$table"
exit $failed
