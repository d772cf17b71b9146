/* dpdk.h - the inside of libztcp_dpdk.so; for stack/dpdk alone
 *
 * What it does: words of a device's text, the one EAL of the process, ports and their queues, their buffers. Threads: opening is
 * serialised by dev_dpdk.c; a queue belongs to the thread that drives its device.
 */
#ifndef ZTCP_DPDK_H
#define ZTCP_DPDK_H

#include <stdatomic.h>
#include <stdint.h>

#include "stack/dev/dev_dpdk.h"
#include "stack/inst/inst_rss.h"

#define DPDK_ARGS_MAX  64
#define DPDK_QUEUE_ANY UINT32_MAX

extern const struct dev_dpdk_host *dpdk_host; /* set before anything else is called */

/** struct dpdk_args - a device's text, taken apart
 * @argv:    what goes to EAL, from 1 on; [0] is for the program's name; ends with NULL
 * @text:    where the words lie
 * @port, @queue, @queues, @mbufs, @mtu: as in dev_dpdk.h; queue DPDK_QUEUE_ANY: the first free one; mtu 0: the port's own
 */
struct dpdk_args {
	char *argv[DPDK_ARGS_MAX + 1];
	int argc;
	char text[2048];
	uint32_t port, queue, queues, mbufs, mtu;
};

/** dpdk_args_parse() - Return: 0 or -EINVAL and @err. */
int dpdk_args_parse(const char *rest, struct dpdk_args *a, struct dev_error *err);

/** dpdk_args_add() - one more word for EAL; constant, or in @a->text. Return: 0 or -E2BIG. */
int dpdk_args_add(struct dpdk_args *a, const char *word);

/** dpdk_args_have() - Return: true when a word for EAL begins with @start. */
bool dpdk_args_have(const struct dpdk_args *a, const char *start);

/** dpdk_args_clear() - remove sockets that killed processes have left where a driver of @a is to listen. */
void dpdk_args_clear(const struct dpdk_args *a);

/** dpdk_eal_start() - in the first call; later ones must name the same arguments. Return: 0 or -errno and @err. */
int dpdk_eal_start(struct dpdk_args *a, struct dev_error *err);

/** dpdk_quiet_begin() - what EAL and drivers print is kept from the program's stdout and stderr. @a: before words are added to it. */
void dpdk_quiet_begin(const struct dpdk_args *a);

/** dpdk_quiet_end() - stdout is the program's again. Return: the first line that was logged, "": none. */
const char *dpdk_quiet_end(void);

/** struct dpdk_pool - buffers that packets are received in, which are buffers of ours as well
 * @mp:     of DPDK
 * @start:  of the first one's memory
 * @grain:  bytes from one to the next; 0: they lie otherwise, and what is to be kept of a packet is copied
 * @hdr:    bytes of the grain before its struct rte_mbuf
 * @count:  of them
 * @given:  handed up with a reference so far; the device's thread's
 * @back:   given back by whoever had them last
 */
struct dpdk_pool {
	struct rte_mempool *mp;
	uint8_t *start;
	uint32_t grain, hdr, count;
	uint64_t given;
	struct dpdk_pool *next; /* of those that are waited for */
	_Alignas(64) _Atomic uint64_t back;
};

/** dpdk_pool_new() - @room: bytes of a packet, at most. Return: it, or NULL and rte_errno. */
struct dpdk_pool *dpdk_pool_new(const char *name, uint32_t count, uint32_t room, int socket);

/** dpdk_pool_free() - at once, or when the last buffer has come back and another pool is made or freed. NULL is harmless. */
void dpdk_pool_free(struct dpdk_pool *pool);

