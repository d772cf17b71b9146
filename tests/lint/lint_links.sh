#!/bin/bash
# lint_links.sh - every relative link of a page leads to a file of the tree.
. "$(dirname "$(readlink -f "$0")")/lint_lib.sh"
need perl
mapfile -t pages < <(files '*.md')
[ ${#pages[@]} -gt 0 ] || skip "no pages"
failed=0
while IFS=$'\t' read -r page link; do
	[ -e "$(dirname "$page")/$link" ] || { echo "$page: no such file: $link"; failed=1; }
done < <(perl -ne 'while (/\]\(([^)#\s]+)/g) { print "$ARGV\t$1\n" unless $1 =~ m{^\w+:} }' "${pages[@]}")
exit $failed
