/* tcb.h - the state of one connection, by the names the RFCs give it
 *
 * What it does: lays out struct tcb, five cache lines, so that an idle connection is this struct and nothing else. What
 * is needed only sometimes lives in blocks from the environment's pool: payload runs (tcp_chunk), runs in flight
 * (tcp_sent), out-of-order islands (tcp_range) and the scoreboard of a loss episode (tcp_loss).
 *
 * Fields lie by what is done with them. Line 0 has the numbers that judge a segment, line 1 the queues and the clock
 * that goes with them, line 2 congestion and the round trip, line 3 limits and what is seldom there at all, line 4 what
 * the application and the slow clocks need. A request and its answer touch all five: the first three for nearly every
 * step, the last two for a limit, a count of blocks or an event. The struct lies on a line's border where it is
 * embedded (struct inst_conn), so that a processor fetches the five as one run.
 *
 * Who includes it: stack/tcp and its tests; others embed struct tcb and use tcp.h alone.
 * Owner of the memory: see tcp.h. Thread: the environment's.
 */
#ifndef ZTCP_TCB_H
#define ZTCP_TCB_H

#include <stddef.h>

#include "stack/base/base_check.h"
#include "stack/base/base_list.h"
#include "stack/base/base_seq.h"
#include "stack/cc/cc.h"
#include "stack/tcp/tcp.h"

/* ---------------------------------------------------------------- blocks */

/* One run of payload, in the send queue or the receive queue. Queues are rings known by their tail. */
struct tcp_chunk {
	struct tcp_chunk *next;
	const uint8_t *data;
	void *owner;
	uint32_t len;
	uint32_t seq; /* of data[0]; kept true when the front is trimmed */
};

enum tcp_sent_flag {
	TCP_SENT_RETRANS = 1, /* sent more than once: no round trip can be taken from it (Karn) */
	TCP_SENT_SACKED = 2,  /* the peer has it (RFC 2018) */
	TCP_SENT_LOST = 4,    /* declared lost and waiting on loss->lost to be sent again */
	TCP_SENT_PROBE = 16,  /* larger than mss, to see whether it arrives (tcp_raise.c) */
	TCP_SENT_FIN = 8,     /* the last sequence number of the run is our FIN */
};

/* One run [seq, end) that was handed to the network in one go. */
struct tcp_sent {
	struct base_list by_seq;  /* ring t->sent, ascending */
	struct base_list by_time; /* ring t->flight, by sent_at; or loss->lost; or none (SACKed) */
	ztime_t sent_at;          /* of the last transmission */
	struct tcp_chunk *chunk;  /* holds the byte seq; NULL for a bare FIN */
	uint32_t seq, end;
	uint32_t gap_ns;  /* paced flows: nothing for so long after sent_at */
	uint16_t flags;   /* TCP_SENT_* */
	uint16_t retrans; /* transmissions after the first */
};

/* An island of out-of-order data; the list is ordered by when it last grew (RFC 2018 4). */
struct tcp_range {
	struct tcp_range *next;
	struct tcp_chunk *tail; /* ring */
	uint32_t left, right;
	bool fin; /* the peer's FIN follows at right */
};

/* Congestion state, in order of severity. */
enum tcp_ca {
	TCP_CA_OPEN,     /* nothing amiss */
	TCP_CA_CWR,      /* reducing after an ECN echo or a probe that found a loss */
	TCP_CA_RECOVERY, /* fast recovery (RFC 5681 3.2, RFC 6675) */
	TCP_CA_LOSS,     /* after a retransmission timeout */
};

/* RFC 5682: is the timeout that has just happened a false alarm? */
enum tcp_frto {
	TCP_FRTO_NONE,
	TCP_FRTO_HEAD, /* the first segment was sent again; what does the ACK say? */
	TCP_FRTO_NEW,  /* it advanced, so new data goes out before the rest is repeated */
};

