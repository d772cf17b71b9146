/* tcp.h - the whole interface of the TCP machine
 *
 * What it does: one struct tcb is one connection. Segments, calls and a clock value go in; segments,
 * event bits and the next deadline come out. Nothing here makes a system call, reads a clock, locks,
 * allocates from the process or keeps a global.
 *
 * Who calls: stack/inst and the simulator. The loop of a caller is
 *
 *     reason = tcp_input(t, seg, now);       a segment arrived
 *     tcp_send() tcp_recv_done() tcp_close() the application did something
 *     n = tcp_output(t, out, max, now);      after either, and when tcp_deadline(t) has come
 *     ev = tcp_events_take(t);               tell the application
 *     arm a timer for tcp_deadline(t)
 *
 * Memory: the caller owns the tcb, the environment and its pool; a tcb takes blocks from the pool only
 * while it has data queued, in flight or out of order. Payload is referenced, never copied: an iov has
 * an owner, and the reference moves with it as each function says.
 * Thread: an environment and all its connections belong to one thread.
 * `now` never decreases from call to call on one environment.
 *
 * Reading order: this file, tcb.h, tcp_input.c. docs/compliance.md goes through the RFCs.
 */
#ifndef ZTCP_TCP_H
#define ZTCP_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/base/base_counters.h"
#include "stack/base/base_hash.h"
#include "stack/base/base_time.h"
#include "stack/wire/wire_addr.h"
#include "stack/wire/wire_tcp.h"

struct tcb;
struct cc_ops;
struct tcp_loss_ops;

/* RFC 9293 3.3.2. LISTEN is struct tcp_listener, which is no connection. */
enum tcp_state {
	TCP_ST_CLOSED,
	TCP_ST_SYN_SENT,
	TCP_ST_SYN_RCVD,
	TCP_ST_ESTABLISHED,
	TCP_ST_FIN_WAIT_1,
	TCP_ST_FIN_WAIT_2,
	TCP_ST_CLOSE_WAIT,
	TCP_ST_CLOSING,
	TCP_ST_LAST_ACK,
	TCP_ST_TIME_WAIT,
	TCP_ST_COUNT
};

/* What has happened since tcp_events_take(). */
enum tcp_event {
	TCP_EV_CONNECTED = 0x01, /* the handshake is done (a passive child may now be accepted) */
	TCP_EV_READABLE = 0x02,  /* more bytes to read */
	TCP_EV_WRITABLE = 0x04,  /* room in the send queue again after it was full */
	TCP_EV_EOF = 0x08,       /* the peer's FIN is in its place in the stream */
	TCP_EV_ERROR = 0x10,     /* the connection failed: tcp_error() says how */
	TCP_EV_CLOSED = 0x20,  /* state CLOSED: nothing more will happen; tcp_free() it when done */
	TCP_EV_DRAINED = 0x40, /* everything sent so far has been acknowledged */
	TCP_EV_URGENT = 0x80,  /* a new urgent mark */
	TCP_EV_TFO = 0x100,    /* the peer gave a Fast Open cookie: tcp_tfo_cookie() */
};

/* ---------------------------------------------------------------- environment */

/* Kinds of blocks a connection borrows. Sizes are tcp_mem_size[]. */
enum tcp_mem {
	TCP_MEM_CHUNK, /* one run of queued payload, either direction */
	TCP_MEM_SENT,  /* one run of sequence space in flight */
	TCP_MEM_RANGE, /* one island of out-of-order data */
	TCP_MEM_LOSS,  /* scoreboard and recovery state, while something is amiss */
	TCP_MEM_TFO,   /* Fast Open cookie of a client connection */
	TCP_MEM_COUNT
};

extern const uint16_t tcp_mem_size[TCP_MEM_COUNT];

/* Free lists over memory that the owner of the environment provides. */
struct tcp_pool {
	void *free[TCP_MEM_COUNT];
	uint32_t made[TCP_MEM_COUNT]; /* blocks there are */
	/* Of them: out now, or kept back for who may need one (TCP_XMIT_LONE) */
	uint32_t used[TCP_MEM_COUNT];
	/* One more block of tcp_mem_size[@kind] bytes, 8-byte aligned, or NULL: there is no more. */
	void *(*more)(void *ctx, enum tcp_mem kind);
	void *ctx;
};

