#!/bin/bash
# run_stress.sh - run a stress program natively and under ztcp_run in its modes
#
# usage: run_stress.sh integrity|kill|hostile|epoll [--mode native|default|lift0|chaos|kernel]... [--build DIR] [--] [program options]
#   Modes default to all (hostile: default and lift0, where a peer's memory is looked at). Seeds of the chaos mode and of the program: $STRESS_SEED (default 1).
#   integrity --bytes 10000000000 is the long run; kill --rounds 1000 likewise.
#
# In the lifting modes the explain lines must show that connections were lifted, and in the chaos
# mode that they were lowered again.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$(cd "$here/../.." && pwd)
build=${ZTCP_BUILD:-$tree/build/release}
seed=${STRESS_SEED:-1}
modes=() what=${1:-}
case $what in
integrity | kill | hostile | epoll) shift ;;
*)
	sed -n '2,/^set -u/{/^set -u/d;s/^# \{0,1\}//;p}' "$0"
	exit 2
	;;
esac
while [ $# -gt 0 ]; do
	case $1 in
	--mode) modes+=("$2") && shift 2 ;;
	--build) build=$2 && shift 2 ;;
	--) shift && break ;;
	*) break ;;
	esac
done
if [ ${#modes[@]} -eq 0 ]; then
	modes=(native default lift0 chaos kernel)
	[ "$what" = hostile ] && modes=(default lift0)
fi
program=$build/tests/bin/stress_$what
run=$build/bin/ztcp_run
launcher=()
# TSan's shadow does not fit where recent kernels put mappings by default.
[ "${ZTCP_SANITIZE:-}" = thread ] && launcher=(setarch -R)
for m in "${modes[@]}"; do
	if [ "$m" != native ] && [ ! -x "$run" ]; then
		echo "run_stress: no $run" >&2
		exit 77
	fi
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

# The explain lines of a mode say what happened to the connections.
lifted_as_it_should() { # MODE FILE
	case $1 in
	native) return 0 ;;
	kernel)
		! grep -qs 'path=shm' "$2" && return 0
		echo "run_stress: a connection was lifted in mode kernel"
		;;
	chaos)
		grep -qsE 'path=shm.* lowers=[1-9]' "$2" && return 0
		echo "run_stress: no connection was lifted and lowered in mode chaos"
		;;
	*)
		grep -qs 'path=shm' "$2" && return 0
		echo "run_stress: no connection was lifted in mode $1"
		;;
	esac
	return 1
}

for m in "${modes[@]}"; do
	env=() command=("${launcher[@]}" "$run" "$program")
	case $m in
	native) command=("${launcher[@]}" "$program") ;;
	default) ;;
	lift0) env=(ZTCP_LIFT=0) ;;
	chaos) env=(ZTCP_CHAOS="$seed") ;;
	kernel) env=(ZTCP_PATH=kernel) ;;
	*) echo "run_stress: no mode $m" >&2 && exit 2 ;;
	esac
	explain=$work/$m
	printf '%s: ' "$m"
	if ! env ZTCP_EXPLAIN="$explain" "${env[@]}" "${command[@]}" --seed "$seed" "$@"; then
		echo "run_stress: $what failed in mode $m, seed $seed" >&2
		bad=1
		continue
	fi
	lifted_as_it_should "$m" "$explain" >&2 || bad=1
done
exit $bad
