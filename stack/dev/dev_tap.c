/* dev_tap.c - a TAP interface as a device, by plain read and write */
#include "stack/dev/dev_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "stack/base/base_list.h"
#include "stack/base/base_sys.h"

#define TAP_MTU_MIN 576
#define TAP_MTU_MAX 65521 /* the kernel's, for an Ethernet without a device below */

struct tap {
	struct dev dev;
	int fd;
	struct wire_buf_ops buf;
	uint8_t scratch[DEV_FRAME_MAX];
};

/* A frame the kernel does not take is lost, like one on a wire. */
static void frame_write(void *ctx, const uint8_t *frame, size_t len)
{
	struct tap *t = ctx;

	(void)sys(SYS_write, t->fd, frame, len);
}

static unsigned int tap_send(struct dev *d, const struct wire_frame_out *frames, unsigned int n,
			     ztime_t now)
{
	struct tap *t = base_container_of(d, struct tap, dev);

	(void)now;
	for (unsigned int i = 0; i < n; i++)
		dev_split(&frames[i], t->scratch, frame_write, t);
	return n;
}

static unsigned int tap_recv(struct dev *d, struct wire_frame_in *frames, unsigned int max,
			     ztime_t now)
{
	struct tap *t = base_container_of(d, struct tap, dev);
	unsigned int n = 0;

	(void)now;
	while (n < max) {
		uint32_t room = d->mtu + 18u;
		uint8_t *data;
		void *owner = t->buf.alloc(t->buf.ctx, room, &data);
		long len;

		if (!owner)
			break;
		len = sys(SYS_read, t->fd, data, room);
		if (len <= 0) {
			t->buf.put(t->buf.ctx, owner);
			break;
		}
		frames[n++] = (struct wire_frame_in){ .data = data,
						      .len = (uint32_t)len,
						      .owner = owner };
	}
	return n;
}

static ztime_t tap_deadline(const struct dev *d)
{
	(void)d;
	return ZTIME_NEVER;
}

static int tap_fd(const struct dev *d)
{
	return base_container_of(d, const struct tap, dev)->fd;
}

static void tap_close(struct dev *d)
{
	struct tap *t = base_container_of(d, struct tap, dev);

	sys(SYS_close, t->fd);
	free(t);
}

static const struct dev_ops tap_ops = {
	.recv = tap_recv,
	.send = tap_send,
	.deadline = tap_deadline,
	.fd = tap_fd,
	.close = tap_close,
};

static int tap_fail(struct tap *t, const char *name, const char *what, int rc,
		    struct dev_error *err)
{
	const char *hint = rc == -EPERM    ? " (it needs CAP_NET_ADMIN)"
			   : rc == -ENOENT ? " (is the module tun loaded?)"
					   : "";

	if (t->fd >= 0)
		sys(SYS_close, t->fd);
	free(t);
	return dev_fail(err, rc, "tap:%s: %s: %s%s", name, what, strerror(-rc), hint);
}

/* The kernel's side: as long packets as ours, and up. */
static int tap_up(const char *name, uint32_t mtu)
{
	struct ifreq req = { .ifr_mtu = (int)mtu };
	int s = (int)sys(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;

	if (s < 0)
		return s;
	memcpy(req.ifr_name, name, DEV_NAME_MAX);
	rc = (int)sys(SYS_ioctl, s, SIOCSIFMTU, &req);
	if (!rc)
		rc = (int)sys(SYS_ioctl, s, SIOCGIFFLAGS, &req);
	if (!rc) {
		req.ifr_flags |= IFF_UP;
		rc = (int)sys(SYS_ioctl, s, SIOCSIFFLAGS, &req);
	}
	sys(SYS_close, s);
	return rc;
}

/* A station of its own: two taps may be joined by a bridge. */
static int tap_mac(struct wire_mac *mac)
{
	long n = sys(SYS_getrandom, mac->b, WIRE_MAC_LEN, 0);

	mac->b[0] = (uint8_t)((mac->b[0] & 0xfc) | 2); /* one station's, given locally */
	return n == WIRE_MAC_LEN ? 0 : -EIO;
}

int dev_tap_open(const char *rest, const struct dev_conf *conf, struct dev **out,
		 struct dev_error *err)
{
	struct ifreq req = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	uint32_t mtu = 1500;
	const struct dev_option options[] = { { "mtu", TAP_MTU_MIN, TAP_MTU_MAX, &mtu } };
	char name[DEV_NAME_MAX];
	struct tap *t;
	int rc = dev_spec_parse(rest, name, options, 1, err);

	if (rc)
		return rc;
	t = calloc(1, sizeof(*t));
	if (!t)
		return dev_fail(err, -ENOMEM, "tap:%s: no memory", name);
	memcpy(req.ifr_name, name, DEV_NAME_MAX);
	t->dev.ops = &tap_ops;
	t->dev.mtu = (uint16_t)mtu;
	t->buf = conf->buf;
	t->fd = (int)sys(SYS_openat, AT_FDCWD, "/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
	if (t->fd < 0)
		return tap_fail(t, name, "/dev/net/tun", t->fd, err);
	rc = (int)sys(SYS_ioctl, t->fd, TUNSETIFF, &req);
	if (rc)
		return tap_fail(t, name, "make the interface", rc, err);
	rc = tap_mac(&t->dev.mac);
	if (!rc)
		rc = tap_up(name, mtu);
	if (rc)
		return tap_fail(t, name, "set it up", rc, err);
	t->fd = dev_fd_keep(conf, t->fd);
	*out = &t->dev;
	return 0;
}
