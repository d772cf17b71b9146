# daemon_xdp.bash - two hosts on a veth, the second of which shares its end between the kernel and the stack
#
# After daemon_net.bash; the script says how in_b() enters the second namespace.
eval "clean_net() $(declare -f clean_more | sed 1d)"
clean_more() {
	in_b "$ZTCP" nic detach vb 2>/dev/null
	clean_net
}

# One queue at each end: the sender's processor would choose among more.
share() {
	local ns
	ip netns add a && ip netns add b || skip "no network namespaces"
	ip link add va numtxqueues 1 numrxqueues 1 netns a type veth peer name vb numtxqueues 1 numrxqueues 1 netns b ||
		skip "no veth"
	ip -n a addr add 10.9.0.1/24 dev va && ip -n b addr add 10.9.0.2/24 dev vb || fail "no addresses"
	ip -n a addr add fd09::1/64 dev va nodad && ip -n b addr add fd09::2/64 dev vb nodad || fail "no addresses"
	for ns in a b; do
		ip -n $ns link set lo up
		ip -n $ns link set v$ns up
	done
	in_b "$ZTCP" nic attach vb 2>"$T/nic.err" || skip "$(cat "$T/nic.err")"
	echo "interface vb device=xdp:vb" >"$T/interfaces"
}

named() { # flows|ports: that are named on vb
	in_b "$ZTCP" nic -j | python3 -c 'import json, sys
print(next(i[sys.argv[1]] for i in json.load(sys.stdin) if i["interface"] == "vb"))' "$1"
}
