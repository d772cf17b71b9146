# direct_fallback.bash - connections that cannot be the stack's: each cause in turn, same program, same results, its reason; sourced by direct.sh
# shellcheck shell=bash disable=SC2154

# reason NAME: a client whose connection runs on the kernel because of it, and says so
kernel_because() {
	local name=$1
	shift
	rm -f "$work/explain"
	"$@" > "$work/out" 2> "$work/say" || fail "$name: the program failed: $(cat "$work/say")" || return
	echo hello | cmp -s - "$work/out" || fail "$name: other output: $(head -n 3 "$work/out")" || return
	path kernel "$name"
}

greeter() { # ADDRESS: at the far end, on the kernel's TCP
	far_exec "$python" -c 'import socket, sys
l = socket.create_server((sys.argv[1], 7105))
while True:
    c, _ = l.accept()
    c.sendall(b"hello\n")
    c.close()' "$1" &
	pids+=($!)
	await 60 listens "src $1:7105"
}

listens() { [ -n "$(far ss -Hltn "$1")" ]; } # what it is, in the words of ss

fetch() { # ADDRESS LIBRARY_FOLDER
	ZTCP_INTERFACES=$work/if "$2/bin/ztcp_run" --path stack "--explain=$work/explain" \
		"$python" -c 'import socket, sys
s = socket.create_connection((sys.argv[1], 7105), timeout=30)
print(s.makefile().readline(), end="")' "$1"
}

unprivileged() { # ADDRESS: fetch() by nobody, who may read what it needs
	mkdir -p "$work/all/bin" "$work/all/lib" && cp "$build/bin/ztcp_run" "$work/all/bin" &&
		cp "$build"/lib/libztcp_{preload,stack}.so "$work/all/lib" && touch "$work/explain" && chmod -R a+rX "$work" && chmod a+w "$work/explain" || return
	setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
		bash -c "$(declare -f fetch); work=$work python=$python; fetch $1 $work/all"
}

fallback_tap() {
	ip addr add 10.8.0.1/24 dev br0 && greeter 10.8.0.1 || return
	local lone=$work/lone
	line() { echo "interface t device=$1 address=10.8.0.2/24" > "$work/if"; }
	mkdir -p "$lone/bin" "$lone/lib"
	cp "$build/bin/ztcp_run" "$lone/bin" && cp "$build/lib/libztcp_preload.so" "$lone/lib" || return
	echo "interface t" > "$work/if"
	kernel_because BAD_INTERFACES fetch 10.8.0.1 "$build" || return
	grep -q "if:1:" "$work/say" || fail "it is not said where" || return
	echo "interface t device=tap:zt0 address=10.7.0.2/24" > "$work/if"
	kernel_because NO_INTERFACE fetch 10.8.0.1 "$build" || return
	line tap:zt0
	kernel_because NO_STACK_LIBRARY fetch 10.8.0.1 "$lone" || return
	cp "$build/lib/libztcp_stack.so" "$lone/lib" && echo 'interface t device="dpdk:--vdev net_null0" address=10.8.0.2/24' > "$work/if" || return
	kernel_because NO_DEVICE fetch 10.8.0.1 "$lone" || return
	grep -q "is DPDK installed" "$work/say" || fail "it is not said what is missing: $(cat "$work/say")" || return
	# the plug-in is there, DPDK is not
	local eal
	eal=$(find /usr/lib /usr/local/lib -name 'librte_eal.so.*' -print -quit 2> /dev/null)
	[ -z "$eal" ] || mount --bind /dev/null "$(readlink -f "$eal")" || return
	kernel_because NO_DEVICE fetch 10.8.0.1 "$build" || return
	grep -q "is DPDK installed" "$work/say" || fail "it is not said what is missing: $(cat "$work/say")" || return
	[ -z "$eal" ] || umount "$(readlink -f "$eal")" || return
	fallback_eal || return
	line tap:zt0,mtu=1
	kernel_because BAD_INTERFACES fetch 10.8.0.1 "$build" || return
	line nothing:zt0
	kernel_because BAD_INTERFACES fetch 10.8.0.1 "$build" || return
	"${on0[@]}" "$python" "$here/direct_serve.py" 10.9.0.2 7106 "$work/ready6" &
	pids+=($!)
	await 60 ping -c 1 -W 1 10.9.0.2 || return
	line tap:zt0
	kernel_because DEVICE_BUSY fetch 10.8.0.1 "$build" || return
	line tap:zt9
	kernel_because DEVICE_REFUSED unprivileged 10.8.0.1
}