struct tcp_config {
	uint32_t sndbuf_bytes;     /* send queue limit of a new connection */
	uint32_t rcvbuf_bytes;     /* receive buffer of a new connection */
	uint32_t rcvbuf_max_bytes; /* auto-tuning goes up to this; also decides the window scale */
	uint32_t gso_max_bytes;    /* longest payload of one output segment; 0: one MSS,
				    * in an instance whose device has TSO as much as fits */
	uint16_t gso_min_segs;     /* no slow rate makes it shorter than this; at least 2 */
	uint32_t rto_min_us;       /* on top of the round trip; at least 1000, a caller's grain */
	uint32_t rto_max_us, rto_initial_us;
	uint32_t delack_us;       /* longest delay of an ACK, < 500 ms (RFC 9293 3.8.6.3) */
	uint32_t time_wait_ms;    /* 2 MSL */
	uint32_t fin_wait2_ms;    /* patience of a closed socket in FIN-WAIT-2 */
	uint32_t user_timeout_ms; /* 0: retries decide */
	uint16_t keep_idle_s, keep_intvl_s;
	uint8_t keep_count;
	uint8_t syn_retries, synack_retries, data_retries, orphan_retries;
	uint8_t init_cwnd;       /* segments (RFC 6928) */
	uint8_t challenge_per_s; /* challenge ACKs a second and connection (RFC 5961 7) */
	uint16_t mss_floor;      /* black-hole detection stops here */
	uint16_t mss_min;        /* a smaller MSS option counts as this */
	/* Try a larger size again after so long (RFC 4821), at most 32767; 0: never */
	uint16_t mtu_raise_s;
	bool sack, timestamps, window_scale, ecn, pacing, autotune, tfo_server;
	bool idle_restart; /* the window shrinks to the initial one after silence (RFC 5681 4.1) */
	const struct cc_ops *cc;
	const struct tcp_loss_ops *loss; /* when the peer has SACK; else NewReno */
};

struct tcp_env {
	struct base_counters *counters;
	struct base_hash_key key; /* secret: initial sequence numbers, cookies, timestamp offsets */
	struct tcp_pool pool;
	/* Give back one reference to the owner of an iov; never NULL, never called with a NULL owner. */
	void (*buf_put)(void *ctx, void *owner);
	void *buf_ctx;
	struct tcp_config cfg; /* as it is when the first connection is made */
	ztime_t lone_ns;       /* by tcp_init(): see TCP_XMIT_LONE */
};

/** tcp_config_defaults() - fill @cfg with what docs/compliance.md states. */
void tcp_config_defaults(struct tcp_config *cfg);

/* ---------------------------------------------------------------- life of a connection */

/**
 * tcp_init() - make @t a closed connection of @env with the environment's defaults
 *
 * Options may be set before tcp_connect(). @env is borrowed for the life of @t.
 */
void tcp_init(struct tcb *t, struct tcp_env *env);

/**
 * tcp_connect() - active open (RFC 9293 3.10.1)
 * @t:        in state CLOSED
 * @id:       the two ends; used for keyed hashes, not kept
 * @path_mss: largest payload without options that the path's MTU allows
 * @now:      time
 *
 * Data queued by tcp_send() before goes into the SYN when tcp_tfo_use() gave a cookie.
 * Return: 0, or -EISCONN when @t is not CLOSED.
 */
int tcp_connect(struct tcb *t, const struct wire_flow *id, uint16_t path_mss, ztime_t now);

/**
 * tcp_shutdown_send() - no more bytes will be sent: FIN after those queued (RFC 9293 3.10.4)
 *
 * Return: 0, or -ENOTCONN.
 */
int tcp_shutdown_send(struct tcb *t, ztime_t now);

/**
 * tcp_shutdown_recv() - the application will read no more
 *
 * What is there and what comes can be read all the same, as with the kernel; but once sending is shut as well, bytes that
 * come end the connection (RFC 1122 4.2.2.13): RST to the peer, and failed with ECONNRESET.
 */
void tcp_shutdown_recv(struct tcb *t);

/**
 * tcp_close() - the application lets go: FIN, or RST when bytes it never read are thrown away
 *
 * From here the machine finishes by itself, bounded in time; TCP_EV_CLOSED tells when.
 */
