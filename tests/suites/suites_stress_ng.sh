#!/bin/bash
# suites_stress_ng.sh - stress-ng's socket and readiness stressors, with --verify
#
# A unit is a stressor with its options; passes when stress-ng says that the run was successful.
NAME=stress_ng
PACKAGES="stress-ng"
. "$(dirname "$(readlink -f "$0")")/suites_lib.sh"

options_of() {
	case $1 in
	sock-ipv4 | sock-ipv6 | sock-unix) echo "--sock 1 --sock-domain ${1#sock-} --sock-port 21000" ;;
	sock-send | sock-sendmsg | sock-sendmmsg) echo "--sock 1 --sock-opts ${1#sock-} --sock-port 21100" ;;
	sock-nodelay) echo "--sock 1 --sock-nodelay --sock-port 21200" ;;
	sock-zerocopy) echo "--sock 1 --sock-zerocopy --sock-port 21250" ;;
	sockmany) echo "--sockmany 1 --sockmany-port 21300" ;;
	sockabuse) echo "--sockabuse 1 --sockabuse-port 21400" ;;
	epoll) echo "--epoll 1 --epoll-port 21500 --epoll-domain ipv4" ;;
	epoll-ipv6) echo "--epoll 1 --epoll-port 21500 --epoll-domain ipv6" ;;
	udp) echo "--udp 1 --udp-port 21600" ;;
	*) echo "--$1 1" ;;
	esac
}

suite_units() {
	printf '%s\n' sock-ipv4 sock-ipv6 sock-unix sock-send sock-sendmsg sock-sendmmsg sock-nodelay \
		sock-zerocopy sockmany sockfd sockpair sockabuse epoll epoll-ipv6 poll sendfile dup close \
		udp pipe eventfd splice
}

suite_quick_units() {
	printf '%s\n' sock-ipv4 sock-sendmmsg sock-nodelay sockmany epoll poll sendfile splice
}

suite_run() {
	local rc options

	read -ra options < <(options_of "$1")
	bounded 60 stress-ng "${options[@]}" -t "${STRESS_TIME:-2}" --verify --metrics-brief
	rc=$?
	case $rc in
	0) result PASS "$1" ;;
	3 | 4) result SKIP "$1" ;;
	*) result FAIL "$1" ;;
	esac
}

suite_main "$@"
