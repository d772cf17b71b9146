/* dev_tap.c - a TAP interface as a device */
#include "tests/lib/dev_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "stack/base/base_list.h"

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

	if (write(t->fd, frame, len) < 0)
		return;
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
		ssize_t len;

		if (!owner)
			break;
		len = read(t->fd, data, room);
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

	close(t->fd);
	free(t);
}

static const struct dev_ops tap_ops = {
	.recv = tap_recv,
	.send = tap_send,
	.deadline = tap_deadline,
	.fd = tap_fd,
	.close = tap_close,
};

struct dev *dev_tap_new(const char *name, uint16_t mtu, const struct wire_buf_ops *buf)
{
	struct ifreq req = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	struct tap *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	strncpy(req.ifr_name, name, sizeof(req.ifr_name) - 1);
	if (t->fd < 0 || ioctl(t->fd, TUNSETIFF, &req) != 0) {
		int err = errno;

		if (t->fd >= 0)
			close(t->fd);
		free(t);
		errno = err;
		return NULL;
	}
	t->dev = (struct dev){ .ops = &tap_ops,
			       .mac = { { 2, 0, 0, 0x5a, 0x54, 0x43 } },
			       .mtu = mtu };
	t->buf = *buf;
	return &t->dev;
}
