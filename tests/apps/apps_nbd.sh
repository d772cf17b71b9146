#!/bin/bash
# apps_nbd.sh - fio's nbd engine against nbdkit: random and sequential writes, all read back and verified
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need fio nbdkit
fio --enghelp 2> /dev/null | grep -qw nbd || { echo "$NAME: skipped, fio has no nbd engine"; exit 77; }

run() { # run WHAT OPTIONS...
	local what=$1

	shift
	check "fio $what" "${C[@]}" fio --name=v --ioengine=nbd --uri="nbd://127.0.0.1:$PORT/" --thread=1 --size=24M \
		--verify_fatal=1 --verify_dump=0 --output="$D/fio.log" "$@" || return
	grep -qE 'err= 0' "$D/fio.log" || fail "fio $what: $(grep -m 1 err= "$D/fio.log")"
}

nbd_run() {
	local threads server

	for threads in 1 4; do
		free_port
		spawn nbdkit$threads "${S[@]}" nbdkit -f -t $threads -i 127.0.0.1 -p $PORT memory 128M
		server=$PID
		wait_port $PORT $server || return
		run "random writes, depth 32" --rw=randwrite --bs=4k --iodepth=32 --verify=crc32c
		run "random writes, depth 1" --rw=randwrite --bs=4k --iodepth=1 --verify=md5 --size=4M
		run "mixed sizes" --rw=randwrite --bsrange=512-256k --iodepth=16 --verify=sha256
		run "sequential writes of 1 MB" --rw=write --bs=1M --iodepth=4 --verify=xxhash
		run "random reads and writes" --rw=randrw --bs=4k --iodepth=64 --time_based --runtime=1
		stop $server TERM 0
	done
}

matrix nbd_run
