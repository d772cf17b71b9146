# nic_cases.bash - one case after the other; sourced
# shellcheck shell=bash

# run_cases NAME...: run_case NAME for each; exits with 1 when one failed. 77 from a case: it cannot be had here.
run_cases() {
	local name failed=0

	for name; do
		run_case "$name"
		case $? in
		0) echo "ok	$name" ;;
		77) echo "skipped	$name" ;;
		*)
			echo "FAILED	$name"
			failed=1
			;;
		esac
	done
	exit $failed
}
