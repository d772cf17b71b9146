/* ip.h - everything between frames and TCP: Ethernet, ARP, IPv4, IPv6, ICMP, neighbours, routes
 *
 * What it does: ip_input() takes a frame and either deals with it or says what is in it for TCP;
 * ip_output() writes the headers of a TCP segment; ip_tick() ages neighbours; ip_answer_take()
 * gives the frames that IP itself wants to send (ARP, neighbour discovery, echo replies, errors,
 * packets whose neighbour has just been found).
 *
 * Called by stack/inst alone, on the thread of the instance. Memory: one block of ip_size() bytes,
 * given by the caller; buffers through struct wire_buf_ops. No system call, clock or lock. `now`
 * never decreases.
 *
 * Theory of operation
 * Tables are small, of fixed size, and keyed hashes decide places. A hop (struct ip_hop) is a
 * connection's cached answer to "which neighbour, which MTU"; it is good as long as its generation
 * is the table's, so the fast path does no look-up. A neighbour is resolved when something is to
 * be sent to it; up to IP_PENDING_PER_NEIGH frames wait for the answer. A neighbour that has been
 * silent is probed by unicast while its address stays in use. What is sent to an address of ours comes
 * back by ip_self_take(). Fragments are gathered in a few
 * slots, the oldest giving way. Nothing here grows.
 */
#ifndef ZTCP_IP_H
#define ZTCP_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/base/base_counters.h"
#include "stack/base/base_hash.h"
#include "stack/base/base_time.h"
#include "stack/wire/wire_eth.h"
#include "stack/wire/wire_frame.h"

#define IP_ADDRS_MAX         16
#define IP_ROUTES_MAX        64
#define IP_ANSWERS_MAX       64   /* frames of IP's own that may wait to be sent */
#define IP_SELF_MAX          1024 /* frames to ourselves on their way */
#define IP_PENDING_MAX       64   /* frames that may wait for neighbours, all together */
#define IP_PENDING_PER_NEIGH 4
#define IP4_MTU_MIN          68   /* RFC 791 */
#define IP6_MTU_MIN          1280 /* RFC 8200 5 */
#define IP_HOPS              64

struct ip;
struct ip_plain;

struct ip_config {
	struct wire_mac mac;
	uint16_t mtu;       /* of the link: longest IP packet, 576 to 65535 */
	uint16_t vlan;      /* WIRE_VLAN_NONE: untagged */
	uint32_t offloads;  /* enum wire_offload */
	uint32_t neigh_max; /* neighbours known at a time, 1 to 4096 */
	uint32_t pmtu_max;  /* path MTUs remembered, 4 to 65536, a power of two */
	uint32_t reass_max; /* datagrams under reassembly, 0 to 64; 64 KiB each */
	struct base_hash_key key;
	struct wire_buf_ops buf;
};

/* A connection's cached way to its peer. All zero is a valid "not known yet". */
struct ip_hop {
	uint32_t gen;
	uint16_t neigh;
	uint16_t mtu;
};

enum ip_rx_kind {
	IP_RX_NONE,  /* dealt with, or dropped for the reason returned */
	IP_RX_TCP,   /* a TCP segment for an address of ours */
	IP_RX_ERROR, /* an ICMP error that quotes a TCP segment of ours */
	IP_RX_HEARD, /* a neighbour has said where it is; already taken in */
};

/* What a neighbour has said of itself. */
struct ip_heard {
	union wire_addr addr;
	struct wire_mac mac;
	bool solicited; /* in answer to a question */
	bool named;     /* it has said where it is; else the frame's sender is taken for it */
};

/* An ICMP error, or a neighbour that does not answer. */
struct ip_error {
	struct wire_flow flow; /* as this host sees it */
	uint32_t seq;          /* sequence number quoted */
	uint32_t mtu;          /* next-hop MTU for "too big"; else 0 */
	int err;               /* positive errno; EMSGSIZE for "too big" */
	bool hard;             /* no later packet will fare better (RFC 1122 4.2.3.9) */
};

