/* inst.h - one instance: one thread's whole TCP/IP stack, without any I/O inside
 *
 * What it does: frames, calls and a clock value go in; frames, events and the next deadline come
 * out. Nothing here makes a system call, reads a clock, takes a lock, allocates from the process
 * or keeps a global.
 *
 * Who calls: the socket layer, the native API (stack/include/ztcp.h), the simulator and tests. A
 * turn of the loop is
 *
 *     inst_input(in, frames, n, now);            what the device has received
 *     while (inst_event_take(in, &ev)) ...       the application reads, writes, closes;
 *                                                inst_event_recv() brings what has come along
 *     while ((n = inst_output(in, out, max, now)))  the device sends out[0 .. n)
 *             send(out, n);
 *     sleep until inst_deadline(in) or a frame
 *
 * so that an answer written at once carries the acknowledgement of the question.
 *
 * Memory: one block of inst_size() bytes, given by the caller and touched only as connections are
 * made: a connection costs INST_CONN_BYTES plus its share of the flow table, and payload only
 * while it has some. Buffers come from the struct wire_buf_ops in the configuration.
 * Thread: all calls on one instance come from one thread at a time. `now` never decreases.
 */
#ifndef ZTCP_INST_H
#define ZTCP_INST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/base/base_counters.h"
#include "stack/base/base_time.h"
#include "stack/inst/inst_rss.h"
#include "stack/ip/ip.h"
#include "stack/tcp/tcp.h"
#include "stack/wire/wire_frame.h"

#define INST_CONN_BYTES 384 /* of an idle connection, besides 12.2 in the flow table */

struct inst;
struct inst_conn;
struct inst_listener;
struct lease_table;

struct inst_config {
	struct ip_config ip;   /* key and buf are taken from below */
	struct tcp_config tcp; /* defaults of new connections */
	struct wire_buf_ops buf;
	struct base_hash_key key; /* 128 secret bits, fresh for each instance */
	struct inst_rss_config rss;
	uint32_t conns_max;        /* 1 to 2^30 */
	uint32_t listeners_max;    /* 1 to 4096 */
	size_t pool_bytes;         /* for queues of payload references, all connections together */
	uint16_t port_lo, port_hi; /* ephemeral ports, both included */
	uint32_t syn_max;          /* half-open connections a listener */
	uint32_t copy_below;       /* shorter payload is copied out of frames with an owner */
};

/** inst_config_defaults() - fill @cfg for 4096 connections; ip.mac, buf and key stay to be set. */
void inst_config_defaults(struct inst_config *cfg);

/** inst_size() - Return: bytes that inst_init() needs, or 0 when @cfg is out of range. */
size_t inst_size(const struct inst_config *cfg);

/**
 * inst_init() - lay out an instance in @mem
 * @mem: inst_size() zeroed bytes, aligned to 64; the caller's; must outlive the instance
 * @cfg: copied
 *
 * Return: the instance, at @mem.
 */
struct inst *inst_init(void *mem, const struct inst_config *cfg, ztime_t now);

/** inst_fini() - give back all buffers; connections vanish without a word. */
void inst_fini(struct inst *in);

/**
 * inst_table() - say where the connections lie (stack/base/base_lease.h)
 * @base: what offsets count from: the start of the mapping that the instance is in
 * @t:    filled; true as long as the instance lives
 */
void inst_table(const struct inst *in, const void *base, struct lease_table *t);

/** inst_ip() - the IP part, for addresses, routes and neighbours. */
struct ip *inst_ip(struct inst *in);

/** inst_counters() - what has been counted; read by any thread. */
const struct base_counters *inst_counters(const struct inst *in);

/* ---------------------------------------------------------------- the loop */

/**
 * inst_input() - take frames from the device
 * @frames: @n frames, in order of arrival; a reference in owner is the instance's from now on,
 *          bytes without an owner are lent for the call
 */
void inst_input(struct inst *in, const struct wire_frame_in *frames, unsigned int n, ztime_t now);

/**
 * inst_output() - run what is due and give frames to send
 * @out: filled; payload is good until the next call on @in, owners are lent
 * @max: entries in @out, at least 1
 *
 * Return: frames filled; 0 when there is nothing to send before inst_deadline().
 */
unsigned int inst_output(struct inst *in, struct wire_frame_out *out, unsigned int max,
			 ztime_t now);

/** inst_deadline() - Return: when inst_output() must be called at the latest; 0: at once. */
ztime_t inst_deadline(const struct inst *in);

#define INST_EV_ACCEPT 0x8000 /* on a listener: a connection waits for inst_accept() */

