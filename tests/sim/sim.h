/* sim.h - two hosts, two links and a clock that jumps: a deterministic world for the TCP core
 *
 * Theory of operation: a run is made from one 64-bit seed. It has a client and a server host, each with its own
 * struct tcp_env, and one link in each direction. Packets are real bytes: what tcp_output() gives is emitted with
 * its checksum, crosses a link that may lose, delay, reorder, repeat, damage, mark or refuse it, and is parsed
 * again. Time jumps to the next arrival, connection deadline or application wish. Nothing reads a clock and
 * nothing else is random, so a seed is a run, and its trace hash says whether two runs were the same.
 *
 * The number of faults in a run is limited, after which the links are perfect: so every run must end well,
 * and what does not end is a bug. Who calls: sim_main.c (many seeds), sim_table.c (goodput).
 * Memory: a struct sim is reused from run to run; its packets and blocks are counted, so a leak is seen.
 * Thread: one.
 */
#ifndef ZTCP_SIM_H
#define ZTCP_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "stack/tcp/tcb.h"

#define SIM_CONNS     4
#define SIM_PKT_BYTES 9100
#define SIM_CLIENT    0
#define SIM_SERVER    1

struct sim_rng {
	uint64_t s;
	const uint8_t *p, *end; /* a fuzzer's answers, used up before the seed's; or NULL */
};

struct sim_pkt {
	struct sim_pkt *next; /* free list */
	ztime_t at;
	uint64_t order; /* ties are broken by it */
	uint32_t refs;
	uint16_t len;
	uint8_t dst, ecn;
	bool moved; /* from an address that no connection knows */
	uint8_t bytes[SIM_PKT_BYTES];
};

/* One direction. Chances are in 1/10000. */
struct sim_link {
	uint64_t rate_bps; /* bytes a second */
	ztime_t delay;
	ztime_t jitter;       /* a reordered packet comes this much later at most */
	uint32_t queue_bytes; /* of the buffer before the link */
	uint32_t mark_bytes; /* ECN-capable packets are marked when the queue is longer; 0: never */
	uint16_t loss, dup, reorder, corrupt, mark;
	uint16_t mss_max; /* larger payloads do not fit; 0: all fit */
	bool icmp;        /* the sender is told so */
	ztime_t free_at;  /* when the last queued packet has left */
	uint64_t carried, dropped;
};

struct sim_app {
	uint64_t to_send, sent, to_get, got;
	uint64_t key; /* which stream this is, for its bytes */
	uint64_t peer_key;
	uint32_t write_max, read_max;
	ztime_t write_at, read_at;
	uint16_t pause;    /* chance of a pause after a write or a read */
	uint16_t more;     /* chance that a write says that more follows */
	uint64_t abort_at; /* abort after so many bytes received; UINT64_MAX: never */
	bool blind;        /* bytes may be forged: do not compare them */
	bool close_first;  /* close without waiting for the peer's FIN */
	bool half_close;   /* shut down sending as soon as all is sent */
	bool connected, shut, closed, eof;
	int error;
};

struct sim_conn {
	bool used;
	bool doomed; /* this end or the other will abort: only a prefix need arrive */
	struct tcb t;
	struct wire_flow flow;
	struct sim_app app;
	uint16_t path_mss;
	ztime_t start_at;
};

struct sim_host {
	struct sim *sim;
	uint8_t id;
	struct tcp_env env;
	struct tcp_env other; /* of a second instance, to which connections move */
	struct base_counters counters;
	struct tcp_listener listener;
	struct sim_conn conn[SIM_CONNS];
	uint32_t buf_refs;          /* references to sent payload that the stack holds */
	uint16_t no_memory;         /* chance that a new block is refused */
	void *stash[TCP_MEM_COUNT]; /* blocks that the run has not asked for yet */
};

/* A router's "too big", on its way back to a sender. A newer one replaces it. */
struct sim_icmp {
	bool pending;
	uint16_t port, mss;
	uint32_t seq;
};

struct sim {
	struct sim_rng rng;
	ztime_t now, end;
	uint64_t order, events, events_max;
	uint64_t hash;   /* of everything that crossed a link */
	uint32_t faults; /* left */
	struct sim_host host[2];
	struct sim_link link[2]; /* [i] carries from host i */
	struct sim_icmp icmp[2];
	struct sim_pkt **heap;
	uint32_t heap_n, heap_cap;
	struct sim_pkt *free_pkts;
	uint32_t pkts_out;
	unsigned nconn;
	ztime_t mtu_at; /* when the path gets smaller */
	uint16_t mtu_mss;
	uint16_t mtu_again; /* and a while later; 0: never */
	ztime_t move_at;    /* when a connection is lifted from one instance to another */
	uint8_t moves;      /* left */
	uint64_t lifted;    /* so far, in all runs */
	ztime_t addr_at;    /* when the client's address changes */
	bool addr_changed, answering_stranger;
	bool wrap; /* initial sequence numbers shortly before zero */
	bool tfo;
	bool verbose;
	bool whole; /* no short ways: every segment goes through tcp_input() and tcp_output() */
	uint64_t short_in, short_out; /* segments that did go a short way */
	bool check;                   /* look at every connection after every call */
	bool hostile;                 /* somebody forges segments */
	uint32_t forged;              /* forged segments still to come */
	char why[160];                /* first broken property */
};

/* sim_rng.c is small enough to live here. */
static inline uint64_t sim_rand(struct sim_rng *r)
{
	uint64_t z = r->s += 0x9e3779b97f4a7c15ull; /* splitmix64 */

	if (r->end - r->p >= 2) {
		z = (uint64_t)r->p[0] | (uint64_t)r->p[1] << 8;
		r->p += 2;
		return z;
	}
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static inline uint64_t sim_range(struct sim_rng *r, uint64_t lo, uint64_t hi)
{
	return lo + sim_rand(r) % (hi - lo + 1);
}

static inline bool sim_chance(struct sim_rng *r, uint32_t of_10000)
{
	return of_10000 && sim_rand(r) % 10000 < of_10000;
}

/* sim_net.c */
struct sim_pkt *sim_pkt_new(struct sim *s);
void sim_pkt_put(struct sim *s, struct sim_pkt *p);
void sim_send(struct sim *s, uint8_t from, struct sim_pkt *p, uint16_t payload, uint32_t seq,
	      uint16_t sport);
struct sim_pkt *sim_next(struct sim *s);
ztime_t sim_next_at(const struct sim *s);

/* sim_host.c */
void sim_host_init(struct sim *s, uint8_t id);
void sim_host_free(struct sim_host *h);
void sim_host_receive(struct sim_host *h, struct sim_pkt *p);
void sim_host_flush(struct sim_host *h, struct sim_conn *c);
void sim_host_icmp(struct sim_host *h);
void sim_connect(struct sim_host *h, struct sim_conn *c);
void sim_rebase(struct tcb *t, uint32_t to);

/* sim_app.c */
void sim_app_run(struct sim_host *h, struct sim_conn *c);
ztime_t sim_app_wake(const struct sim_conn *c, ztime_t now);
const uint8_t *sim_bytes(uint64_t key, uint64_t offset, uint32_t *len);

/* sim_check.c */
void sim_check_tcb(struct sim *s, const struct tcb *t);

/* sim_move.c */
void sim_move(struct sim_host *h, struct sim_conn *c);

/* sim_forge.c */
void sim_forge(struct sim *s);

/* sim_world.c */
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_loop(struct sim *s);
void sim_clear(struct sim *s);
void sim_check_end(struct sim *s);
bool sim_run(struct sim *s, uint64_t seed);
void sim_free(struct sim *s);

#endif
