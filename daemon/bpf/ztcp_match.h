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
 *	clang -g -O2 -target bpf -c my.bpf.c -o my.bpf.o
 *	ztcp rule load my.bpf.o               # the name is "my"
 *	echo 'lift bpf=my path=shm' > /etc/ztcp/policy.d/my.policy
 *
 * The function is called when a connection is judged: at connect(), when a connection was accepted, and when the
 * library asks. It may use maps and the helpers of socket options and of sockops alike (bpf_ktime_get_ns(), ...).
 * Not 0 means that the match holds. The verifier reads it before it replaces anything. The kernel must take programs
 * that extend others (freplace).
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
/* Its licence. The kernel takes functions that replace others under a licence compatible with the GPL alone. */
#define ZTCP_LICENSE(text) char _license[] __attribute__((section("license"), used)) = text

/* The kernel's own rule for such functions: the pointer is checked before it is used. */
#define ZTCP_MATCH(conn)                                                      \
	static inline __attribute__((always_inline)) int ztcp_match_body(     \
		const struct ztcp_conn *);                                    \
	__attribute__((section("freplace/ztcp_match"), used)) int ztcp_match( \
		const struct ztcp_conn *c_)                                   \
	{                                                                     \
		return c_ ? ztcp_match_body(c_) : 0;                          \
	}                                                                     \
	static inline __attribute__((always_inline)) int ztcp_match_body(     \
		const struct ztcp_conn *conn)
#endif

#endif