struct inst_event {
	struct inst_conn *conn; /* or NULL: the listener's */
	struct inst_listener *listener;
	void *user;          /* what was given for it */
	unsigned int events; /* TCP_EV_* or INST_EV_ACCEPT */
};

/** inst_event_take() - the next thing to tell the application. Return: false when there is none. */
bool inst_event_take(struct inst *in, struct inst_event *ev);

/**
 * inst_event_recv() - inst_event_take(), and the first of what can be read of that connection by inst_recv_iov()
 * @iov: len 0 when nothing is readable, or it is a listener's event
 */
bool inst_event_recv(struct inst *in, struct inst_event *ev, struct wire_tcp_iov *iov, ztime_t now);

/* ---------------------------------------------------------------- connections */

/**
 * inst_conn_new() - a connection that is not open yet
 * @user: comes back in events
 *
 * Options may be set on inst_conn_tcb() before inst_connect(). Return: it, or NULL when conns_max
 * are in use.
 */
struct inst_conn *inst_conn_new(struct inst *in, void *user);

/**
 * inst_conn_tcb() - the TCP machine, for tcp_opt_*(), tcp_info(), tcp_recv_*(); then
 * inst_conn_kick().
 */
struct tcb *inst_conn_tcb(struct inst_conn *c);

/** inst_conn_flow() - its two ends. */
const struct wire_flow *inst_conn_flow(const struct inst_conn *c);

/** inst_conn_user_set() - change what comes back in events. */
void inst_conn_user_set(struct inst_conn *c, void *user);

/** inst_conn_kick() - the machine was called directly: look at it in the next inst_output(). */
void inst_conn_kick(struct inst *in, struct inst_conn *c);

/**
 * inst_connect() - open actively
 * @c:    fresh from inst_conn_new()
 * @flow: remote and rport are to be set; local any-address and lport 0 are chosen here
 *
 * A chosen port makes the answers arrive on this instance's queue (RFC 6056 algorithm 3 besides).
 * Return: 0; -ENETUNREACH; -EADDRNOTAVAIL for a local address that is not ours, or when no port is
 * left; -EADDRINUSE when the same connection exists.
 */
int inst_connect(struct inst *in, struct inst_conn *c, const struct wire_flow *flow, ztime_t now);

/**
 * inst_adopt() - take over a connection that the kernel has made (the lift)
 * @flow: both ends, complete
 * @rec, @unread, @unacked: as in tcp_record_put()
 *
 * Return: 0; -EADDRINUSE; or what tcp_record_put() said, and @c is as before.
 */
int inst_adopt(struct inst *in, struct inst_conn *c, const struct wire_flow *flow,
	       const struct tcp_record *rec, const struct wire_tcp_iov *unread,
	       unsigned int nunread, const struct wire_tcp_iov *unacked, unsigned int nunacked,
	       ztime_t now);

/**
 * inst_release() - give a connection away (the lower, or a move to another instance)
 * @rec:     as tcp_record_take() fills it
 * @unread:  filled with the bytes received and not read, with one reference to each owner
 * @nunread: entries in @unread; set to those filled
 * @unacked: filled with the bytes from snd_una on, likewise
 *
 * Nothing is sent. Return: 0, and @c is not to be used again; -EAGAIN in a state that cannot move;
 * -ENOSPC when the queues have more runs than there are entries. On failure @c goes on as before.
 */
int inst_release(struct inst *in, struct inst_conn *c, struct tcp_record *rec,
		 struct wire_tcp_iov *unread, unsigned int *nunread, struct wire_tcp_iov *unacked,
		 unsigned int *nunacked, ztime_t now);

/**
 * inst_send() - queue a copy of @len bytes
 *
 * Return: bytes taken, or tcp_send()'s error, or -ENOBUFS without a buffer.
 */
int64_t inst_send(struct inst *in, struct inst_conn *c, const void *data, size_t len,
		  unsigned int flags, ztime_t now);

/** inst_send_iov() - queue bytes by reference: tcp_send(), then inst_conn_kick(). */
int64_t inst_send_iov(struct inst *in, struct inst_conn *c, const struct wire_tcp_iov *iov,
		      unsigned int flags, ztime_t now);

/**
 * inst_recv() - copy and consume up to @len readable bytes. Return: bytes, 0 when none are there.
 */
size_t inst_recv(struct inst *in, struct inst_conn *c, void *data, size_t len, ztime_t now);

/**
 * inst_recv_iov() - take the next readable bytes by reference: tcp_recv_take(), then
 * inst_conn_kick()
 *
 * The reference in @iov->owner is the caller's. Return: false when nothing is readable.
 */
bool inst_recv_iov(struct inst *in, struct inst_conn *c, struct wire_tcp_iov *iov, ztime_t now);

