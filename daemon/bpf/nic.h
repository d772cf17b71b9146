/* nic.h - the program that shares a network interface with the kernel: put it there, show it, remove it
 *
 * What it does: loads nic.bpf.c, attaches it to an interface of the caller's network namespace, and pins maps and
 * link under NIC_PIN_DIR, where AF_XDP devices of any number of processes find them (stack/base/base_nic.h). What it
 * redirects is what these devices have named; with nobody there, all passes to the kernel.
 * Who calls: `ztcp nic` and ztcpd, as root. Memory: the caller's. Threads: any; who changes something locks the folder.
 */
#ifndef ZTCP_NIC_H
#define ZTCP_NIC_H

#include <stdbool.h>
#include <stdint.h>

#include "stack/base/base_nic.h"

/** struct nic_state - an interface with the program on it
 * @name:    of the interface; "": it is gone, or in another network namespace
 * @native:  the driver runs the program; otherwise the kernel does, on whole socket buffers
 * @flows:   entries in the map of flows
 * @ports:   entries in the map of ports
 * @counts:  enum nic_count, all processors together
 */
struct nic_state {
	char name[16];
	uint64_t netns;
	uint32_t ifindex;
	bool native;
	uint32_t flows;
	uint32_t ports;
	uint64_t counts[NIC_COUNTS];
};

/**
 * nic_attach() - put the program on interface @name
 * @generic: false: the driver runs it, or nobody does; true: the kernel runs it on whole socket buffers, which
 *          loses what is longer than a page (docs/nic.md)
 * @why:     on failure what is wrong, 160 bytes
 *
 * Return: 0; 1: it was there already; -EBUSY: another program is; -ENODEV; -EOPNOTSUPP: the driver cannot; another -errno.
 */
int nic_attach(const char *name, bool generic, char *why);

/**
 * nic_detach() - take it off, with its pins; instances that use it then receive nothing
 *
 * Return: 0; -ENOENT: it is not there; -ENODEV: no such interface; another -errno.
 */
int nic_detach(const char *name);

/**
 * nic_each() - call @f for each interface with the program on it, of all network namespaces
 *
 * Removes what is left of interfaces that are gone. Return: how many, or -errno.
 */
int nic_each(void (*f)(void *arg, const struct nic_state *s), void *arg);

/** struct nic_maps - what instances have named on one interface, and their sockets, open */
struct nic_maps {
	int flows, ports, xsks, queues;
};

/**
 * nic_maps_open() - of interface @ifindex in the network namespace of cookie @netns
 *
 * Return: 0; -ENOENT: the program is not on it; -EPROTO: one of another version is; another -errno.
 */
int nic_maps_open(uint64_t netns, uint32_t ifindex, struct nic_maps *m);
void nic_maps_close(struct nic_maps *m);

/** nic_map_same() - whether both descriptors, which may be anything, are one map. */
bool nic_map_same(int a, int b);

/**
 * nic_drop() - remove an element that is somebody's
 * @key: struct nic_flow or nic_port, by map
 *
 * What its queue's next owner has named by then stays. Return: whether it was there, and was @whose.
 */
bool nic_drop(int map, const void *key, const struct nic_lease *whose);

/**
 * nic_name() - somebody's packets come to his queue from now on
 * @key: struct nic_flow or nic_port, by map
 *
 * Return: 0; 1: it was his already; -EEXIST: another queue has it; -errno.
 */
int nic_name(int map, const void *key, const struct nic_lease *whose);

/** nic_clear() - remove an element of @queue, whose owner is gone. */
void nic_clear(int map, const void *key, uint32_t queue);

/** nic_enter() - the AF_XDP socket @fd, which is bound to queue @whose->queue, receives from now on. Return: 0 or -errno. */
int nic_enter(const struct nic_maps *m, const struct nic_lease *whose, int fd);

/** nic_next() - the key after @key, NULL: the first, into @next. Return: false at the end. */
bool nic_next(int map, const void *key, void *next);

#endif