/* Exists from the first sign of trouble until all of it is acknowledged. */
struct tcp_loss {
	struct base_list *lost; /* first of ring by_time of runs to send again, or NULL */
	uint32_t sacked_bytes; /* in runs with TCP_SENT_SACKED; NewReno: duplicate ACKs times MSS */
	uint32_t lost_bytes;   /* in runs with TCP_SENT_LOST */
	uint32_t recover;      /* snd_nxt when the episode began (RFC 6582) */
	uint32_t high_sacked;  /* end of the highest SACKed run */
	struct tcp_sent *cursor; /* where the last SACK block ended: most blocks begin near it */
	/* RFC 8985 6.2 */
	ztime_t rack_sent_at; /* RACK.xmit_ts */
	uint32_t rack_end;    /* RACK.end_seq */
	uint32_t rack_rtt_us;
	/* RFC 6937 */
	uint32_t prr_delivered, prr_out, prr_pipe;
	/* Undo of a false alarm */
	uint32_t undo_una;     /* snd_una when cwnd was reduced */
	uint32_t undo_retrans; /* runs sent again in the episode, not yet reported as duplicates */
	struct cc undo_cc;     /* as it was before the reduction */
	uint32_t undo_tsval;   /* timestamp of the first retransmission (RFC 3522) */
	/* reo_mult grows once a round trip: not before this is acknowledged */
	uint32_t dsack_round;
	uint16_t reordering; /* segments by which one was overtaken, at most */
	bool undo_ok, undo_ts_ok;
	uint8_t frto; /* enum tcp_frto */
	uint8_t sack_n;
	/* Blocks of the last ACK, not walked twice */
	struct wire_tcp_sack sack_seen[WIRE_TCP_SACK_MAX];
};

struct tcp_tfo {
	uint8_t use_len; /* cookie to send */
	uint8_t got_len; /* cookie the peer gave */
	uint8_t cookie[WIRE_TCP_TFO_MAX];
	uint8_t got[WIRE_TCP_TFO_MAX];
};

/* ---------------------------------------------------------------- the connection */

enum tcp_flag {
	TCP_F_TS = 1 << 0,       /* timestamps agreed (RFC 7323 3) */
	TCP_F_SACK = 1 << 1,     /* SACK agreed */
	TCP_F_WSCALE = 1 << 2,   /* window scale agreed */
	TCP_F_ECN = 1 << 3,      /* ECN agreed */
	TCP_F_ECN_ECHO = 1 << 4, /* repeat ECE until the peer's CWR (RFC 3168 6.1.3) */
	TCP_F_ECN_CWR = 1 << 5,  /* put CWR on the next new data */
	TCP_F_NODELAY = 1 << 6,
	TCP_F_CORK = 1 << 7,
	TCP_F_MORE = 1 << 8, /* the last tcp_send() said that more follows */
	TCP_F_KEEPALIVE = 1 << 9,
	TCP_F_PACING = 1 << 10,
	TCP_F_NO_ECN = 1 << 11,     /* option: do not offer ECN */
	TCP_F_FIN_QUEUED = 1 << 12, /* our FIN is to follow the last queued byte */
	TCP_F_FIN_SENT = 1 << 13,
	TCP_F_FIN_RCVD = 1 << 14, /* the peer's FIN has been taken in order; rcv_nxt is past it */
	TCP_F_ORPHAN = 1 << 15,   /* closed by the application */
	TCP_F_RCV_SHUT = 1 << 16, /* the application shut receiving: not both ways and go on */
	TCP_F_SND_FULL = 1 << 17, /* tcp_send() has refused bytes: tell when there is room */
	TCP_F_URG_SND = 1 << 18,  /* snd_up holds */
	TCP_F_URG_RCV = 1 << 19,  /* rcv_up holds and has not been read past */
	TCP_F_DSACK = 1 << 20,    /* dsack is to be reported in the next ACK (RFC 2883) */
	TCP_F_TLP = 1 << 21,      /* a loss probe is out; tlp_end holds (RFC 8985 7) */
	TCP_F_TLP_RETRANS = 1 << 22, /* it repeated old data */
	TCP_F_REORDER = 1 << 23,     /* reordering has been seen (RFC 8985 6.2 step 4) */
	TCP_F_CWND_LIMITED = 1 << 24,
	TCP_F_RCVBUF_SET = 1 << 25,  /* the application chose: no auto-tuning */
	TCP_F_SIMULT = 1 << 26,      /* SYN-RECEIVED out of SYN-SENT: simultaneous open */
	TCP_F_TFO_CHILD = 1 << 27,   /* passive Fast Open: counts against tfo_max */
	TCP_F_READY_CHILD = 1 << 28, /* counts against the backlog */
	TCP_F_QUICKACK = 1 << 29,    /* option: no delayed ACK */
	TCP_F_ACTIVE = 1 << 30,      /* we opened */
	TCP_F_TFO_GRANT = 1u << 31,  /* the SYN-ACK carries a cookie, kept in dsack until then */
};

