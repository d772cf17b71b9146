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
LIB=$(readlink -f "$BUILD/lib/libztcp_preload.so")

clean_more() {
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
[ ! -e /etc/netns/shop/ld.so.preload ] || fail "disable leaves a file"
has_library && fail "the library is there afterwards"

"$ZTCP" enable --cgroup /system.slice/shop.service >"$T/said" || fail "enable a service"
same "the drop-in" "[Service] Environment=LD_PRELOAD=$LIB" "$(xargs </etc/systemd/system/shop.service.d/50-ztcp.conf)"
grep -q 'systemctl restart shop.service' "$T/said" || fail "said: $(cat "$T/said")"
"$ZTCP" disable --cgroup /system.slice/shop.service >/dev/null || fail "disable a service"
[ ! -e /etc/systemd/system/shop.service.d ] || fail "disable leaves a folder"

for wrong in "" "--netns none" "--netns ../shop" "--cgroup /user.slice" "--netns shop --cgroup /a.service" "--netns shop more"; do
	# shellcheck disable=SC2086 # words
	"$ZTCP" enable $wrong >/dev/null 2>&1
	same "status of: enable $wrong" 2 $?
done
end
