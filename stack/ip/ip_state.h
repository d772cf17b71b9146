/* ip_state.h - the inside of struct ip; for stack/ip alone
 *
 * What it does: shows the tables and the calls between the files of this folder. Memory and
 * thread: as in ip.h.
 */
#ifndef ZTCP_IP_STATE_H
#define ZTCP_IP_STATE_H

#include "stack/base/base_bytes.h"
#include "stack/base/base_check.h"
#include "stack/ip/ip.h"
#include "stack/ip/ip_plain.h"
#include "stack/wire/wire_arp.h"
#include "stack/wire/wire_csum.h"
#include "stack/wire/wire_icmp.h"
#include "stack/wire/wire_ip4.h"
#include "stack/wire/wire_ip6.h"
#include "stack/wire/wire_nd.h"

#define IP_NONE           0xffffu          /* no neighbour, no frame */
#define IP_SELF           0xfffeu          /* of a hop: this host itself */
#define IP_NEIGH_FRESH    (30 * ZTIME_SEC) /* RFC 4861 10: REACHABLE_TIME */
#define IP_ANNOUNCE_EVERY (2 * ZTIME_SEC)  /* RFC 5227 1.1: ANNOUNCE_INTERVAL */

struct ip_addr_entry {
	union wire_addr addr;
	ztime_t defended_at; /* 0: never */
	uint8_t bits;        /* of the mapped form */
	bool again;          /* to be announced once more */
};

struct ip_route {
	union wire_addr net, via;
	uint16_t mtu;
	uint8_t bits;
	bool on_link;
	bool elsewhere; /* what it matches is not reached by this interface */
};

/*
 * A neighbour's life:
 *   FREE        not in the table
 *   INCOMPLETE  asked by broadcast or multicast every second; frames wait
 *   REACHABLE   has answered less than 30 s ago, or more and nothing was sent since
 *   PROBE       asked by unicast every second; its address stays in use
 * Three questions without an answer: INCOMPLETE drops what waits and is FREE, PROBE is INCOMPLETE.
 * When the table is full and half of it is INCOMPLETE, the next of these to be asked again gives way: whoever makes us look
 * for stations that are not there takes no room from those that are (RFC 6583 5).
 */
enum ip_neigh_state { NEIGH_FREE, NEIGH_INCOMPLETE, NEIGH_REACHABLE, NEIGH_PROBE };

struct ip_neigh {
	union wire_addr addr;
	struct wire_mac mac;
	uint8_t state;
	uint8_t asked;
	uint8_t npending;
	uint16_t next_hash;
	uint16_t prev_asking, next_asking; /* ring of those with a question out, soonest first */
	ztime_t at;                        /* answered at, or next question due at */
};

struct ip_pending {
	uint16_t neigh; /* IP_NONE: slot is free */
	uint32_t order;
	struct wire_frame_out frame; /* iov[0].owner is ours */
};

struct ip_pmtu {
	union wire_addr dst;
	ztime_t until;
	uint16_t mtu; /* 0: free */
};

struct ip_bucket {
	ztime_t at;
	uint32_t tokens;
};

#define IP_REASS_BYTES     65536u
#define IP_REASS_WORDS     (IP_REASS_BYTES / 8 / 64)
#define IP_REASS_FRAGS_MAX 64

struct ip_reass {
	union wire_addr src, dst;
	ztime_t until; /* 0: free */
	uint32_t id;
	uint32_t have;  /* bytes */
	uint32_t total; /* 0 until the last fragment has come */
	uint32_t top;   /* no byte at or beyond it has come */
	uint16_t frags;
	uint8_t proto;
	uint8_t ecn;
	uint64_t map[IP_REASS_WORDS]; /* one bit for 8 bytes */
	uint8_t buf[IP_REASS_BYTES];
};

struct ip {
	struct ip_plain plain; /* first: see ip_plain() */
	struct ip_config cfg;
	struct base_counters *counters;
	uint32_t naddrs, nroutes;
	struct ip_addr_entry addrs[IP_ADDRS_MAX];
	ztime_t announce_at;                   /* those to be announced once more */
	struct ip_route routes[IP_ROUTES_MAX]; /* longest prefix first */

