#!/bin/bash
# apps_table.sh - the table of programs and suites, in Markdown, from the last results of the apps and suites tests
#
#   ctest -L 'apps|suites'; tests/apps/apps_table.sh > docs/programs.md
set -u
here=$(dirname "$(readlink -f "$0")")
build=${ZTCP_BUILD:-$(dirname "$(dirname "$here")")/build/release}

# version PROGRAM-NAME: of the Debian package that the test is about
version() {
	local package

	case $1 in
	redis) package=redis-server ;;
	nginx | haproxy | memcached | rsync | iperf3 | sockperf | curl) package=$1 ;;
	postgresql) package=postgresql-15 ;;
	node) package=nodejs ;;
	java) package=openjdk-17-jdk-headless ;;
	python) package=python3.11 ;;
	ssh) package=openssh-server ;;
	inetd) package=socat ;;
	netcat) package=netcat-openbsd ;;
	nbd) package=nbdkit ;;
	iscsi) package=tgt ;;
	erlang) package=erlang-base ;;
	*) return ;;
	esac
	dpkg-query -W -f '${Package} ${Version}' "$package" 2> /dev/null
}

# cell SIDE: what the side gave, of the results on standard input
cell() {
	awk -F'\t' -v s="$1" '$1 == s { r = $2 == "ok" ? "ok, " $4 " of " $3 " lifted" : "**fails**" } END { print r == "" ? "-" : r }'
}

cat <<-'END'
# Programs and suites under ztcp_run

Made by the tests: `tests/apps/apps_table.sh` writes this page from the last run of the labels `apps` and `suites`;
do not edit. Calls, one by one: [compatibility](compatibility.md).
A test that is "ok" did the same as natively: checksums, counts, exit codes. "n of m lifted" counts ends of connections;
connections of a few calls stay on the kernel by default.

## Programs

| test | program | both ends | server only | client only | lifted at once |
| --- | --- | --- | --- | --- | --- |
END
for f in "$build"/apps/apps_*.txt; do
	[ -e "$f" ] || continue
	name=$(basename "$f" .txt)
	name=${name#apps_}
	what=$(sed -n '2s/^# [a-z0-9_.]* - //p' "$here/apps_$name.sh")
	printf '| %s | %s | %s | %s | %s | %s |\n' "$what" "$(version "$name")" "$(cell both < "$f")" \
		"$(cell server < "$f")" "$(cell client < "$f")" "$(cell eager < "$f")"
done
cat <<-'END'

## Suites of other projects

| suite | pass | tests natively | wrapped | lost | ends of connections | lifted |
| --- | --- | --- | --- | --- | --- | --- |
END
cat "$build"/suites/*/summary.txt 2> /dev/null
exit 0
