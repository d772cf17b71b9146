#!/bin/bash
# suites_kernel.sh - the Linux kernel's own tests of sockets and epoll, from Debian's linux-source-6.1
#
# A unit is a program, or a pair of programs that talk to each other; most of them ask for things that keep a connection on
# the kernel. The transfer units are what mptcp_connect.sh does over plain TCP: a file each way at once, by poll, mmap and
# sendfile.  Built once, under $SUITE_DIR.
NAME=kernel
PACKAGES="linux-source-6.1 gcc libc6-dev xz-utils"
. "$(dirname "$(readlink -f "$0")")/suites_lib.sh"

alone="net/reuseaddr_conflict net/reuseport_addr_any net/reuseport_bpf net/reuseport_bpf_cpu
	net/reuseport_dualstack net/sk_bind_sendto_listen net/sk_connect_zero_addr
	net/so_netns_cookie net/socket net/tcp_inq net/udpgso net/tcp_fastopen_backup_key
	filesystems/epoll/epoll_wakeup_test"
paired="net/tcp_mmap net/msg_zerocopy net/mptcp/mptcp_connect"

suite_prepare() {
	local source=$SUITE_DIR/$NAME/src tests=$SUITE_DIR/$NAME/src/tools/testing/selftests f

	if [ ! -d "$tests/net" ]; then
		mkdir -p "$source"
		tar xJf /usr/src/linux-source-6.1.tar.xz -C "$source" --strip-components=1 --wildcards \
			'linux-source-6.1/tools/testing/selftests/*' 'linux-source-6.1/tools/include/*' || return
	fi
	mkdir -p "$SUITE_DIR/$NAME/bin"
	for f in $alone $paired; do
		[ -x "$SUITE_DIR/$NAME/bin/${f##*/}" ] && continue
		(cd "$tests" && gcc -O2 -w -I. -o "$SUITE_DIR/$NAME/bin/${f##*/}" "$f.c" -lpthread) || return
	done
}

suite_units() {
	local f

	for f in $alone; do
		case $f in
		*/tcp_fastopen_backup_key) printf '%s\n' tcp_fastopen_backup_key-4 tcp_fastopen_backup_key-6 ;;
		*) echo "${f##*/}" ;;
		esac
	done
	printf '%s\n' tcp_mmap tcp_mmap-zerocopy msg_zerocopy-tcp
	printf 'transfer-%s\n' poll poll-6 poll-buffers mmap mmap-6 sendfile sendfile-6
}

# listens PORT: wait until somebody does
listens() {
	for _ in $(seq 600); do
		[ -n "$(ss -Hltn "sport = :$1")" ] && return
		sleep 0.1
	done
	return 1
}

# transfer MODE ADDRESS OPTIONS...: 3 MB and a bit from the client, 5 MB from the server, at once; both arrive unchanged
transfer() {
	local mode=$1 address=$2 server rc

	shift 2
	head -c 3000001 /dev/urandom > "$WORK/there"
	head -c 5000003 /dev/urandom > "$WORK/back"
	timeout -k 5 100 ${WRAP[@]+"${WRAP[@]}"} ./mptcp_connect -t 60000 -l -p 8789 -s TCP -m "$mode" "$@" "$address" \
		< "$WORK/back" > "$WORK/there.out" 2> "$LOG.server" &
	server=$!
	listens 8789 && timeout -k 5 100 ${WRAP[@]+"${WRAP[@]}"} ./mptcp_connect -t 60000 -p 8789 -s TCP -m "$mode" "$@" "$address" \
		< "$WORK/there" > "$WORK/back.out" 2>> "$LOG" && wait $server
	rc=$?
	kill $server 2> /dev/null
	[ $rc = 0 ] && cmp "$WORK/there" "$WORK/there.out" >> "$LOG" && cmp "$WORK/back" "$WORK/back.out" >> "$LOG"
}

# pair "SERVER COMMAND" "CLIENT COMMAND" PORT: the client's exit code decides
pair() {
	local server rc

	timeout -k 5 60 ${WRAP[@]+"${WRAP[@]}"} $1 > "$LOG.server" 2>&1 &
	server=$!
	listens "$3"
	bounded 60 $2
	rc=$?
	kill $server 2> /dev/null
	wait $server
	return $rc
}

one() {
	local mode

	case $1 in
	tcp_fastopen_backup_key-*)
		sysctl -qw net.ipv4.tcp_fastopen=3
		# the program rotates the key and wants to begin with a known one
		sysctl -qw net.ipv4.tcp_fastopen_key=00000000-00000000-00000000-00000001
		bounded 150 ./tcp_fastopen_backup_key "-${1##*-}"
		;;
	tcp_mmap)
		pair "./tcp_mmap -s -4 -p 8787" "./tcp_mmap -H 127.0.0.1 -4 -p 8787" 8787
		;;
	tcp_mmap-zerocopy)
		pair "./tcp_mmap -s -z -4 -p 8788" "./tcp_mmap -H 127.0.0.1 -z -4 -p 8788" 8788
		;;
	msg_zerocopy-tcp)
		pair "./msg_zerocopy -4 -i lo -t 3 -S 127.0.0.1 -D 127.0.0.1 -r tcp" \
			"./msg_zerocopy -4 -i lo -t 2 -S 127.0.0.1 -D 127.0.0.1 tcp" 8000
		;;
	transfer-poll-buffers) transfer poll 127.0.0.1 -S 32768 -R 32768 ;;
	transfer-*-6) mode=${1#transfer-}; transfer "${mode%-6}" ::1 -6 ;;
	transfer-*) transfer "${1#transfer-}" 127.0.0.1 ;;
	*)
		bounded 200 "./$1"
		;;
	esac
}

suite_quick_units() {
	printf '%s\n' socket tcp_inq reuseport_dualstack sk_connect_zero_addr msg_zerocopy-tcp transfer-poll transfer-poll-6 transfer-poll-buffers \
		transfer-mmap transfer-sendfile
}

suite_run() {
	local rc

	cd "$SUITE_DIR/$NAME/bin" || exit 2
	one "$1"
	rc=$?
	# 4 is the selftests' code for "skipped"
	[ $rc = 4 ] && rc=77
	results_from tap "$LOG" "$1" $rc
}

suite_main "$@"
