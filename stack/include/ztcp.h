/* ztcp.h - the native interface: TCP by calls, without descriptors, system calls or copies
 *
 * What it does: joins a device, an instance and a buffer pool into one object that its owner
 * drives by ztcp_poll(). For reactors (SPDK and the like) and for programs written for it;
 * unmodified programs use the preload library. Memory: ztcp_new() maps what the configuration asks
 * for; the device and the pool stay the caller's. Buffers are those of zbuf.h: zbuf_malloc(),
 * zbuf_free(), zbuf_done_set(), zbuf_region_add() for memory of other owners. Thread: all calls on
 * one struct ztcp come from one thread at a time; buffers may be freed by any.
 *
 *     z = ztcp_new(dev, pool, &cfg, now);
 *     for (;;) {
 *             ztcp_poll(z, now);
 *             while (ztcp_event(z, &ev))
 *                     ... ztcp_send_ref(z, ev.conn, ...), ztcp_recv_ref(z, ev.conn, ...)
 *             wait until ztcp_deadline(z) or dev_fd() or dev_fd_tables() is readable
 *     }
 */
#ifndef ZTCP_ZTCP_H
#define ZTCP_ZTCP_H

#include "stack/dev/dev.h"
#include "stack/inst/inst.h"
#include "stack/zbuf/zbuf.h"

struct ztcp;
struct ztcp_group;

/**
 * ztcp_new() - an instance on @dev
 * @dev:  open; its address, MTU and offloads are taken over
 * @pool: where received and copied bytes live
 * @cfg:  from inst_config_defaults(); ip.mac, ip.mtu, ip.offloads and buf are set here
 *
 * Addresses and routes are the kernel's where the device shares an interface with it (dev_follow()), the caller's
 * to add by inst_ip() where not. Return: the object, or NULL and errno (EINVAL, ENOMEM).
 */
struct ztcp *ztcp_new(struct dev *dev, struct zbuf_mem_pool *pool, const struct inst_config *cfg,
		      ztime_t now);

/** ztcp_free() - drop all connections without a word, give back all buffers; @dev stays open. */
void ztcp_free(struct ztcp *z);

/** ztcp_group_new() - for the instances of one process that have a queue each of one interface. Return: it, or NULL. */
struct ztcp_group *ztcp_group_new(void);

/** ztcp_group_free() - after the last ztcp_free() of a member, and before that of the pools. */
void ztcp_group_free(struct ztcp_group *g);

/**
 * ztcp_join() - what arrives at one member's queue and is another's goes there
 * @fd_keep: as in struct dev_conf, for the doorbell; or NULL
 *
 * Before the first ztcp_poll(); who joins or frees takes turns with who else does. Each member passes on what it knows nothing of
 * (inst_pass_set()), ARP's answers among it; while nothing arrives at the wrong queue they share no line that anybody writes.
 * Return: 0, -ENOMEM, -EMFILE, or -ENOSPC when there are 64 already.
 */
int ztcp_join(struct ztcp *z, struct ztcp_group *g, int (*fd_keep)(int fd));

/**
 * ztcp_bell() - Return: a descriptor to sleep on besides dev_fd(), or -1 as long as it is the only member of its group
 *
 * Who sleeps while the second one joins has to be woken and to ask again.
 */
int ztcp_bell(const struct ztcp *z);

/**
 * ztcp_inst() - the instance, for addresses, routes, options, listeners and everything not
 * repeated here.
 */
struct inst *ztcp_inst(struct ztcp *z);

/**
 * ztcp_poll() - take what has arrived, run what is due, send what is ready; bounded work
 *
 * Return: frames moved; 0 means that nothing happens before ztcp_deadline() or the next frame.
 */
unsigned int ztcp_poll(struct ztcp *z, ztime_t now);

/**
 * struct ztcp_watch - who sees the frames that pass an instance's device, as they are, while somebody asks for it
 * @on:    not 0: somebody does; looked at beside each use of the device, written by anybody
 * @clock: read before frames are given to the device, for @went
 * @came:  @n frames have come in
 * @went:  the device has taken @n frames
 *
 * All are called where ztcp_poll() and its like are; frames are lent for the call.
 */