	struct ip_neigh *neigh;
	uint16_t *neigh_head; /* neigh_max heads */
	uint16_t asking_head, asking_tail, neigh_free, evict_at;
	uint16_t nincomplete; /* neighbours in that state */
	uint32_t pending_order;
	struct ip_pending pending[IP_PENDING_MAX];

	struct ip_pmtu *pmtu;
	struct ip_reass *reass;
	struct ip_bucket error_bucket, echo_bucket, reset_bucket;
	uint64_t answer_put, answer_got; /* counts; their difference is how many wait */
	void *answer_owner;              /* of the frame given last */
	struct wire_frame_out answers[IP_ANSWERS_MAX];
	uint64_t self_put, self_got;
	struct wire_frame_in self[IP_SELF_MAX];
};

/* A packet as far as ip_input.c has read it. */
struct ip_packet {
	union wire_addr src, dst;
	const uint8_t *packet; /* from the IP header on */
	uint32_t packet_len;
	const uint8_t *body; /* upper layer */
	uint32_t body_len;
	struct wire_mac mac; /* of the sender's station */
	uint8_t proto, ecn, hops;
	bool group;        /* sent to a group address on the link or in IP */
	bool fragment;     /* an IPv6 fragment header was there */
	bool joined;       /* from several fragments: packet is the last one's, body all of it */
	uint16_t proto_at; /* the byte of packet that says what body is */
};

/* ip_core.c */

/** ip_addr_find() - Return: the entry of our address @addr, or NULL. */
struct ip_addr_entry *ip_addr_find(struct ip *ip, const union wire_addr *addr);

/* ip_output.c */

/**
 * ip_answer_new() - room for one frame of IP's own; NULL (counted) when too many wait. Finish by
 * ip_answer_push().
 */
struct wire_frame_out *ip_answer_new(struct ip *ip);

/** ip_answer_push() - the frame of ip_answer_new() is complete. */
void ip_answer_push(struct ip *ip);

/** ip_eth_put() - write the Ethernet header of @f and set l3_at. */
void ip_eth_put(const struct ip *ip, struct wire_frame_out *f, const struct wire_mac *dst,
		uint16_t type);

/**
 * ip_header_put() - write an IP header at l3_at for @len bytes after it, and set l4_at and hdr_len.
 */
void ip_header_put(struct wire_frame_out *f, const union wire_addr *src, const union wire_addr *dst,
		   uint8_t proto, uint32_t len, uint8_t hops);

/**
 * ip_payload_copy() - attach a copy of @len bytes to @f. Return: false (counted) without a buffer.
 */
bool ip_payload_copy(struct ip *ip, struct wire_frame_out *f, const uint8_t *data, uint32_t len);

/* ip_route.c */

/** ip_route_find() - Return: the route with the longest prefix for @dst, or NULL for none and elsewhere. */
const struct ip_route *ip_route_find(const struct ip *ip, const union wire_addr *dst);

/** ip_bits_mapped() - prefix length of the mapped form. Return: it, or -EINVAL. */
int ip_bits_mapped(const union wire_addr *addr, unsigned int bits);

/** ip_is_net_broadcast() - Return: true for the broadcast address of one of our IPv4 networks. */
bool ip_is_net_broadcast(const struct ip *ip, const union wire_addr *addr);

/* ip_input.c */

/** ip_source_martian() - Return: true when nothing from @src can be meant for us. */
bool ip_source_martian(const struct ip *ip, const union wire_addr *src);

/* ip_neigh.c */

void ip_neigh_init(struct ip *ip);

/** ip_neigh_find() - Return: index of @addr, or IP_NONE. */
uint16_t ip_neigh_find(const struct ip *ip, const union wire_addr *addr);

/** ip_neigh_get() - find or make @addr's entry. Return: index, or IP_NONE when all are in use. */
uint16_t ip_neigh_get(struct ip *ip, const union wire_addr *addr);

/** ip_neigh_heard() - @addr has answered (@solicited) or spoken from @mac. */
void ip_neigh_heard(struct ip *ip, const union wire_addr *addr, const struct wire_mac *mac,
		    bool solicited, ztime_t now);