# Arguments that EAL refuses, also what it would print its usage for, or end the program: nothing but the program's own is in its output.
fallback_eal() {
	local words
	[ -n "$(find /usr/lib -name 'librte_net_null.so*' -print -quit)" ] || return 0
	for words in --no-such-option '-n x' '--vdev net_null0 --lcores 0,' '-vh' --help --hel; do
		echo "interface t device=\"dpdk:$words\" address=10.8.0.2/24" > "$work/if"
		kernel_because BAD_INTERFACES fetch 10.8.0.1 "$build" && said_once || fail "$words" || return
	done
	echo 'interface t device="dpdk:-m 64 --vdev net_nonsense0" address=10.8.0.2/24' > "$work/if"
	kernel_because NO_DEVICE fetch 10.8.0.1 "$build" && said_once || return
	grep -q nonsense "$work/say" || fail "it is not said which: $(cat "$work/say")"
}

said_once() { # one line of ours, and nothing else
	[ "$(grep -c . "$work/say") $(grep -c '^ztcp: interface t: dpdk: EAL ' "$work/say")" = "1 1" ] || fail "$(cat "$work/say")"
}

fallback_xdp() {
	greeter 10.9.0.1 || return
	line() { echo "interface t device=$1" > "$work/if"; }
	echo "interface t device=xdp:v0 address=10.9.0.2/24" > "$work/if"
	kernel_because BAD_INTERFACES fetch 10.9.0.1 "$build" || return
	line xdp:lo
	kernel_because NO_INTERFACE fetch 10.9.0.1 "$build" || return
	line xdp:v0,queue=63
	kernel_because BAD_INTERFACES fetch 10.9.0.1 "$build" || return
	redis_up 7106 "${on0[@]}"
	await 60 far redis-cli -h 10.9.0.2 -p 7106 ping || return
	line xdp:v0
	kernel_because DEVICE_BUSY fetch 10.9.0.1 "$build" || return
	redis-cli -p 7106 shutdown nosave && wait "${pids[-1]}" || fail "redis-server ended with $?" || return
	fallback_taken || return
	kernel_because DEVICE_REFUSED unprivileged 10.9.0.1 || return
	"$build/bin/ztcp" nic detach v0 || return
	kernel_because NO_DEVICE fetch 10.9.0.1 "$build" || return
	grep -q "ztcp nic attach v0" "$work/say" || fail "it is not said what to do" || return
	"$build/bin/ztcp" nic attach v0 && far "$build/bin/ztcp" nic detach v1 && ip link set v0 mtu 3498 &&
		far ip link set v1 mtu 3498 && far "$build/bin/ztcp" nic attach v1 || return
	fetch 10.9.0.1 "$build" > "$work/out" && [ "$(cat "$work/out")" = hello ] && path stack DIRECT || return
	# a program at one end of a veth bounds the other's MTU
	far "$build/bin/ztcp" nic detach v1 && ip link set v0 mtu 9000 && kernel_because DEVICE_FAILED fetch 10.9.0.1 "$build" || return
	grep -q "MTU 9000 is over AF_XDP's limit" "$work/say" || fail "it is not said why: $(cat "$work/say")" || return
	far ping -q -c 1 -W 10 10.9.0.2 > /dev/null || fail "the host is not reached" || return
	fallback_no_xdp || return
	ip link set v0 mtu 1500 && far ip link set v1 mtu 1500 && far "$build/bin/ztcp" nic attach v1
}

# A program that knows nothing of us has the queue.
fallback_taken() {
	rm -f "$work/taken"
	"$python" "$here/direct_taken.py" v0 "$work/taken" &
	local taker=$!
	pids+=("$taker")
	await 60 test -e "$work/taken" || return
	kernel_because DEVICE_BUSY fetch 10.9.0.1 "$build" || return
	far ping -q -c 1 -W 10 10.9.0.2 > /dev/null || fail "the host is not reached" || return
	kill "$taker"
	wait "$taker" 2> /dev/null
	fetch 10.9.0.1 "$build" > "$work/out" && [ "$(cat "$work/out")" = hello ] && path stack DIRECT
}

# An interface whose driver runs no XDP programs.
fallback_no_xdp() {
	ip link add b0 type bridge && ip addr add 10.6.0.2/24 dev b0 && ip link add v6 type veth peer name v7 netns far &&
		ip link set v6 master b0 up && ip link set b0 up && far ip addr add 10.6.0.1/24 dev v7 && far ip link set v7 up || return
	"$build/bin/ztcp" nic attach b0 2> "$work/say" && fail "it is attached to a bridge" && return 1
	grep -q "does not run XDP programs" "$work/say" || fail "$(cat "$work/say")" || return
	greeter 10.6.0.1 || return
	line xdp:b0
	kernel_because NO_DEVICE fetch 10.6.0.1 "$build" || return
	ip link del b0 && ip link del v6
}