void tcp_close(struct tcb *t, ztime_t now);

/**
 * tcp_time_wait_may_end() - whether the flow of a connection in TIME-WAIT is good for a new one of ours
 *
 * RFC 6191: late segments of the old one are told by their timestamps.
 */
bool tcp_time_wait_may_end(const struct tcb *t, ztime_t now);

/** tcp_time_wait_end() - a listener has taken the SYN that tcp_input() has found good for @t's place. */
void tcp_time_wait_end(struct tcb *t);

/** tcp_time_wait_stay() - nobody listens for that SYN: who sent it proves nothing (RFC 5961 4.2), and is answered with an ACK. */
void tcp_time_wait_stay(struct tcb *t, ztime_t now);

/** tcp_abort() - RST (where the state has one) and CLOSED (RFC 9293 3.10.5). */
void tcp_abort(struct tcb *t, ztime_t now);

/** tcp_free() - give back every block and reference @t holds; sends nothing. @t is CLOSED after. */
void tcp_free(struct tcb *t);

/* ---------------------------------------------------------------- the machine */

/**
 * tcp_input() - one segment for this connection (RFC 9293 3.10.7)
 * @seg: parsed and verified by wire_tcp_parse(); an iov whose reference the connection keeps has its
 *       owner set to NULL, all others remain the caller's
 *
 * Return: CNT_none, or why the segment (or all its data) was dropped; the caller counts it.
 * CNT_tcp_time_wait_reuse means: @t is in TIME-WAIT, and may give way to this SYN. Give it to the listener, if there is
 * one, then call tcp_time_wait_end() when that has taken or answered it; tcp_time_wait_stay() when there is none.
 */
enum counter tcp_input(struct tcb *t, struct wire_tcp *seg, ztime_t now);

/**
 * tcp_output() - run what is due, then build the segments this connection may send now
 * @out: filled, ports excepted; payload is borrowed from @t's queue until the next call on @t
 * @max: entries in @out, at least 1
 *
 * Return: segments filled; less than @max means nothing more before tcp_deadline(@t).
 */
unsigned tcp_output(struct tcb *t, struct wire_tcp *out, unsigned max, ztime_t now);

/**
 * tcp_fast_input() - the short way for a segment in the middle of a healthy connection
 * @l4:    at least WIRE_TCP_HDR_LEN bytes from the TCP header on, checksum verified
 * @bytes: as long as the IP header says
 * @data:  the payload, wherever it lies now
 * @owner: its reference, the connection's when there is payload and true is returned
 *
 * Not for a segment that a router has marked (ECN codepoint 3).
 * Return: true when all is done as wire_tcp_parse() and tcp_input() would have done it; false when
 * nothing was touched and they have to.
 */
bool tcp_fast_input(struct tcb *t, const uint8_t *l4, uint32_t bytes, const uint8_t *data,
		    void *owner, ztime_t now);

/**
 * tcp_fast_output() - the short way for the last bytes that are queued
 * @l4:  where the TCP header goes, WIRE_TCP_HDR_MAX bytes; ports are left alone, checksum is 0
 * @iov: the payload, one run, borrowed until the next call on @t
 *
 * Not once tcp_deadline() has come. Return: header bytes when this is the one segment that tcp_output() would have
 * given; 0 when nothing was touched and tcp_output() has to be called.
 */
uint32_t tcp_fast_output(struct tcb *t, uint8_t *l4, struct wire_tcp_iov *iov, ztime_t now);

/** tcp_deadline() - Return: when tcp_output() must be called again at the latest. */
ztime_t tcp_deadline(const struct tcb *t);

/** tcp_events_take() - Return: TCP_EV_* bits since the last call, which are cleared. */
unsigned tcp_events_take(struct tcb *t);

/** tcp_state() - Return: the state. */
enum tcp_state tcp_state(const struct tcb *t);

/** tcp_state_name() - Return: "ESTABLISHED" and so on; "?" out of range. */
const char *tcp_state_name(enum tcp_state s);

/** tcp_error() - Return: 0 or the positive errno with which the connection failed; stays set. */
int tcp_error(const struct tcb *t);

