/* dev_frame.c - frames as flat bytes, for devices that cannot gather, split or sum */
#include "stack/dev/dev.h"
#include "stack/ip/ip_gso.h"

size_t dev_flatten(const struct wire_frame_out *f, uint8_t *buf)
{
	size_t at = f->hdr_len;

	memcpy(buf, f->hdr, f->hdr_len);
	for (unsigned int i = 0; i < f->niov; i++) {
		memcpy(buf + at, f->iov[i].data, f->iov[i].len);
		at += f->iov[i].len;
	}
	return at;
}

void dev_split(const struct wire_frame_out *f, uint8_t *buf,
	       void (*put)(void *ctx, const uint8_t *frame, size_t len), void *ctx)
{
	struct wire_frame_out piece;
	struct ip_gso g;

	ip_gso_start(&g, f);
	while (ip_gso_next(&g, &piece, true))
		put(ctx, buf, dev_flatten(&piece, buf));
}