/** ip_neigh_use() - about to send to entry @i. Return: true when its MAC may be used now. */
bool ip_neigh_use(struct ip *ip, uint16_t i, ztime_t now);

/**
 * ip_neigh_wait() - keep a copy of @f until entry @i is resolved. Return: 0 or -ENOBUFS (counted).
 */
int ip_neigh_wait(struct ip *ip, uint16_t i, const struct wire_frame_out *f);

/** ip_deadline_set() - what is due has changed: keep plain.deadline true. */
void ip_deadline_set(struct ip *ip);

/** ip_neigh_fini() - give back what waits. */
void ip_neigh_fini(struct ip *ip);

/* ip_self.c */

/** ip_self_send() - ip_send() of a frame to an address of ours. Return: 0 or -ENOBUFS (counted). */
int ip_self_send(struct ip *ip, const struct wire_flow *flow, struct wire_frame_out *f,
		 uint8_t ecn);

/** ip_self_fini() - give back what is on its way. */
void ip_self_fini(struct ip *ip);

/* ip_ask.c */

/**
 * ip_ask() - send an ARP request or a neighbour solicitation for entry @n, by unicast in state
 * PROBE.
 */
void ip_ask(struct ip *ip, const struct ip_neigh *n);

/** ip_announce() - tell the link that @addr is at our MAC. */
void ip_announce(struct ip *ip, const union wire_addr *addr);

/**
 * ip_announce_again() - announce what was added a while ago once more (RFC 5227 2.3)
 *
 * The first may be lost: a bridge takes nothing from a port whose link has just come up, and who has another's MAC for the
 * address, that of the program before, would keep it for half a minute.
 */
void ip_announce_again(struct ip *ip, ztime_t now);

/** ip_arp_input() - an ARP message. @group: the frame was sent to a group. */
enum counter ip_arp_input(struct ip *ip, const uint8_t *bytes, size_t len, bool group,
			  struct ip_rx *rx, ztime_t now);

/** ip_nd_input() - a neighbour solicitation or advertisement. */
enum counter ip_nd_input(struct ip *ip, const struct ip_packet *p, const struct wire_icmp *m,
			 struct ip_rx *rx, ztime_t now);

/* ip_icmp.c */

/**
 * ip_bucket_take() - may one more of what is limited be sent?
 *
 * Tokens come back evenly, @per_s a second; the bucket holds a tenth of a second. Return: true, and one token less.
 */
bool ip_bucket_take(struct ip_bucket *b, uint32_t per_s, ztime_t now);

/** ip_icmp_input() - an ICMP or ICMPv6 message; sets @rx for an error that quotes TCP. */
enum counter ip_icmp_input(struct ip *ip, const struct ip_packet *p, struct ip_rx *rx, ztime_t now);

/** ip_icmp_unreach() - tell the sender of @p that nobody here takes its protocol, or its port where it is UDP. */
void ip_icmp_unreach(struct ip *ip, const struct ip_packet *p, ztime_t now);

/**
 * ip_icmp_problem() - tell the sender of the IPv6 packet @p what is wrong with it (RFC 4443 3.4)
 * @code: enum wire_icmp6_param
 * @at:   byte of the packet that is wrong
 */
void ip_icmp_problem(struct ip *ip, const struct ip_packet *p, uint8_t code, uint16_t at,
		     ztime_t now);

/* ip_pmtu.c */

/** ip_pmtu_find() - Return: MTU remembered for @dst, or @link. */
uint16_t ip_pmtu_find(const struct ip *ip, const union wire_addr *dst, uint16_t link, ztime_t now);

/* ip_reass.c */

struct ip_frag {
	uint32_t id;
	uint32_t off;
	bool more;
};

/**
 * ip_reass_input() - one fragment
 * @p: its body is the fragment's part; on completion body and body_len become the datagram's
 *
 * Return: CNT_none when complete, CNT_ip_reass_wait while parts miss, else why it was dropped.
 */
enum counter ip_reass_input(struct ip *ip, struct ip_packet *p, const struct ip_frag *f,
			    ztime_t now);

#endif