/**
 * tcp_pmtu() - the path's size changed (ICMP too big, or the path cache)
 * @path_mss: as in tcp_connect()
 * @seq:      sequence number quoted in the ICMP message; ignored unless in flight (RFC 5927 4)
 *
 * It only ever gets smaller by this (RFC 1191 3, RFC 8201 4).
 *
 * Return: true when it was believed.
 */
bool tcp_pmtu(struct tcb *t, uint16_t path_mss, uint32_t seq, ztime_t now);

/**
 * tcp_icmp_error() - an ICMP unreachable quoted this connection
 * @err:  positive errno
 * @hard: the message says that no later packet will fare better
 *
 * Kills a connection that is being made; is remembered as the reason for a later timeout otherwise
 * (RFC 5927 5.2). Return: true when @seq was in flight.
 */
bool tcp_icmp_error(struct tcb *t, uint32_t seq, int err, bool hard, ztime_t now);

/* ---------------------------------------------------------------- bytes */

enum tcp_send_flag {
	TCP_SEND_MORE = 1,   /* more follows: do not send a short segment for this yet (MSG_MORE) */
	TCP_SEND_URGENT = 2, /* the last byte is urgent (MSG_OOB) */
};

/**
 * tcp_send() - queue bytes by reference
 * @iov: what to send; when anything is taken, one reference to its owner moves to @t. Bytes that
 *       continue the previous iov of the same owner in memory are merged with it.
 * @flags: TCP_SEND_*
 *
 * Return: bytes taken (perhaps fewer than offered), -EAGAIN when the queue is full or blocks are out,
 * -EPIPE after shutdown or when the connection is gone, -ENOTCONN before connect.
 */
int64_t tcp_send(struct tcb *t, const struct wire_tcp_iov *iov, unsigned flags, ztime_t now);

/** tcp_send_space() - Return: bytes that tcp_send() would take now. */
uint32_t tcp_send_space(const struct tcb *t);

/** tcp_unsent() - Return: bytes queued and never sent. */
uint32_t tcp_unsent(const struct tcb *t);

/** tcp_unacked() - Return: bytes queued and not acknowledged, sent or not. */
uint32_t tcp_unacked(const struct tcb *t);

/** tcp_readable() - Return: bytes in order, waiting to be read. */
uint32_t tcp_readable(const struct tcb *t);

/** tcp_eof() - Return: true when all bytes up to the peer's FIN have been read. */
bool tcp_eof(const struct tcb *t);

/**
 * tcp_recv_peek() - look at readable bytes
 * @from: bytes to pass over
 * @iov: filled with up to @max runs, borrowed until tcp_recv_done() passes them
 *
 * Return: runs filled.
 */
unsigned tcp_recv_peek(const struct tcb *t, uint32_t from, struct wire_tcp_iov *iov, unsigned max);

/** tcp_recv_done() - the application has read @n bytes; may call for a window update. */
void tcp_recv_done(struct tcb *t, uint32_t n, ztime_t now);

/**
 * tcp_recv_take() - take the first run with its reference, which moves to the caller
 *
 * Return: true and *@iov, or false when nothing is readable.
 */
bool tcp_recv_take(struct tcb *t, struct wire_tcp_iov *iov, ztime_t now);

/**
 * tcp_urgent_mark() - where the urgent data ends (RFC 6093: urgent bytes stay in the stream)
 * @offset: set to the number of readable bytes before the urgent byte
 *
 * Return: true while an urgent byte is ahead of the reader.
 */
bool tcp_urgent_mark(const struct tcb *t, uint32_t *offset);

/* ---------------------------------------------------------------- options */

