#!/bin/bash
# apps_rsync.sh - an rsync daemon: a tree pushed, changed, pulled; a fork for every connection
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need rsync
LIFTS=eager

tree() { # tree FOLDER: 300 files of 0 to 2 MB, links, odd names
	local i

	mkdir -p "$1/a/b/c" "$1/with space" "$1/empty"
	data "$T/pool" 6000000 3
	for i in $(seq 0 299); do
		tail -c +$((i * 1000 + 1)) "$T/pool" | head -c $((i * i * 23 % 40000)) > "$1/a/file$i"
	done
	head -c 2000000 "$T/pool" > "$1/a/b/big"
	cp "$T/pool" "$1/a/b/c/bigger"
	echo text > "$1/with space/and more"
	ln -s ../a/file7 "$1/with space/link"
}

rsync_run() {
	local from=$D/from u i pids=()

	free_port
	mkdir -p "$D/store"
	tree "$from"
	cat > "$D/rsyncd.conf" <<-CONF
	pid file = $D/rsyncd.pid
	use chroot = no
	munge symlinks = no
	$([ "$(id -u)" = 0 ] && printf 'uid = root\ngid = root\n')
	[store]
	path = $D/store
	read only = no
	CONF
	spawn daemon "${S[@]}" rsync --daemon --no-detach --config="$D/rsyncd.conf" --address=127.0.0.1 --port=$PORT --log-file="$D/rsyncd.log"
	local daemon=$PID
	wait_port $PORT $daemon || return
	u=rsync://127.0.0.1:$PORT/store
	check "push" "${C[@]}" rsync -a "$from/" "$u/"
	diff -r --no-dereference "$from" "$D/store" > "$D/diff" || fail "pushed tree differs: $(head -n 1 "$D/diff")"
	# a change in the middle goes over as a delta, against checksums that come back
	printf 'changed' | dd of="$from/a/b/c/bigger" bs=1 seek=3000000 conv=notrunc 2> /dev/null
	touch -d '+1 minute' "$from/a/b/c/bigger"
	rm "$from/a/file12"
	check "push of a change" "${C[@]}" rsync -a --delete -z --no-whole-file "$from/" "$u/"
	diff -r --no-dereference "$from" "$D/store" > "$D/diff" || fail "changed tree differs: $(head -n 1 "$D/diff")"
	check "checksums agree" "${C[@]}" rsync -an --checksum --itemize-changes "$from/" "$u/"
	[ ! -s "$D/check.log" ] || fail "by checksum still different: $(head -n 1 "$D/check.log")"
	for i in 1 2 3 4; do
		spawn pull$i "${C[@]}" rsync -a "$u/" "$D/pulled$i/"
		pids+=("$PID")
	done
	for i in 1 2 3 4; do
		finish "${pids[i - 1]}" "pull $i"
		diff -r --no-dereference "$from" "$D/pulled$i" > "$D/diff" || fail "pulled tree $i differs: $(head -n 1 "$D/diff")"
	done
	stop $daemon TERM
	! grep -iE 'error|unexpectedly' "$D/rsyncd.log" || fail "the daemon complains"
}

matrix rsync_run
