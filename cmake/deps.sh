#!/bin/bash
# deps.sh [build|demo|test] - install the Debian 12 packages that a part of this tree needs.
#
#   build  configure and build any preset
#   demo   build, and the programs that ./bench/demo runs
#   test   demo, and everything that ./tests/run runs (the default)
#
# Nothing missing: no output, no change, no network. Otherwise one apt-get, without recommended packages; services that
# packages bring are not started. Needs root or sudo.
set -u

build="gcc libc6-dev cmake ninja-build pkg-config libcriterion-dev libnuma-dev libbpf-dev bpftool clang libclang-rt-14-dev
 libdpdk-dev libpcap-dev libncurses-dev libcap-dev libmicrohttpd-dev"
demo="redis-server redis-tools nginx-light wrk sockperf iproute2 procps util-linux"
test="git nftables valgrind liblwip-dev cppcheck clang-format clang-tidy shellcheck strace tshark tcpdump iptables kmod
 memcached libmemcached-tools haproxy iperf3 fio nbdkit tgt libiscsi-bin qemu-utils qemu-block-extra postgresql postgresql-contrib nodejs default-jdk-headless erlang-base
 libnetty-java openssh-server openssh-client rsync curl iputils-ping netcat-openbsd socat openbsd-inetd apache2-utils python3 openssl xz-utils gdb fakeroot
 python3.11 libpython3.11-testsuite python3-tornado stress-ng linux-source-6.1 mandoc python3-prometheus-client
 libglib2.0-tests libsoup2.4-tests libsoup-3.0-tests glib-networking glib-networking-tests"

die() {
	echo "cmake/deps.sh: $*" >&2
	exit 1
}

# The packages among $want that are not installed, in one line.
missing() {
	local have
	have=$(dpkg-query -W -f '${db:Status-Abbrev}|${Package}\n' 2>/dev/null | sed -n 's/^.i *|//p')
	tr -s '[:space:]' '\n' <<<"$want" | grep -vxF -f <(printf '%s\n' "$have") | sort -u | xargs
}

# Run a step quietly; when it fails show what it said.
step() {
	local log status
	log=$(mktemp) || die "mktemp failed"
	"$@" >"$log" 2>&1
	status=$?
	[ $status -eq 0 ] || { cat "$log" >&2; }
	rm -f "$log"
	[ $status -eq 0 ] || die "failed with status $status: $*"
}

apt() {
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 "$@"
}

# While packages are set up, invoke-rc.d asks this file, and it forbids to start anything; afterwards it is as it was.
guard=/usr/sbin/policy-rc.d
guard_on() {
	# One that is kept already is the original: an earlier run was killed.
	if [ -e $guard ] && [ ! -e $guard.ztcp-kept ]; then
		$sudo mv $guard $guard.ztcp-kept || die "cannot move $guard"
	fi
	printf '#!/bin/sh\nexit 101\n' | $sudo tee $guard >/dev/null || die "cannot write $guard"
	$sudo chmod 755 $guard
	trap guard_off EXIT
	trap 'exit 130' INT TERM
}
guard_off() {
	trap - EXIT
	$sudo rm -f $guard
	[ ! -e $guard.ztcp-kept ] || $sudo mv $guard.ztcp-kept $guard
}

case ${1-test} in
build) want=$build ;;
demo) want="$build $demo" ;;
test) want="$build $demo $test" ;;
-h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
*) die "unknown set '$1' (build, demo or test)" ;;
esac
command -v dpkg-query >/dev/null || die "no dpkg-query: this needs Debian 12; the packages are:$want"

miss=$(missing)
[ -n "$miss" ] || exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || die "not root and no sudo; as root: apt-get install -y --no-install-recommends $miss"
	sudo=sudo
fi
echo "cmake/deps.sh: installing $(wc -w <<<"$miss") Debian packages: $miss"
guard_on
step apt update
# shellcheck disable=SC2086 # $miss is a list of words
step apt -y --no-install-recommends -o Dpkg::Options::=--force-confold install $miss
guard_off
miss=$(missing)
[ -z "$miss" ] || die "still not installed after apt-get: $miss"