/** struct dpdk_queue - what a device needs to know of the queue pair that it was given */
struct dpdk_queue {
	uint16_t port, queue;
	uint16_t mtu;
	struct wire_mac mac;
	bool tx_csum;         /* the device completes TCP checksums */
	bool tso;             /* and cuts what is longer than a packet */
	bool asks_peer;       /* or rather its peer does, if it wants to: dpdk_queue_takes_long() */
	bool segs;            /* what is sent may lie in several of DPDK's buffers */
	bool chains;          /* and in any memory */
	bool reconnects;      /* a port that must be started again to find a new peer */
	bool gated;           /* used inside dpdk_gate_enter() alone */
	int node;             /* of memory; -1: any */
	struct dpdk_pool *rx; /* of this queue, as is */
	struct rte_mempool *tx;     /* headers, and what stands for payload that lies elsewhere */
	struct rte_mempool *copies; /* longer payload that is copied; never NULL */
	const struct inst_rss_config *rss; /* NULL: what is sent by this queue is answered to it */
};

/** dpdk_queue_open() - configure and start the port in the first call for it. Return: 0 or -errno and @err. */
int dpdk_queue_open(const struct dpdk_args *a, struct dpdk_queue *q, struct dev_error *err);

/** dpdk_queue_restart() - stop and start a gated port that has lost its peer. */
void dpdk_queue_restart(const struct dpdk_queue *q);

/** dpdk_queue_stopped() - Return: whether its port could not be started again yet. */
bool dpdk_queue_stopped(const struct dpdk_queue *q);

/** dpdk_queue_linked() - Return: whether the port has a peer. */
bool dpdk_queue_linked(const struct dpdk_queue *q);

/** dpdk_queue_takes_long() - Return: whether what is longer than a packet is cut below, or taken whole, at the moment. */
bool dpdk_queue_takes_long(const struct dpdk_queue *q);

/** dpdk_queue_close() - the port stops with its last queue. */
void dpdk_queue_close(const struct dpdk_queue *q);

/** dpdk_dev_new() - a device on @q. Return: it, or NULL without memory. */
struct dev *dpdk_dev_new(const struct dpdk_queue *q, const struct dev_conf *conf);

/* ---------------------------------------------------------------- sending (dpdk_tx.c) */

/** dpdk_tx_pool() - for @count packets at a time. Return: it, or NULL and rte_errno. */
struct rte_mempool *dpdk_tx_pool(const char *name, uint32_t count, int socket);

/**
 * dpdk_tx_make() - a frame as DPDK sends it: short payload is copied behind its header, longer is referenced where the port allows
 * @buf:    owners of payload
 * @copied: bytes that were copied are added
 *
 * Return: it, or NULL without a buffer, or when it is too long for the port.
 */
struct rte_mbuf *dpdk_tx_make(const struct dpdk_queue *q, const struct wire_buf_ops *buf,
			      const struct wire_frame_out *f, uint64_t *copied);

/* ---------------------------------------------------------------- the driver's own thread (dpdk_gate.c) */

/** struct dpdk_inside - whether a thread is in the driver; one for each device of a gated port */
struct dpdk_inside {
	_Alignas(64) _Atomic bool inside;
	struct dpdk_inside *next;
};

/** dpdk_gate_start() - from now on EAL's thread runs in windows alone. Return: 0 or -errno. */
int dpdk_gate_start(void);

void dpdk_gate_add(struct dpdk_inside *me);
void dpdk_gate_remove(struct dpdk_inside *me);

/** dpdk_gate_enter() - Return: false: the driver must not be called now. Else dpdk_gate_leave() follows. */
bool dpdk_gate_enter(struct dpdk_inside *me);
void dpdk_gate_leave(struct dpdk_inside *me);

/** dpdk_gate_window() - let EAL's thread do what waits for it, if anything does. */
void dpdk_gate_window(void);

/**
 * dpdk_gate_hold() - nobody else is in the driver until dpdk_gate_release()
 * @patient: wait until it can be had; where that does not come, go on without
 *
 * Return: false: it was not to be had.
 */
bool dpdk_gate_hold(bool patient);
void dpdk_gate_release(void);

#endif
