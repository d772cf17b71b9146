/* match_both.bpf.c - a match for both ends of a connection, with a map and a counter of its own */
#include <daemon/bpf/ztcp_match.h>

ZTCP_LICENSE("MIT");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32); /* role */
	__type(value, __u32);
} roles SEC(".maps");

static __u32 calls;

ZTCP_MATCH(conn)
{
	__u32 role = conn->role, one = 1;

	calls++;
	bpf_map_update_elem(&roles, &role, &one, BPF_ANY);
	return calls && conn->family == 4 && bpf_map_lookup_elem(&roles, &role) != NULL;
}
