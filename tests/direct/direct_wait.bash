# direct_wait.bash - how the tests of this folder wait and fail; sourced
# shellcheck shell=bash

fail() {
	echo "$*"
	exit 1
}

await() { # COMMAND...: until it succeeds, 60 s at most
	for _ in {1..1200}; do
		"$@" > /dev/null 2>&1 && return 0
		sleep 0.05
	done
	fail "waited in vain for: $*"
}