struct ip_rx {
	enum ip_rx_kind kind;
	struct wire_flow flow; /* addresses only, as this host sees them */
	const uint8_t *l4;     /* lent: the frame's, or a reassembly slot's until the next call */
	uint32_t l4_len;
	uint8_t ecn;
	bool csum_ok; /* the device has verified the TCP checksum */
	bool joined;  /* @l4 lies in a reassembly slot: the frame's owner does not hold it */
	struct ip_error error;
	struct ip_heard heard;
};

/**
 * ip_config_defaults() - fill @cfg for an untagged Ethernet of 1500 bytes; mac, key and buf stay
 * to be set.
 */
void ip_config_defaults(struct ip_config *cfg);

/** ip_size() - Return: bytes that ip_init() needs for @cfg, or 0 when @cfg is out of range. */
size_t ip_size(const struct ip_config *cfg);

/**
 * ip_init() - lay out an ip in @mem
 * @mem:      ip_size() bytes, aligned to 64; stays the caller's and must outlive the ip
 * @cfg:      copied
 * @counters: written by every call; borrowed
 *
 * Return: the ip, at @mem.
 */
struct ip *ip_init(void *mem, const struct ip_config *cfg, struct base_counters *counters);

/** ip_fini() - give back every buffer that the ip holds. */
void ip_fini(struct ip *ip);

/**
 * ip_addr_add() - answer to @addr from now on
 * @bits: prefix length of its network: 0 to 32 for IPv4, 0 to 128 for IPv6; makes the network
 *        on-link
 *
 * Announces it (gratuitous ARP, unsolicited advertisement), and once more two seconds later. Return: 0, -EINVAL, -EEXIST or -ENOSPC.
 */
int ip_addr_add(struct ip *ip, const union wire_addr *addr, unsigned int bits, ztime_t now);

/** ip_addr_remove() - stop answering to @addr. Return: 0 or -ENOENT. */
int ip_addr_remove(struct ip *ip, const union wire_addr *addr);

/** ip_addr_local() - Return: true when @addr is one of ours. */
bool ip_addr_local(const struct ip *ip, const union wire_addr *addr);

/**
 * ip_route_add() - send to @net/@bits by way of @via
 * @net:  network; bits after the prefix are ignored
 * @bits: as in ip_addr_add()
 * @via:  gateway of the same family, or any-address for "on the link"
 * @mtu:  0, or a limit below the link's
 *
 * An equal prefix is replaced. Return: 0, -EINVAL or -ENOSPC.
 */
int ip_route_add(struct ip *ip, const union wire_addr *net, unsigned int bits,
		 const union wire_addr *via, uint16_t mtu);

/**
 * ip_route_elsewhere() - @net/@bits is not reached by this interface, though a shorter prefix is
 *
 * An equal prefix is replaced; ip_route_remove() takes it away. Return: 0, -EINVAL or -ENOSPC.
 */
int ip_route_elsewhere(struct ip *ip, const union wire_addr *net, unsigned int bits);

/** ip_route_remove() - Return: 0 or -ENOENT. */
int ip_route_remove(struct ip *ip, const union wire_addr *net, unsigned int bits);

/**
 * ip_source() - choose the source address for @dst (RFC 6724 5, rules 1, 2, 6 and 8)
 * @src: set on success only
 *
 * Return: 0, or -ENETUNREACH.
 */
int ip_source(const struct ip *ip, const union wire_addr *dst, union wire_addr *src);

/**
 * ip_hop_get() - bring @hop up to date for @flow
 *
 * It stays stale while the ends are none that ip_input() lets through, or both ours.
 *
 * Return: 0, -ENETUNREACH without a route, -ENOBUFS when all neighbours are in use.
 */
int ip_hop_get(struct ip *ip, const struct wire_flow *flow, struct ip_hop *hop, ztime_t now);

/** ip_hop_mss() - Return: TCP payload bytes without options that @hop's MTU has room for. */
uint16_t ip_hop_mss(const struct ip_hop *hop, const union wire_addr *dst);

/**
 * ip_pmtu_learn() - remember that @dst is reached with at most @mtu bytes (RFC 1191, 8201), for 10
 * minutes
 *
 * Values below the family's minimum count as it; a larger value than known is ignored (RFC 8201 4).
 * Return: the MTU now in force.
 */
uint16_t ip_pmtu_learn(struct ip *ip, const union wire_addr *dst, uint32_t mtu, ztime_t now);

