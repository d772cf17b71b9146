/* dev_open.h - open a device that a line of text names
 *
 * What it does: "KIND:REST" picks the kind of device, which parses the rest and opens it:
 *
 *     tap:NAME[,mtu=N]                a TAP interface made here, by read and write
 *     xdp:IFNAME[,queue=N][,chunks=N]  one queue of a kernel interface, by AF_XDP (dev_xdp.h)
 *     dpdk:[port=N] [queue=N] ... EAL ARGUMENTS    a port of DPDK (dev_dpdk.h)
 *
 * Called by who sets up an instance: path_stack of the preload library, the native API's users,
 * tests, benches. Any thread; the device then belongs to the thread that drives the instance.
 * Memory: the device is given back by dev_close(). Descriptors are opened close-on-exec; no
 * process-wide state but DPDK's own is touched. System calls do not pass through libc's names, so
 * that a library that overrides these is not entered again.
 */
#ifndef ZTCP_DEV_OPEN_H
#define ZTCP_DEV_OPEN_H

#include "stack/dev/dev.h"

/** struct dev_error - why a device did not open, for people; always ends with a NUL */
struct dev_error {
	char text[240];
};

/**
 * struct dev_conf - what a device takes from its user
 * @buf:     where received bytes are put, by devices that bring no memory of their own
 * @agent:   a new session with ztcpd, close-on-exec and not blocking, for a device that wants to be watched or needs a lease, or
 *           -errno;
 *           NULL: there is none
 * @fd_keep: moves a descriptor out of the application's way and returns its new number, or the old
 *           one where it cannot; NULL: they stay where they are
 * @hasty:   a queue that is taken is not waited for: whoever asks will ask again
 */
struct dev_conf {
	struct wire_buf_ops buf;
	int (*agent)(void);
	int (*fd_keep)(int fd);
	bool hasty;
};

/**
 * dev_open() - open the device that @spec names
 * @conf: copied
 * @out:  set on success
 * @err:  set on failure
 *
 * Return: 0; -EINVAL: @spec is wrong; -EKEYREJECTED, -EDQUOT: ztcpd gives it no queue; -EPERM, -ENODEV, -EBUSY or another -errno of the kind: the
 * kernel path serves, and @err says why.
 */
int dev_open(const char *spec, const struct dev_conf *conf, struct dev **out,
	     struct dev_error *err);

/* ---------------------------------------------------------------- for kinds of devices */

#define DEV_NAME_MAX 16 /* IFNAMSIZ: of a network interface, its NUL included */

/**
 * struct dev_option - one NAME=NUMBER that a kind knows
 * @min, @max: range
 * @value:     set when it is given
 */
struct dev_option {
	const char *name;
	uint32_t min, max;
	uint32_t *value;
};

/**
 * dev_spec_parse() - "NAME,option=number,..."
 * @name: DEV_NAME_MAX bytes
 *
 * Return: 0 or -EINVAL and @err.
 */
int dev_spec_parse(const char *rest, char *name, const struct dev_option *options,
		   unsigned int noptions, struct dev_error *err);

/** dev_fail() - write @err. Return: @rc, for the caller to return. */
int dev_fail(struct dev_error *err, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** dev_fd_keep() - Return: where @fd, which is at least 0, lies from now on. */
int dev_fd_keep(const struct dev_conf *conf, int fd);

#endif
