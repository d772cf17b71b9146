/* ztcp_match.h - for a match rule of your own: `bpf=NAME` in a policy
 *
 * Write one function, compile it, load it:
 *
 *	#include <ztcp_match.h>
 *
 *	ZTCP_LICENSE("GPL");
 *
 *	ZTCP_MATCH(conn)
 *	{
 *		return conn->uid >= 1000 && conn->remote_port == 6379;
 *	}
 *
 *	clang -g -O2 -target bpf -I/usr/include/$(uname -m)-linux-gnu -c my.bpf.c -o my.bpf.o
 *	ztcp rule load my.bpf.o               # the name is "my"
 *
 * and in /etc/ztcp/policy, before a rule that matches everything:
 *
 *	lift path=shm bpf=my
 *
 * The function is called when a connection is judged: at connect(), when a connection was accepted, and when the
 * library asks. It may use maps and the helpers that socket options and sockops both have (bpf_ktime_get_ns(), ...).
 * Not 0 means that the match holds. The verifier reads it before it replaces anything.
 */
#ifndef ZTCP_MATCH_H
#define ZTCP_MATCH_H

#include <linux/types.h>

/** struct ztcp_conn - a connection; more may be added at its end
 * @role:        0: accepted here; 1: made from here
 * @family:      4 or 6 (IPv4-mapped IPv6 is 4); 0: addresses are not known
 * @local_port:  host byte order, as @remote_port
 * @local:       network byte order; IPv4 in the first element
 * @uid:         effective user of the process, as the initial user namespace numbers it
 * @gid:         its group
 * @netns:       SO_NETNS_COOKIE of the process
 * @cgroup:      id of its cgroup (v2)
 * @exe_ino:     inode of its executable
 */
struct ztcp_conn {
	__u32 role;
	__u32 family;
	__u32 local_port;
	__u32 remote_port;
	__u32 local[4];
	__u32 remote[4];
	__u32 uid;
	__u32 gid;
	__u64 netns;
	__u64 cgroup;
	__u64 exe_ino;
};

#ifdef __bpf__
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

/* Between the selector and a match: the answer, and the question. Storage of the socket that is judged. */
struct ztcp_asked {
	__u32 holds;
	__u32 spare;
	struct ztcp_conn conn;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct ztcp_asked);
} ztcp_asked SEC(".maps");

/* Its licence. */
#define ZTCP_LICENSE(text) char _license[] SEC("license") = text

/* One function of yours, as a program for either hook of the selector that judges. */
#define ZTCP_MATCH_HOOK(hook, section, ctx_type)                                                  \
	SEC(section) int ztcp_match_##hook(ctx_type *ctx)                                         \
	{                                                                                         \
		struct bpf_sock *sk = ctx->sk;                                                    \
		struct ztcp_asked *asked = sk ? bpf_sk_storage_get(&ztcp_asked, sk, (void *)0, 0) \
					      : (void *)0;                                        \
                                                                                                  \
		if (asked)                                                                        \
			asked->holds = ztcp_match(&asked->conn) != 0;                             \
		return 1;                                                                         \
	}

#define ZTCP_MATCH(conn)                                                 \
	static int ztcp_match(const struct ztcp_conn *conn);             \
	ZTCP_MATCH_HOOK(answer, "cgroup/getsockopt", struct bpf_sockopt) \
	ZTCP_MATCH_HOOK(attest, "sockops", struct bpf_sock_ops)          \
	static int ztcp_match(const struct ztcp_conn *conn)
#endif

#endif
