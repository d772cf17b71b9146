#!/bin/bash
# daemon_enable.sh - ztcp enable and disable: programs in a namespace run under ztcp without ztcp_run; files of others stay
. "$(dirname "$(readlink -f "$0")")/daemon_lib.sh"
need ip python3

# an /etc of the test's own
mkdir "$T/etc"
cp -a /etc/. "$T/etc/" 2>/dev/null
mount --bind "$T/etc" /etc || skip "cannot put an /etc in its place"
rm -f /etc/ld.so.preload
mkdir -p /etc/netns /etc/systemd/system
ip netns add shop
CGROOT=$(findmnt -nt cgroup2 -o TARGET | head -1)
LIB=$(readlink -f "$BUILD/lib/libztcp_preload.so")

clean_more() {
	rmdir "$CGROOT/$TEST/inner" "$CGROOT/$TEST-2/inner" "$CGROOT/$TEST"{,-2,-3} 2>/dev/null
	ip netns del shop
	umount -l /etc
}

has_library() {
	ip netns exec shop grep -q libztcp_preload.so /proc/self/maps 2>/dev/null
}

has_library && fail "the library is there before"
"$ZTCP" enable --netns shop >"$T/said" || fail "enable"
grep -q '^/etc/netns/shop/ld.so.preload: ' "$T/said" || fail "said: $(cat "$T/said")"
has_library || fail "the library is not in a program of the namespace"
grep -q libztcp_preload.so /proc/self/maps && fail "it is outside too"
"$ZTCP" enable --netns shop >/dev/null || fail "enable twice"
same "the file" "$LIB" "$(cat /etc/netns/shop/ld.so.preload)"
echo "# another's line" >>/etc/netns/shop/ld.so.preload
same "as JSON" false "$("$ZTCP" disable -j --netns shop | python3 -c 'import json, sys; print(str(json.load(sys.stdin)["enabled"]).lower())')"
same "another's line" "# another's line" "$(cat /etc/netns/shop/ld.so.preload)"
: >/etc/netns/shop/ld.so.preload
"$ZTCP" enable --netns shop >/dev/null
"$ZTCP" disable --netns shop >/dev/null
[ ! -e /etc/netns/shop ] || fail "disable leaves a file"
has_library && fail "the library is there afterwards"

echo '[Service]' >/etc/systemd/system/shop.service
"$ZTCP" enable --cgroup /system.slice/shop.service >"$T/said" || fail "enable a service"
same "the drop-in" "[Service] Environment=LD_PRELOAD=$LIB" "$(xargs </etc/systemd/system/shop.service.d/50-ztcp.conf)"
grep -q 'systemctl restart shop.service' "$T/said" || fail "said: $(cat "$T/said")"
"$ZTCP" disable --cgroup /system.slice/shop.service >/dev/null || fail "disable a service"
[ ! -e /etc/systemd/system/shop.service.d ] || fail "disable leaves a folder"

# A cgroup that is no service: the library comes into every program, and stays out of those in other cgroups
connections() { # PROGRAM...: connections that a python of it followed, by their reports
	rm -f "$T/explain"
	ZTCP_EXPLAIN=$T/explain "$@" - <<-'END' || fail "$* failed"
		import socket
		l = socket.create_server(('127.0.0.1', 0))
		c = socket.create_connection(l.getsockname())
		a = l.accept()[0]
		c.sendall(b'x')
		a.recv(1)
	END
	sort -u "$T/explain" 2>/dev/null | wc -l
}

within() { # COMMAND...: in the cgroup
	sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$BOX/inner" "$@"
}


leftovers "$CGROOT"
BOX=$CGROOT/$TEST
ANOTHER=/$TEST-3
mkdir -p "$BOX/inner" "$BOX-2" "$CGROOT$ANOTHER" || skip "cannot make a cgroup"
"$ZTCP" enable --cgroup "/${BOX##*/}/" >"$T/said" || fail "enable a cgroup"
grep -q "^/etc/ld.so.preload: programs that start in /ztcp-test" "$T/said" || fail "said: $(cat "$T/said")"
"$ZTCP" enable --cgroup $ANOTHER >/dev/null && "$ZTCP" enable --cgroup $ANOTHER >/dev/null || fail "enable another"
same "the list" "/${BOX##*/} $ANOTHER" "$(xargs </etc/ztcp/cgroups)"
same "the library" "${LIB%/*}/libztcp_enabled.so" "$(cat /etc/ld.so.preload)"
same "connections followed in a cgroup below it" 2 "$(connections within python3)"
same "connections followed outside" 0 "$(connections python3)"
BOX=$BOX-2 # whose name only begins like it
mkdir "$BOX/inner"
same "connections followed in one of a longer name" 0 "$(connections within python3)"
same "connections followed where LD_PRELOAD asks" 2 "$(connections within env LD_PRELOAD="$LIB" python3)"
# what its caller puts into the environment of a set-user-id program is not for us to read
cp "$(readlink -f "$(command -v python3)")" "$T/python3"
chmod 4755 "$T/python3"
chmod 755 "$T"
mkdir -m 700 "$T/secret"
same "its effective user" 0 "$(setpriv --reuid 1001 --clear-groups "$T/python3" -c 'import os; print(os.geteuid())')"
"$ZTCP" enable --cgroup / >/dev/null || fail "enable all cgroups"
same "connections followed anywhere" 2 "$(connections python3)"
ZTCP_EXPLAIN=$T/secret/file setpriv --reuid 1001 --clear-groups "$T/python3" -c '
import socket
l = socket.create_server(("127.0.0.1", 0))
c = socket.create_connection(l.getsockname())'
[ ! -e "$T/secret/file" ] || fail "a set-user-id program writes where its caller says"
rmdir "$CGROOT$ANOTHER" # one that has gone can be disabled
for cgroup in / $ANOTHER "/${BOX##*/}" "/$TEST"; do
	"$ZTCP" disable --cgroup "$cgroup" >/dev/null || fail "disable $cgroup"
done
same "the library afterwards" "" "$(cat /etc/ld.so.preload)"
[ ! -e /etc/ztcp/cgroups ] || fail "disable leaves a list"

"$ZTCP" enable --netns none >/dev/null 2>"$T/said"
same "status of: enable --netns none" 1 $?
same "said of: enable --netns none" "ztcp: --netns none: /run/netns/none: No such file or directory" "$(cat "$T/said")"
for wrong in "" "--netns ''" "--netns ../shop" "--cgroup user.slice" "--cgroup //a" "--cgroup /a/../b" "--cgroup /.." "--netns shop --cgroup /a.service" "--netns shop more"; do
	eval "set -- $wrong"
	"$ZTCP" enable "$@" >/dev/null 2>&1
	same "status of: enable $wrong" 2 $?
done
# refused NAME WORDS: a cgroup that is not there changes nothing
refused() {
	"$ZTCP" enable --cgroup "$1" >/dev/null 2>"$T/said"
	same "status of: enable --cgroup $1" 1 $?
	grep -q "^ztcp: --cgroup $1: there is no such $2: No such file or directory$" "$T/said" || fail "said of $1: $(cat "$T/said")"
	[ ! -e /etc/ztcp/cgroups ] && [ ! -s /etc/ld.so.preload ] || fail "a cgroup that is not there was enabled: $1"
}
refused "/$TEST-none" cgroup
refused /system.slice/none-$$.service 'service or cgroup'
[ ! -e /etc/systemd/system/none-$$.service.d ] || fail "a service that is not there was enabled"
end