enum tcp_opt {
	TCP_OPT_SET_NODELAY,         /* bool */
	TCP_OPT_SET_CORK,            /* bool */
	TCP_OPT_SET_QUICKACK,        /* bool */
	TCP_OPT_SET_KEEPALIVE,       /* bool */
	TCP_OPT_SET_KEEPIDLE_S,      /* 1 .. 32767 */
	TCP_OPT_SET_KEEPINTVL_S,     /* 1 .. 32767 */
	TCP_OPT_SET_KEEPCNT,         /* 1 .. 127 */
	TCP_OPT_SET_USER_TIMEOUT_MS, /* 0: none */
	TCP_OPT_SET_MAXSEG,          /* 88 .. 32767; before the handshake */
	TCP_OPT_SET_SNDBUF,          /* bytes, >= 4096 */
	TCP_OPT_SET_RCVBUF,          /* bytes, >= 4096; ends auto-tuning */
	TCP_OPT_SET_SYNCNT,          /* 1 .. 127 */
	TCP_OPT_SET_LINGER2_S,       /* FIN-WAIT-2 patience of a closed socket; 0: the default */
	TCP_OPT_SET_PACING,          /* bool */
	TCP_OPT_SET_ECN,             /* bool; before the handshake */
	TCP_OPT_SET_COUNT
};

/** tcp_opt_set() - Return: 0, -EINVAL for a value out of range, -EISCONN for one that comes too late. */
int tcp_opt_set(struct tcb *t, enum tcp_opt opt, uint32_t value, ztime_t now);

/** tcp_opt_get() - Return: the value in force, or -EINVAL. */
int64_t tcp_opt_get(const struct tcb *t, enum tcp_opt opt);

/** tcp_cc_set() - change the congestion control, at any time; the window is kept. */
void tcp_cc_set(struct tcb *t, const struct cc_ops *ops);

/**
 * tcp_tfo_use() - Fast Open for the coming tcp_connect() (RFC 7413)
 * @cookie: @len bytes kept from an earlier connection to this peer; @len 0 asks for one
 *
 * Return: 0, -EINVAL for a bad length, -EISCONN, -ENOBUFS.
 */
int tcp_tfo_use(struct tcb *t, const uint8_t *cookie, uint8_t len);

/** tcp_tfo_cookie() - the cookie the peer gave. Return: its length, 0 when none. */
uint8_t tcp_tfo_cookie(const struct tcb *t, uint8_t cookie[WIRE_TCP_TFO_MAX]);

/* ---------------------------------------------------------------- information */

struct tcp_info_rec {
	enum tcp_state state;
	uint8_t ca_state; /* enum tcp_ca of tcb.h */
	uint8_t backoff, probes;
	uint8_t snd_wscale, rcv_wscale;
	bool sack, timestamps, ecn, wscale;
	uint32_t rto_us, srtt_us, rttvar_us, min_rtt_us;
	uint32_t mss, rcv_mss, path_mss;
	uint32_t cwnd, ssthresh, snd_wnd, rcv_wnd;
	uint32_t pipe, sacked, lost, retransmitted_now;
	uint16_t reordering; /* segments by which one was overtaken in this episode; 0: none */
	uint32_t rcvbuf, sndbuf, readable, unsent, unacked;
	uint64_t pacing_rate;
	uint32_t retransmits; /* segments, whole life */
	const char *cc, *loss;
};

/** tcp_info() - fill @info. */
void tcp_info(const struct tcb *t, struct tcp_info_rec *info);

/* Everything that makes a connection, without its queues: what TCP_REPAIR gives and takes. */
struct tcp_record {
	enum tcp_state
		state; /* ESTABLISHED, CLOSE_WAIT, FIN_WAIT_1, FIN_WAIT_2, CLOSING or LAST_ACK */
	uint32_t snd_una, snd_nxt; /* all of [snd_una, snd_nxt) has been sent at least once */
	uint32_t snd_wl1, snd_wnd, max_wnd;
	uint32_t rcv_nxt, rcv_wnd, rcv_wup; /* rcv_wup: rcv_nxt when the window was advertised */
	uint16_t mss;                       /* peer's MSS option */
	uint16_t path_mss;
	uint8_t snd_wscale, rcv_wscale;
	bool wscale_ok, sack_ok, ts_ok, ecn_ok;
	uint32_t ts_val; /* what our timestamp clock reads at this moment */
	uint32_t ts_recent;
	uint32_t srtt_us, cwnd, ssthresh; /* 0: start afresh */
};

/**
 * tcp_record_take() - freeze @t and describe it
 *
 * The queues stay in @t for the caller to read: unread bytes by tcp_recv_peek(), unacknowledged ones by
 * tcp_unacked_peek(). Out-of-order data is forgotten (the peer sends it again). Then tcp_free() @t.
 * Return: 0, or -EAGAIN in a state that cannot move (handshake, TIME-WAIT, CLOSED).
 */
