#!/bin/bash
# apps_iscsi.sh - tgt's iSCSI target: libiscsi's conformance tests, an image copied onto it and compared, a load of random reads
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need tgtd tgtadm iscsi-test-cu iscsi-perf qemu-img

TARGET=iqn.2026-01.net.ztcp:disk
# what tgt passes of libiscsi's families; those that test options it has not are left out
FAMILIES="Read10 Write10 ReadCapacity10 Inquiry CompareAndWrite Unmap iSCSITMF iSCSIcmdsn iSCSIResiduals MultipathIO"

admin() { # admin WORDS...: the target is told by its own socket, which is no TCP
	timeout 60 tgtadm --lld iscsi "$@"
}

target_up() {
	local pid

	export TGT_IPC_SOCKET=$D/tgt
	free_port
	spawn tgtd "${S[@]}" tgtd -f --iscsi "portal=127.0.0.1:$PORT"
	pid=$PID
	wait_port $PORT "$pid" && until_true 60 admin --op show --mode system > "$D/admin.log" || return
	truncate -s 64M "$D/disk"
	admin --op new --mode target --tid 1 -T $TARGET &&
		admin --op new --mode logicalunit --tid 1 --lun 1 -b "$D/disk" &&
		admin --op bind --mode target --tid 1 -I ALL || fail "tgtadm: exit $?"
}

iscsi_run() {
	local family url

	target_up || return
	url=iscsi://127.0.0.1:$PORT/$TARGET/1
	for family in $FAMILIES; do
		check "libiscsi's $family" "${C[@]}" iscsi-test-cu --dataloss --fail --test="ALL.$family" "$url"
	done
	data "$D/image" 50000384 7
	truncate -s 64M "$D/image"
	check "copy to the target" "${C[@]}" qemu-img convert -n -W -m 16 -f raw -O raw "$D/image" "$url"
	check "compare with the target" "${C[@]}" qemu-img compare -f raw -F raw "$D/image" "$url"
	check "random reads" "${C[@]}" iscsi-perf -b 8 -m 32 -r -t 2 "$url"
	admin --op delete --force --mode target --tid 1 || fail "the target cannot be deleted: exit $?"
	same "what the target stored" "$(sum "$D/disk")" "$(sum "$D/image")"
}

matrix iscsi_run