/** inst_shutdown() - FIN after what is queued. Return: 0 or -ENOTCONN. */
int inst_shutdown(struct inst *in, struct inst_conn *c, ztime_t now);

/** inst_close() - let go of @c, which is not to be used again; TCP finishes by itself. */
void inst_close(struct inst *in, struct inst_conn *c, ztime_t now);

/** inst_abort() - reset, and let go of @c. */
void inst_abort(struct inst *in, struct inst_conn *c, ztime_t now);

/** inst_conn_count() - Return: connections in memory, TIME-WAIT included. */
uint32_t inst_conn_count(const struct inst *in);

/**
 * inst_has() - is a connection with these ends in memory, closed by the application or not
 *
 * For who has named its packets to a device (dev_steer()), and is to take that back when it is gone.
 */
bool inst_has(const struct inst *in, const struct wire_flow *flow);

/** inst_lives() - inst_has(), and it is not in TIME-WAIT: both sides have something to say to each other. */
bool inst_lives(const struct inst *in, const struct wire_flow *flow);

/**
 * inst_next() - walk over all connections in memory
 * @at: 0 for the first; moved on
 *
 * Return: the flow of the next one, good until the next call on @in; NULL at the end.
 */
const struct wire_flow *inst_next(const struct inst *in, uint32_t *at);

/** inst_pool_used() - Return: blocks of payload references in use; 0 when all queues are empty. */
uint32_t inst_pool_used(const struct inst *in);

/* ---------------------------------------------------------------- other instances of the interface */

/*
 * What arrives where nobody knows it goes round: from instance to instance until one has its connection, or listens for it. Who
 * gets back what it has sent off itself answers for it as one that is alone does. Neighbours' answers go round all of them.
 */
enum inst_passed_kind {
	INST_PASSED_SEGMENT,
	INST_PASSED_ERROR,
	INST_PASSED_HEARD,
};

#define INST_PASS_HOPS 64 /* of a round whose first instance has gone meanwhile */

/**
 * struct inst_passed - something on its way to another instance
 * @origin: number of the instance that it has arrived at
 * @hops:   instances that have given it on
 * @owner:  reference to the buffer that @l4 lies in, which comes along
 */
struct inst_passed {
	uint8_t kind; /* enum inst_passed_kind */
	uint8_t origin, hops;
	uint8_t ecn;
	uint32_t l4_len;
	const uint8_t *l4; /* a TCP segment, its checksum verified */
	void *owner;
	union {
		struct wire_flow flow; /* addresses only */
		struct ip_error error;
		struct ip_heard heard;
	};
};

/**
 * struct inst_pass - the way to the other instances
 * @others: whether there are any
 * @put:    give it to the next one; false: there is no room
 * @me:     this instance's number
 */
struct inst_pass {
	bool (*others)(void *ctx);
	bool (*put)(void *ctx, const struct inst_passed *p);
	void *ctx;
	uint8_t me;
};

/** inst_pass_set() - @in shares its interface with others from now on. */
void inst_pass_set(struct inst *in, const struct inst_pass *pass);

/** inst_passed() - take what another instance has put; the reference in @p->owner is the instance's from now on. */
void inst_passed(struct inst *in, const struct inst_passed *p, ztime_t now);

/* ---------------------------------------------------------------- listening */

/**
 * inst_listen() - accept connections to @local (any-address: all of ours of that family) and @port
 * @user: comes back in INST_EV_ACCEPT
 *
 * Return: 0 and *@l; -EADDRINUSE; -EADDRNOTAVAIL; -ENOBUFS when listeners_max are in use.
 */
int inst_listen(struct inst *in, const union wire_addr *local, uint16_t port, uint32_t backlog,
		void *user, struct inst_listener **l);

/** inst_listener_tcp() - its limits and cookie mode, to be changed at will. */
struct tcp_listener *inst_listener_tcp(struct inst_listener *l);

/** inst_listener_flow() - Return: where it listens; the remote end is zero. */
struct wire_flow inst_listener_flow(const struct inst_listener *l);

/** inst_accept() - the connection that has waited longest. Return: it, or NULL. */
struct inst_conn *inst_accept(struct inst *in, struct inst_listener *l, void *user);

/**
 * inst_listener_close() - stop; connections nobody has accepted are reset. @l is not to be used
 * again.
 */
void inst_listener_close(struct inst *in, struct inst_listener *l, ztime_t now);

/**
 * inst_listener_quiet() - say nothing to segments of no connection that come to this listener's port from now on
 *
 * The port has become another's, who answers what is sent again. inst_listener_close() is still due.
 */
void inst_listener_quiet(struct inst_listener *l);

#endif