int tcp_record_take(struct tcb *t, struct tcp_record *rec, ztime_t now);

/** tcp_unacked_peek() - like tcp_recv_peek() for bytes not yet acknowledged. Return: runs filled. */
unsigned tcp_unacked_peek(const struct tcb *t, struct wire_tcp_iov *iov, unsigned max);

/**
 * tcp_record_put() - make a connection out of a record
 * @t:      after tcp_init()
 * @unread: the bytes received and not read, in order, one iov for each; references move to @t
 * @unacked: the bytes from snd_una on, sent or not (at least snd_nxt - snd_una less a sent FIN)
 *
 * Return: 0; -EINVAL for a record that contradicts itself; -ENOBUFS. On failure @t holds nothing and
 * the references are still the caller's.
 */
int tcp_record_put(struct tcb *t, const struct tcp_record *rec, const struct wire_tcp_iov *unread,
		   unsigned nunread, const struct wire_tcp_iov *unacked, unsigned nunacked,
		   ztime_t now);

/* ---------------------------------------------------------------- listening */

enum tcp_cookie_mode {
	TCP_COOKIES_AUTO,   /* when the SYN queue is full (RFC 4987 3.6) */
	TCP_COOKIES_ALWAYS, /* no half-open state at all */
	TCP_COOKIES_NEVER,  /* a full SYN queue drops */
};

struct tcp_listener {
	struct tcp_env *env;
	uint32_t backlog; /* connections done and not yet accepted */
	uint32_t syn_max; /* half-open connections */
	uint32_t tfo_max; /* Fast Open connections whose handshake is not done; 0: no Fast Open */
	uint32_t n_syn;   /* now half-open */
	uint32_t n_ready; /* now waiting for tcp_listen_accepted() */
	uint32_t n_tfo;
	enum tcp_cookie_mode cookies;
	ztime_t overflow_at; /* last time the SYN queue was full; -1: never */
	uint32_t maxseg;     /* 0, or a limit on the MSS announced */
};

enum tcp_listen_verdict {
	TCP_LISTEN_DROP,   /* *why is counted */
	TCP_LISTEN_REPLY,  /* send *reply; nothing is kept */
	TCP_LISTEN_CREATE, /* make a tcb and call tcp_listen_open() */
};

/** tcp_listen_init() - start listening. @l is the caller's; @backlog and @syn_max at least 1. */
void tcp_listen_init(struct tcp_listener *l, struct tcp_env *env, uint32_t backlog,
		     uint32_t syn_max);

/**
 * tcp_listen_input() - a segment for a listening port that belongs to no connection (3.10.7.2)
 * @why:   set to CNT_none, or to a reason to count
 * @reply: filled for TCP_LISTEN_REPLY, ports excepted
 *
 * Return: what to do with it.
 */
enum tcp_listen_verdict tcp_listen_input(struct tcp_listener *l, const struct wire_tcp *seg,
					 const struct wire_flow *id, uint16_t path_mss, ztime_t now,
					 enum counter *why, struct wire_tcp *reply);

/**
 * tcp_listen_open() - turn the segment for which TCP_LISTEN_CREATE was said into a connection
 * @t:   uninitialised memory
 * @old: the TIME-WAIT connection it replaces (RFC 6191), or NULL
 *
 * The child counts against the limits of @l until TCP_EV_CONNECTED and tcp_listen_accepted(), or until it
 * is closed. When @l goes away first, the caller aborts its children before.
 * Return: CNT_none, or why the segment's payload was not taken.
 */
enum counter tcp_listen_open(struct tcp_listener *l, struct tcb *t, struct wire_tcp *seg,
			     const struct wire_flow *id, uint16_t path_mss, const struct tcb *old,
			     ztime_t now);

/** tcp_listen_accepted() - the application has @t: it no longer counts against the backlog. */
void tcp_listen_accepted(struct tcb *t);

/**
 * tcp_reset_reply() - the answer to a segment that belongs to nothing (RFC 9293 3.10.7.1)
 *
 * Return: true and *@reply, or false when there must be no answer (the segment is a RST).
 */
bool tcp_reset_reply(const struct wire_tcp *seg, struct wire_tcp *reply);

#endif
