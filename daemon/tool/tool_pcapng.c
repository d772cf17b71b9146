/* tool_pcapng.c - a pcapng file (the format's own byte order is the writer's) */
#include "daemon/tool/tool_pcapng.h"

#include <errno.h>
#include <string.h>

enum {
	BLOCK_SECTION = 0x0a0d0d0a,
	BLOCK_IFACE = 1,
	BLOCK_COUNTS = 5,
	BLOCK_PACKET = 6,
	OPT_COMMENT = 1,
	OPT_APP = 4,       /* of a section */
	OPT_NAME = 2,      /* of an interface */
	OPT_ABOUT = 3,     /* of an interface */
	OPT_TIME_UNIT = 9, /* of an interface */
	OPT_FLAGS = 2,     /* of a packet */
	OPT_RECEIVED = 4,  /* of counts */
	OPT_DROPPED = 5,   /* of counts */
	TEXT_MAX = 256,
};

/* A block's fixed part and its options, which are small. */
struct block {
	uint8_t bytes[2 * TEXT_MAX + 128];
	uint32_t len;
};

static void put(struct block *b, const void *from, size_t n)
{
	memcpy(b->bytes + b->len, from, n);
	memset(b->bytes + b->len + n, 0, -n & 3);
	b->len += (uint32_t)((n + 3) & ~(size_t)3);
}

static void option(struct block *b, uint16_t code, const void *from, size_t n)
{
	const uint16_t head[2] = { code, (uint16_t)n };

	put(b, head, sizeof(head));
	put(b, from, n);
}

static void option_text(struct block *b, uint16_t code, const char *text)
{
	option(b, code, text, strnlen(text, TEXT_MAX));
}

static void options_end(struct block *b)
{
	put(b, &(uint32_t){ 0 }, 4);
}

/* @head, then @n bytes filled up, then @tail. */
static int block_write(FILE *f, uint32_t type, const struct block *head, const void *bytes,
		       uint32_t n, const struct block *tail)
{
	static const uint8_t zero[4];
	const uint32_t fill = -n & 3, total = 12 + head->len + n + fill + (tail ? tail->len : 0);
	const uint32_t begin[2] = { type, total };

	if (fwrite(begin, sizeof(begin), 1, f) != 1 || fwrite(head->bytes, head->len, 1, f) != 1 ||
	    (n && fwrite(bytes, n, 1, f) != 1) || (fill && fwrite(zero, fill, 1, f) != 1) ||
	    (tail && fwrite(tail->bytes, tail->len, 1, f) != 1) || fwrite(&total, 4, 1, f) != 1)
		return -errno;
	return 0;
}

int tool_pcapng_begin(FILE *f)
{
	const struct {
		uint32_t magic;
		uint16_t major, minor;
		int64_t length;
	} fixed = { 0x1a2b3c4d, 1, 0, -1 };
	struct block b = { .len = 0 };

	put(&b, &fixed, sizeof(fixed));
	option_text(&b, OPT_APP, "ztcp " ZTCP_VERSION);
	options_end(&b);
	return block_write(f, BLOCK_SECTION, &b, NULL, 0, NULL);
}

int tool_pcapng_iface(FILE *f, uint16_t link, uint32_t snap, const char *name, const char *about)
{
	const uint16_t type[2] = { link, 0 };
	struct block b = { .len = 0 };

	put(&b, type, sizeof(type));
	put(&b, &snap, sizeof(snap));
	option_text(&b, OPT_NAME, name);
	if (about)
		option_text(&b, OPT_ABOUT, about);
	option(&b, OPT_TIME_UNIT, &(uint8_t){ 9 }, 1); /* 10^-9 s */
	options_end(&b);
	return block_write(f, BLOCK_IFACE, &b, NULL, 0, NULL);
}

int tool_pcapng_packet(FILE *f, const struct tool_block *p)
{
	const uint32_t fixed[5] = { p->iface, (uint32_t)(p->ns >> 32), (uint32_t)p->ns, p->len,
				    p->whole };
	struct block head = { .len = 0 }, tail = { .len = 0 };

	put(&head, fixed, sizeof(fixed));
	option_text(&tail, OPT_COMMENT, p->comment);
	if (p->direction)
		option(&tail, OPT_FLAGS, &p->direction, sizeof(p->direction));
	options_end(&tail);
	return block_write(f, BLOCK_PACKET, &head, p->bytes, p->len, &tail);
}

int tool_pcapng_counts(FILE *f, uint32_t iface, uint64_t ns, uint64_t packets, uint64_t lost)
{
	const uint32_t fixed[3] = { iface, (uint32_t)(ns >> 32), (uint32_t)ns };
	struct block b = { .len = 0 };

	put(&b, fixed, sizeof(fixed));
	option(&b, OPT_RECEIVED, &packets, sizeof(packets));
	option(&b, OPT_DROPPED, &lost, sizeof(lost));
	options_end(&b);
	return block_write(f, BLOCK_COUNTS, &b, NULL, 0, NULL);
}
