#!/bin/bash
# criterion.sh PROGRAM [ARG...] - run a Criterion program; one that hangs is run once more
#
# Criterion 2.4.1, which Debian 12 has, can wait for itself when a test's process ends: the thread that reaps it waits for an answer
# of the main loop, which waits for that thread (github.com/Snaipe/Criterion, pull request 468). Seen once in some thousand programs,
# with a machine that was busy. The tests themselves wait for nothing; one of them that hangs hangs twice, and that is a failure.
set -u
seconds=120

timeout "$seconds" "$@"
status=$?
[ "$status" -eq 124 ] || exit "$status"
echo "criterion.sh: $(basename "$1") did not end within $seconds s; once more"
exec timeout "$seconds" "$@"