/* What tcp_output() has to do besides data. */
enum tcp_todo {
	TCP_DO_ACK = 1, /* an ACK, now */
	TCP_DO_SYN = 2, /* SYN or SYN-ACK, by state */
	TCP_DO_RST = 4,
	TCP_DO_PROBE = 8,  /* window or keep-alive probe: an old sequence number */
	TCP_DO_TLP = 16,   /* loss probe */
	TCP_DO_SEND = 32,  /* look at the queues: something may be sendable */
	TCP_DO_FORCE = 64, /* send what is there, short as it may be */
	/* Handshake: a RST for an ACK of something never sent, kept in snd_wl1 */
	TCP_DO_RST_ACK = 128,
};

enum tcp_xmit_mode {
	TCP_XMIT_NONE,
	TCP_XMIT_RTO,     /* RFC 6298 */
	TCP_XMIT_TLP,     /* RFC 8985 7: sooner than the RTO */
	TCP_XMIT_REO,     /* RFC 8985 6.2: reordering window of the oldest suspect */
	TCP_XMIT_PERSIST, /* RFC 9293 3.8.6.1 */
	/* The next two say more: see below. */
	TCP_XMIT_LONE,  /* as TLP, for a request or an answer under way */
	TCP_XMIT_QUIET, /* as NONE, between two of these */
};

/* Nearly all the time a connection of requests and answers is in one of two conditions, which tcp_fast.h makes and uses:
 *
 * LONE: all that was queued is in one block and went out as one short segment, once, at xmit_at - env->lone_ns; nothing
 *       else is in flight. That is all there is to say of it, so no struct tcp_sent says it. xmit_at is earlier than
 *       the probe: whoever is first to ask works out when that is due.
 * QUIET: that was acknowledged, and nothing was queued since, or one run. There is no clock; xmit_at says nothing. It
 *       lasts until the next segment goes out, or tcp_output() finds none.
 *
 * In both a struct tcp_sent is kept back in the pool, two segments fit in the congestion window, the state is
 * ESTABLISHED with SACK and a round trip measured, nothing is missing on either side, and no option or flag asks for
 * more than plain segments, so that nothing of this has to be looked at. Every function that might make any of it
 * untrue, or looks at the flight or its clock, calls tcp_fast_end() before it does anything else.
 */

struct tcb {
	/* line 0: what every segment compares */
	struct tcp_env *env;
	uint32_t snd_una;   /* SND.UNA */
	uint32_t snd_nxt;   /* SND.NXT */
	uint32_t snd_wnd;   /* SND.WND, bytes */
	uint32_t snd_wl1;   /* SND.WL1 */
	uint32_t rcv_nxt;   /* RCV.NXT */
	uint32_t rcv_adv;   /* right edge of the window we advertised; never moves left */
	uint32_t rcv_acked; /* Last.ACK.sent (RFC 7323 4.3) */
	uint32_t snd_end;   /* sequence number after the last queued byte */
	uint32_t ts_recent; /* TS.Recent */
	uint32_t ts_offset; /* added to our millisecond clock: strangers cannot read our uptime */
	/* The next five are a word that is looked at in one go: tcp_word(). */
	uint32_t flags;   /* TCP_F_* */
	uint8_t state;    /* enum tcp_state */
	uint8_t todo;     /* TCP_DO_* */
	uint8_t ca_state; /* enum tcp_ca */
	uint8_t probes;   /* unanswered window or keep-alive probes */
	uint16_t mss;     /* payload bytes of a full segment now, options taken off */
	uint8_t snd_wscale, rcv_wscale;
	/* Besides the mode all are zero while an ACK finds everything well; looked at in one go: tcp_calm(). */
	uint8_t xmit_mode;
	uint8_t backoff; /* consecutive timeouts */
	uint8_t dupacks;
	uint8_t soft_errno; /* ICMP said; positive errno below 256 */