struct ztcp_watch {
	const _Atomic uint64_t *on;
	uint64_t (*clock)(void);
	void (*came)(struct ztcp_watch *w, const struct wire_frame_in *f, unsigned int n);
	void (*went)(struct ztcp_watch *w, uint64_t clock, const struct wire_frame_out *f,
		     unsigned int n);
};

/** ztcp_watch_set() - from now on @w, which outlives the object, sees the frames. */
void ztcp_watch_set(struct ztcp *z, struct ztcp_watch *w);

/** ztcp_flush() - send what is ready, and leave alone what has arrived. Return: frames sent. */
unsigned int ztcp_flush(struct ztcp *z, ztime_t now);

/** ztcp_deadline() - Return: when ztcp_poll() must be called at the latest; 0: at once. */
ztime_t ztcp_deadline(const struct ztcp *z);

/** ztcp_event() - as inst_event_take(). */
bool ztcp_event(struct ztcp *z, struct inst_event *ev);

/** ztcp_event_recv() - as inst_event_recv(); the bytes are given back by zbuf_put(@text->owner) or as ztcp_recv_ref()'s */
bool ztcp_event_recv(struct ztcp *z, struct inst_event *ev, struct wire_tcp_iov *text, ztime_t now);

/**
 * ztcp_connect() - open to @to and @port; a device that shares an interface is told (ztcp_steer()).
 * Return: the connection, or NULL and errno.
 */
struct inst_conn *ztcp_connect(struct ztcp *z, const union wire_addr *to, uint16_t port, void *user,
			       ztime_t now);

/**
 * ztcp_steer() - the packets of an open connection are to come here: before its first one is sent, by
 * who has called inst_connect() instead of ztcp_connect()
 *
 * It is taken back when the connection is gone. Return: 0, also where the device has all packets anyway; -errno.
 */
int ztcp_steer(struct ztcp *z, const struct wire_flow *flow);

/**
 * ztcp_listen() - inst_listen(), and a device that shares an interface is told of the port
 *
 * Return: as inst_listen(), or what the device said.
 */
int ztcp_listen(struct ztcp *z, const union wire_addr *local, uint16_t port, uint32_t backlog,
		void *user, struct inst_listener **l);

/**
 * ztcp_listener_close() - inst_listener_close() of a listener from ztcp_listen()
 *
 * Others may have the port from now on; the connections that came by it live on.
 */
void ztcp_listener_close(struct ztcp *z, struct inst_listener *l, ztime_t now);

/**
 * ztcp_listener_drain() - no new connections come to this listener any more, those under way can still be accepted
 *
 * Others may have the port from now on. What has arrived by it is taken in first; what comes later is not answered.
 * ztcp_listener_close() is still due. A device that nobody shares goes on as before.
 */
void ztcp_listener_drain(struct ztcp *z, struct inst_listener *l, ztime_t now);

/** ztcp_forget() - the packets of a connection that inst_release() has given away go to its new owner from now on. */
void ztcp_forget(struct ztcp *z, const struct wire_flow *flow);

/**
 * ztcp_send_ref() - send @len bytes without a copy
 * @data: in a zbuf or in a registered region; for each piece taken a reference to its buffer is
 *        got, and given back when its last byte has been acknowledged: then the buffer's done
 * callback runs, once the caller has freed its own
 *
 * Return: bytes taken, or -errno as tcp_send().
 */
int64_t ztcp_send_ref(struct ztcp *z, struct inst_conn *c, const void *data, uint32_t len,
		      unsigned int flags, ztime_t now);

/**
 * ztcp_recv_ref() - take the next received bytes without a copy
 * @data: set to the bytes; the caller gives them back by zbuf_free(*data)
 *
 * Return: bytes, 0 when none are there.
 */
uint32_t ztcp_recv_ref(struct ztcp *z, struct inst_conn *c, const void **data, ztime_t now);

#endif