/**
 * ip_input() - take one frame
 * @frame: borrowed for the call; its owner's reference is not touched
 * @rx:    kind is always set, the rest by kind
 *
 * Return: CNT_none, or why the packet was dropped; it has been counted.
 */
enum counter ip_input(struct ip *ip, const struct wire_frame_in *frame, struct ip_rx *rx,
		      ztime_t now);

/**
 * ip_output() - write the headers of a segment
 * @hop:  of the connection; brought up to date
 * @flow: its ends
 * @seg:  ports are taken from @flow
 * @out:  filled when 1 is returned; its payload is borrowed as @seg's is
 *
 * Return: 1 when @out is to be sent; 0 when it waits for its neighbour or for ip_self_take() (a copy is kept);
 * -ENETUNREACH, or -ENOBUFS when it cannot wait (counted).
 */
int ip_output(struct ip *ip, struct ip_hop *hop, const struct wire_flow *flow, struct wire_tcp *seg,
	      struct wire_frame_out *out, ztime_t now);

/** ip_plain() - what ip_plain4() looks at; good as long as @ip. */
const struct ip_plain *ip_plain(const struct ip *ip);

/** ip_l4_at() - Return: bytes of headers before TCP in frames to addresses of a family. */
uint8_t ip_l4_at(const struct ip *ip, bool v4);

/**
 * ip_send() - write the other headers of a frame that has its TCP header already
 * @hop, @flow: as ip_output()
 * @out:  the TCP header at hdr + l4_at = ip_l4_at(), its checksum 0, its ports still to be
 *        written; l4_len, len, niov, iov and gso_size are set
 * @ecn:  IP ECN codepoint
 *
 * Return: as ip_output().
 */
int ip_send(struct ip *ip, struct ip_hop *hop, const struct wire_flow *flow,
	    struct wire_frame_out *out, uint8_t ecn, ztime_t now);

/**
 * ip_reply() - send a segment that belongs to no connection: a reset, a SYN cookie
 * @seg: without payload
 *
 * It joins the frames that ip_answer_take() gives; where there is no way, it is dropped and
 * counted. So are resets beyond 10 000 a second: a storm of segments that belong to nobody must not become a storm of ours.
 */
void ip_reply(struct ip *ip, const struct wire_flow *flow, struct wire_tcp *seg, ztime_t now);

/**
 * ip_answer_take() - the next frame that IP itself wants sent
 * @out: filled; its payload is good until the next call of ip_answer_take()
 *
 * Return: false when there is none.
 */
bool ip_answer_take(struct ip *ip, struct wire_frame_out *out);

/**
 * ip_self_take() - the next frame that was sent to an address of ours, to be taken in as if it had arrived
 * @frame: filled; its owner's reference is the caller's
 *
 * Return: false when there is none.
 */
bool ip_self_take(struct ip *ip, struct wire_frame_in *frame);

/**
 * ip_tick() - do what is due
 * @err: filled with connections whose neighbour does not answer
 * @max: entries in @err
 *
 * Return: errors filled. ip_deadline() tells when to come again, at once when @max were filled.
 */
unsigned int ip_tick(struct ip *ip, struct ip_error *err, unsigned int max, ztime_t now);

/** ip_deadline() - Return: when ip_tick() must be called at the latest. */
ztime_t ip_deadline(const struct ip *ip);

/* What the tool shows of a neighbour. */
struct ip_neigh_info {
	union wire_addr addr;
	struct wire_mac mac;
	const char *state; /* "incomplete", "reachable", "probe" */
	ztime_t confirmed_at;
};

/**
 * ip_neigh_info() - describe neighbours from index @at on. Return: the next index, or 0 at the end.
 */
unsigned int ip_neigh_info(const struct ip *ip, unsigned int at, struct ip_neigh_info *info);

/**
 * ip_heard() - another instance of the interface has heard this
 *
 * Of a neighbour that nobody here has asked for it is nothing new.
 */
void ip_heard(struct ip *ip, const struct ip_heard *heard, ztime_t now);

/**
 * ip_neigh_add() - take @mac for @addr as if it had just answered (learned from the kernel).
 * Return: 0 or -ENOBUFS.
 */
int ip_neigh_add(struct ip *ip, const union wire_addr *addr, const struct wire_mac *mac,
		 ztime_t now);

#endif
