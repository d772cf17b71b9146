/* dpdk.h - the inside of libztcp_dpdk.so; for stack/dpdk alone
 *
 * What it does: words of a device's text, the one EAL of the process, ports and their queues. Threads: opening is
 * serialised by dev_dpdk.c; a queue belongs to the thread that opened it.
 */
#ifndef ZTCP_DPDK_H
#define ZTCP_DPDK_H

#include <stdint.h>

#include "stack/dev/dev_dpdk.h"

#define DPDK_ARGS_MAX 64

/** struct dpdk_args - a device's text, taken apart
 * @argv:    what goes to EAL, from 1 on; [0] is for the program's name; ends with NULL
 * @text:    where the words lie
 * @port, @queue, @queues, @mbufs, @mtu: as in dev_dpdk.h; mtu 0: the port's own
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

/** struct dpdk_queue - what a device needs to know of the queue pair that it was given */
struct dpdk_queue {
	uint16_t port, queue;
	uint16_t mtu;
	struct wire_mac mac;
	bool tx_csum;             /* the device completes TCP checksums */
	bool reconnects;          /* a port that must be started again to find a new peer */
	struct rte_mempool *pool; /* of this queue, both ways */
};

/** dpdk_queue_open() - configure and start the port in the first call for it. Return: 0 or -errno and @err. */
int dpdk_queue_open(const struct dpdk_args *a, struct dpdk_queue *q, struct dev_error *err);

/** dpdk_queue_alone() - Return: whether no other queue of its port has a device. */
bool dpdk_queue_alone(const struct dpdk_queue *q);

/** dpdk_queue_close() - the port stops with its last queue. */
void dpdk_queue_close(const struct dpdk_queue *q);

/** dpdk_dev_new() - a device on @q. Return: it, or NULL without memory. */
struct dev *dpdk_dev_new(const struct dpdk_queue *q, const struct dev_conf *conf);

#endif
