#!/bin/bash
# apps_ssh.sh - sshd, ssh, scp and sftp on the loopback: sandboxed children, descriptors that become 0, 1 and 2, forwarding
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need sshd ssh scp sftp ssh-keygen

# sshd wants this folder when it runs as root
if [ -n "${APPS_IN_SPACES-}" ]; then
	mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd
fi
USER_NAME=$(id -un)

# The sessions get a home of their own: bash reads ~/.bashrc under sshd, and what that says (or does six times at once) is not
# what is tested.
settings() {
	local algorithm=ed25519

	mkdir -m 700 "$D/keys" "$D/home"
	ssh-keygen -q -t $algorithm -N "" -f "$D/keys/host" -C host
	ssh-keygen -q -t $algorithm -N "" -f "$D/keys/user" -C user
	echo "[127.0.0.1]:$port $(cat "$D/keys/host.pub")" > "$D/keys/known"
	cp "$D/keys/user.pub" "$D/keys/authorized"
	chmod 600 "$D/keys/authorized"
	cat > "$D/sshd_config" <<-CONF
	ListenAddress 127.0.0.1
	Port $port
	HostKey $D/keys/host
	AuthorizedKeysFile $D/keys/authorized
	PidFile $D/sshd.pid
	UsePAM no
	StrictModes no
	PasswordAuthentication no
	PermitRootLogin yes
	MaxStartups 50
	SetEnv HOME=$D/home
	PermitTunnel no
	PrintMotd no
	Subsystem sftp /usr/lib/openssh/sftp-server
	CONF
	cat > "$D/ssh_config" <<-CONF
	Host *
		HostName 127.0.0.1
		Port $port
		User $USER_NAME
		IdentityFile $D/keys/user
		IdentitiesOnly yes
		UserKnownHostsFile $D/keys/known
		GlobalKnownHostsFile /dev/null
		StrictHostKeyChecking yes
		BatchMode yes
		ControlPath $D/control
	CONF
}

ssh_run() {
	local i rc pids=() target

	free_port
	port=$PORT
	settings
	# as a daemon that stays in front; it runs itself again for every connection
	spawn sshd "${S[@]}" "$(command -v sshd)" -D -e -f "$D/sshd_config"
	sshd=$PID
	wait_port $port $sshd || return
	target=(ssh -F "$D/ssh_config" host)
	same "a command" "$(output "${C[@]}" "${target[@]}" 'echo out; exit 0')" out
	"${C[@]}" "${target[@]}" 'exit 7' < /dev/null
	same "exit code of a command" $? 7
	data "$D/file" 20000000 5
	timeout 60 "${C[@]}" "${target[@]}" sha256sum < "$D/file" > "$D/got" || fail "data to a command: exit $?"
	same "checksum of data to a command" "$(cut -d' ' -f1 "$D/got")" "$(sum "$D/file")"
	timeout 60 "${C[@]}" "${target[@]}" cat < "$D/file" > "$D/got" || fail "data there and back: exit $?"
	same "checksum of data there and back" "$(sum "$D/got")" "$(sum "$D/file")"
	check "scp to" "${C[@]}" scp -q -F "$D/ssh_config" "$D/file" "host:$D/copied"
	same "checksum of scp to" "$(sum "$D/copied")" "$(sum "$D/file")"
	check "scp from" "${C[@]}" scp -q -F "$D/ssh_config" "host:$D/file" "$D/fetched"
	same "checksum of scp from" "$(sum "$D/fetched")" "$(sum "$D/file")"
	check "scp by its old protocol" "${C[@]}" scp -q -O -F "$D/ssh_config" "$D/file" "host:$D/copied.old"
	same "checksum of scp's old protocol" "$(sum "$D/copied.old")" "$(sum "$D/file")"
	echo "get $D/file $D/by.sftp" > "$D/batch"
	check "sftp" "${C[@]}" sftp -q -F "$D/ssh_config" -b "$D/batch" host
	same "checksum of sftp" "$(sum "$D/by.sftp")" "$(sum "$D/file")"
	for i in 1 2 3 4 5 6; do
		spawn par$i "${C[@]}" "${target[@]}" "head -c 2000000 $D/file | sha256sum; sleep 0.2"
		pids+=("$PID")
	done
	for i in 1 2 3 4 5 6; do
		finish "${pids[i - 1]}" "parallel session $i"
		same "parallel session $i" "$(cut -d' ' -f1 "$D/par$i.log")" "$(head -c 2000000 "$D/file" | sha256sum | cut -d' ' -f1)"
	done
	forwarding
	multiplexed
	stop $sshd TERM
	! grep -iE 'fatal|crash|signal 11|sandbox' "$D/sshd.log" || fail "sshd complains"
}

# a local port that ssh forwards, through sshd, to an echoing server
forwarding() {
	local echoer forward

	free_port; local to=$PORT
	free_port; local from=$PORT
	spawn echoer "${S[@]}" "$PYTHON" "$APPS/apps_asyncio.py" server asyncio $to
	echoer=$PID
	wait_port $to $echoer || return
	spawn forward "${C[@]}" "${target[@]}" -N -L "127.0.0.1:$from:127.0.0.1:$to"
	forward=$PID
	wait_port $from $forward || return
	check "clients through the forwarded port" "${C[@]}" "$PYTHON" "$APPS/apps_asyncio.py" client $from
	stop $forward TERM
	stop $echoer TERM 0
}

# one connection for several sessions: the others hand their standard descriptors to the first
multiplexed() {
	local master

	spawn master "${C[@]}" "${target[@]}" -M -N
	master=$PID
	until_true 60 test -S "$D/control" || { fail "no control socket"; return; }
	same "a multiplexed command" "$(echo words | timeout 60 "${C[@]}" "${target[@]}" 'cat; echo more' | tr '\n' ' ')" "words more "
	timeout 60 "${C[@]}" "${target[@]}" cat < "$D/file" > "$D/got" || fail "multiplexed data: exit $?"
	same "checksum of multiplexed data" "$(sum "$D/got")" "$(sum "$D/file")"
	check "end of the master" "${C[@]}" "${target[@]}" -O exit
	until_true 60 ended $master || fail "the master does not end"
}

matrix ssh_run