	/* line 1: queues and fast timers */
	struct tcp_chunk *sndq;   /* tail of the ring of bytes from snd_una on */
	struct tcp_chunk *unsent; /* the chunk that holds snd_nxt; NULL when all is sent */
	struct tcp_chunk *rcvq;   /* tail of the ring of readable bytes */
	struct base_list *sent;   /* first of ring by_seq, or NULL */
	struct base_list *flight; /* first of ring by_time, or NULL */
	ztime_t xmit_at;          /* xmit_mode's deadline */
	ztime_t delack_at;
	uint32_t rcv_queued; /* readable bytes */
	uint32_t pipe;       /* bytes in flight by our best knowledge (RFC 6675) */

	/* line 2: round trip and congestion */
	struct cc cc;
	uint32_t srtt_us8; /* 8 times SRTT; 0: no sample yet */
	uint32_t rttvar_us4;

	/* line 3 */
	uint32_t rto_first_us; /* the timeout while no round trip is known: tcp_rto_us() */
	uint32_t min_rtt_us;
	struct tcp_loss *loss;
	struct tcp_range *ooo;
	union {
		struct tcp_listener *parent; /* passive, until accepted */
		struct tcp_tfo *tfo;         /* active */
	} u;
	uint32_t max_wnd; /* largest window the peer ever offered */
	uint32_t snd_sml; /* end of the last short segment (Minshall's form of Nagle) */
	uint32_t sndbuf, rcvbuf;

	/* line 4: seldom */
	uint32_t snd_up, rcv_up;
	struct wire_tcp_sack dsack;
	uint32_t tlp_end;
	uint32_t slow_tick; /* keep-alive, FIN-WAIT-2, TIME-WAIT, by state: see tcp_slow_at() */
	/* Auto-tuning: everything before had been read at tune_ms; in the handshake: when the SYN was sent, us */
	uint32_t tune_seq;
	uint32_t stall_ms; /* when the first timeout or probe without an answer happened */
	uint32_t seen_ms;  /* last segment from the peer, or last new data from us */
	uint32_t user_timeout_ms;
	uint16_t tune_ms;     /* low bits of the time */
	uint16_t retransmits; /* stays at its maximum */
	uint16_t rcv_chunks;  /* blocks in rcvq and ooo */
	uint16_t snd_chunks;
	uint16_t rcv_mss;  /* our guess of the peer's segment size */
	uint16_t peer_mss; /* from its option */
	uint16_t path_mss;
	uint16_t user_mss;   /* 0, or the application's limit */
	uint16_t probed_mss; /* 0, or the limit that black-hole detection found */
	uint16_t top_mss;    /* path_mss as it was at first */
	uint16_t raise_high; /* 0, or a size that was tried and did not arrive */
	uint16_t raise_s;    /* low bits of when a larger size is tried */
	uint16_t events;     /* TCP_EV_* */
	uint16_t keep_idle_s, keep_intvl_s;
	uint16_t linger2_s;
	uint8_t keep_count, syn_retries;
	uint8_t quick;    /* segments still to be acknowledged at once */
	uint8_t reo_mult; /* RFC 8985 6.2: reo_wnd in quarters of min RTT */
	uint8_t reo_persist;
	uint8_t error;      /* final; positive errno below 256 */
	uint8_t challenges; /* challenge ACKs in this second */
	uint8_t challenge_s;
};

/* An idle connection is this struct plus what the instance adds; the sum must stay within 400 bytes. */
BASE_BUILD_CHECK(sizeof(struct tcb) <= 304);
BASE_BUILD_CHECK(offsetof(struct tcb, flags) == 48 && offsetof(struct tcb, probes) == 55);
BASE_BUILD_CHECK(offsetof(struct tcb, xmit_mode) == 60 && offsetof(struct tcb, soft_errno) == 63);
BASE_BUILD_CHECK(sizeof(struct tcp_chunk) == 32);
BASE_BUILD_CHECK(sizeof(struct tcp_sent) <= 64);

#endif
