/* tool_ring.c - records out of a tap's ring, checked */
#include "daemon/tool/tool_ring.h"

#include <stdlib.h>
#include <string.h>

#include "shm/stats.h"

static void ring_get(const struct tool_ring *r, uint64_t at, void *to, size_t n)
{
	const char *base = (const char *)r->map + TAP_DATA;
	uint64_t pos = at % TAP_RING;
	size_t first = n < TAP_RING - pos ? n : TAP_RING - pos;

	memcpy(to, base + pos, first);
	memcpy((char *)to + first, base, n - first);
}

/* Whether a record can be one. @len: set to the bytes that follow it */
static bool record_check(struct tap_record *rec, uint32_t *len)
{
	*len = 0;
	switch (rec->kind) {
	case TAP_FIN: return true;
	case TAP_BYTES:
		if (!(rec->flags & TAP_UNKNOWN))
			*len = rec->len;
		return rec->len <= TAP_PIECE;
	case TAP_FRAME:
		*len = rec->len;
		rec->frame.name[sizeof(rec->frame.name) - 1] = '\0';
		return rec->len <= TAP_FRAME_MAX && rec->len <= rec->frame.whole &&
		       rec->frame.net < STATS_NETS;
	default: return false;
	}
}

static struct tool_piece *piece_copy(const struct tool_ring *r, const struct tap_record *rec,
				     uint32_t len)
{
	struct tool_piece *p = malloc(sizeof(*p) + len);

	if (!p)
		return NULL;
	*p = (struct tool_piece){ .rec = *rec, .len = len, .data = (uint8_t *)(p + 1) };
	ring_get(r, r->head + sizeof(*rec), p + 1, len);
	return p;
}

struct tool_piece *tool_ring_next(struct tool_ring *r)
{
	uint64_t there = atomic_load_explicit(&r->map->tail, memory_order_acquire) - r->head;
	struct tap_record rec;
	struct tool_piece *p;
	uint32_t len, whole;

	while (there && !r->broken) {
		r->broken = there > TAP_RING || there < sizeof(rec);
		if (r->broken)
			break;
		ring_get(r, r->head, &rec, sizeof(rec));
		r->broken = !record_check(&rec, &len);
		whole = (uint32_t)sizeof(rec) + (len + TAP_ALIGN - 1) / TAP_ALIGN * TAP_ALIGN;
		r->broken |= whole > there;
		if (r->broken)
			break;
		p = piece_copy(r, &rec, len);
		r->head += whole;
		there -= whole;
		atomic_store_explicit(&r->map->head, r->head, memory_order_release);
		if (p)
			return p;
		r->lost++;
	}
	return NULL;
}
