/* tool_tap_fuzz.c - any bytes as a tap's ring, and what it hands out as frames
 *
 * The first two bytes say how far before the end of the ring the records begin, so that they wrap anywhere, the next two how
 * many bytes more or less than the input there are said to be. What must hold: a record has no more bytes than its kind may
 * have and than were there, what is read ends, and any frame is told in a line.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/tool/tool_frame.h"
#include "daemon/tool/tool_ring.h"
#include "shm/stats.h"

#define MUST(cond)               \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

enum { PREFIX = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ring_fill(struct tool_ring *r, const uint8_t *data, size_t size)
{
	uint8_t *base = (uint8_t *)r->map + TAP_DATA;
	uint64_t at = r->head % TAP_RING;
	size_t first = size < TAP_RING - at ? size : TAP_RING - at;

	memcpy(base + at, data, first);
	memcpy(base, data + first, size - first);
}

static void piece_check(const struct tool_piece *p)
{
	struct tool_frame f;
	char line[512];

	switch (p->rec.kind) {
	case TAP_FIN: MUST(!p->len); return;
	case TAP_BYTES: MUST(p->len <= TAP_PIECE); return;
	default: break;
	}
	MUST(p->rec.kind == TAP_FRAME && p->len <= TAP_FRAME_MAX && p->len <= p->rec.frame.whole);
	MUST(p->rec.frame.net < STATS_NETS);
	MUST(memchr(p->rec.frame.name, '\0', sizeof(p->rec.frame.name)));
	tool_frame_read(&f, p->data, p->len);
	MUST(f.kind && memchr(f.from, '\0', sizeof(f.from)) && memchr(f.to, '\0', sizeof(f.to)));
	tool_frame_text(line, sizeof(line), &f);
	MUST(strlen(line) > 3 && line[strlen(line) - 1] != ' ');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tap_head *map;
	struct tool_ring r = { .head = TAP_RING };
	struct tool_piece *p;
	uint64_t tail, taken;
	uint16_t before;
	int16_t more;

	if (!map)
		map = calloc(1, TAP_DATA + TAP_RING);
	if (size < PREFIX || size - PREFIX > TAP_RING)
		return 0;
	MUST(map);
	memcpy(&before, data, sizeof(before));
	memcpy(&more, data + sizeof(before), sizeof(more));
	r.map = map;
	r.head -= before / TAP_ALIGN * TAP_ALIGN;
	tail = r.head + size - PREFIX + (uint64_t)(int64_t)more;
	taken = r.head;
	ring_fill(&r, data + PREFIX, size - PREFIX);
	atomic_store(&map->tail, tail);
	while ((p = tool_ring_next(&r))) {
		MUST(r.head > taken && r.head - taken >= sizeof(p->rec) + p->len && r.head <= tail);
		MUST(atomic_load(&map->head) == r.head);
		taken = r.head;
		piece_check(p);
		free(p);
	}
	MUST(!r.lost && (r.broken || r.head == tail));
	return 0;
}
