/* dev.h - what an instance's loop asks of a network device
 *
 * What it does: one table of operations; a DPDK port, a test wire, a TAP and the wrappers that
 * inject faults or write captures all fit it. Called by the loop that drives an instance, on its
 * thread; one device serves one loop. Memory: a device owns its buffers; each operation says what
 * is lent for how long. A device is closed last, when the instance has given everything back.
 */
#ifndef ZTCP_DEV_H
#define ZTCP_DEV_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/base/base_time.h"
#include "stack/wire/wire_frame.h"

#define DEV_FRAME_MAX (65535 + 18) /* longest frame a device without TSO is given, tag included */

struct dev;
struct inst_rss_config;
struct ip;
struct lease_table;

struct dev_ops {
	/*
	 * Fill up to @max frames that have arrived. Frames without an owner are lent until the
	 * next call on @d.
	 */
	unsigned int (*recv)(struct dev *d, struct wire_frame_in *frames, unsigned int max,
			     ztime_t now);
	/* Send @n frames in order; payload is read or referenced before the call returns. Return:
	 * frames taken; the rest was not touched and may be offered again. */
	unsigned int (*send)(struct dev *d, const struct wire_frame_out *frames, unsigned int n,
			     ztime_t now);
	/* When recv() has something by itself (devices in virtual time), else ZTIME_NEVER. */
	ztime_t (*deadline)(const struct dev *d);
	/* Descriptor to wait on for arriving frames, or -1. */
	int (*fd)(const struct dev *d);
	/* As dev_fd_tables(); NULL where there is none. */
	int (*fd_tables)(const struct dev *d);
	/* As dev_steer(); NULL where all frames arrive anyway. */
	int (*steer)(struct dev *d, const struct wire_flow *flow, bool on);
	/* As dev_follow(); NULL where the device's user says which addresses and routes there are. */
	int (*follow)(struct dev *d, struct ip *ip, ztime_t now);
	/* As dev_publish(); called only where the device is watched. */
	void (*publish)(struct dev *d, int memory, const struct lease_table *t);
	void (*close)(struct dev *d);
};

struct dev {
	const struct dev_ops *ops;
	struct wire_mac mac;
	uint16_t mtu;
	uint32_t offloads; /* enum wire_offload */
	bool watched;      /* somebody outlives the process, and wants to know its connections */
	bool placed;       /* the instance's memory belongs on @node */
	uint16_t node;     /* of memory that is near to it */
	uint64_t
		copied; /* bytes of payload that it has copied so far, counted by devices that need not */
	uint64_t bytes_huge, bytes_ordinary; /* of memory that it has made for itself; constant */
	const struct inst_rss_config *rss; /* which connections' packets come here; NULL: all do */
};

static inline unsigned int dev_recv(struct dev *d, struct wire_frame_in *frames, unsigned int max,
				    ztime_t now)
{
	return d->ops->recv(d, frames, max, now);
}

static inline unsigned int dev_send(struct dev *d, const struct wire_frame_out *frames,
				    unsigned int n, ztime_t now)
{
	return d->ops->send(d, frames, n, now);
}

static inline ztime_t dev_deadline(const struct dev *d)
{
	return d->ops->deadline(d);
}

static inline int dev_fd(const struct dev *d)
{
	return d->ops->fd(d);
}

/** dev_fd_tables() - Return: a descriptor to wait on besides dev_fd(), for what the kernel says of its routes and neighbours, or -1. */
static inline int dev_fd_tables(const struct dev *d)
{
	return d->ops->fd_tables ? d->ops->fd_tables(d) : -1;
}

/**
 * dev_steer() - packets of @flow are to come here, or no longer
 * @flow: complete: a connection; rport 0: connections to lport of local, which may be the
 *        any-address
 *
 * For devices that share an interface with the kernel: what nobody steers, the kernel has. A
 * connection is steered here before its first packet is sent, and away when it is gone from the
 * instance. Return: 0, also for devices that have it all; -ENOSPC, -errno: the kernel path serves.
 */
static inline int dev_steer(struct dev *d, const struct wire_flow *flow, bool on)
{
	return d->ops->steer ? d->ops->steer(d, flow, on) : 0;
}

/**
 * dev_follow() - fill @ip with the addresses, routes and neighbours that the kernel has on the
 * device's interface, and keep it so in each dev_recv()
 * @ip: of the instance that the device serves; outlives its use
 *
 * Return: 0; -EOPNOTSUPP: the device has no such interface, its user adds them; another -errno.
 */
static inline int dev_follow(struct dev *d, struct ip *ip, ztime_t now)
{
	return d->ops->follow ? d->ops->follow(d, ip, now) : -EOPNOTSUPP;
}

/**
 * dev_publish() - where the connections over a watched device lie
 * @memory: a memfd that the instance lives in; the caller's
 */
static inline void dev_publish(struct dev *d, int memory, const struct lease_table *t)
{
	d->ops->publish(d, memory, t);
}

static inline void dev_close(struct dev *d)
{
	d->ops->close(d);
}

/**
 * dev_flatten() - copy a frame into one buffer, whole even where it has a gso_size
 * @f:   frame
 * @buf: f->hdr_len + f->len bytes of room
 *
 * Return: bytes written.
 */
size_t dev_flatten(const struct wire_frame_out *f, uint8_t *buf);

/**
 * dev_split() - give each packet of a frame to @put, flat and with its checksum: for devices
 * without offloads
 * @buf: DEV_FRAME_MAX bytes of scratch, lent to @put
 */
void dev_split(const struct wire_frame_out *f, uint8_t *buf,
	       void (*put)(void *ctx, const uint8_t *frame, size_t len), void *ctx);

#endif
