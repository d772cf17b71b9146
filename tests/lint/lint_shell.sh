#!/bin/bash
# lint_shell.sh - shellcheck over every script, from severity warning up.
. "$(dirname "$(readlink -f "$0")")/lint_lib.sh"
need shellcheck
mapfile -t scripts < <(shell_files)
[ ${#scripts[@]} -gt 0 ] || skip "no scripts"
# 1090, 1091: sourced files are found at run time, by the script's own place; so what they set (2034) and what is set
# there (2154) cannot be seen, but set -u sees it. 2046, 2206, 2207: lists of words are split on purpose.
shellcheck -s bash -S warning -e SC1090,SC1091,SC2034,SC2154,SC2046,SC2206,SC2207 -f gcc "${scripts[@]}"
