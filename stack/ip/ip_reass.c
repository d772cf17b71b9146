/* ip_reass.c - fragments back into datagrams, in a few slots of 64 KiB (RFC 791, 815, 8200 4.5,
 * 5722)
 *
 * A bit for each 8 bytes says what has come. Any overlap throws the whole datagram away, in IPv4
 * as RFC 5722 orders it for IPv6: nobody sends such fragments but those who want two machines to
 * read different things; an exact copy of a fragment is ignored instead. When all slots are taken
 * the oldest gives way, so a flood of fragments can delay other fragmented traffic and nothing
 * else.
 */
#include "stack/ip/ip_state.h"

#define REASS_V4_LIFE (30 * ZTIME_SEC) /* RFC 1122 3.3.2 says 60 to 120 s; Linux and BSD say 30 s */
#define REASS_V6_LIFE (60 * ZTIME_SEC) /* RFC 8200 4.5 */

static bool slot_matches(const struct ip_reass *r, const struct ip_packet *p, uint32_t id)
{
	return r->until && r->id == id && wire_addr_equal(&r->src, &p->src) &&
	       wire_addr_equal(&r->dst, &p->dst) &&
	       (!wire_addr_is_v4(&p->dst) || r->proto == p->proto);
}

static void slot_start(struct ip_reass *r, const struct ip_packet *p, uint32_t id, ztime_t now)
{
	memset(r, 0, offsetof(struct ip_reass, buf));
	r->src = p->src;
	r->dst = p->dst;
	r->id = id;
	r->proto = p->proto;
	r->ecn = p->ecn;
	r->until = now + (wire_addr_is_v4(&p->dst) ? REASS_V4_LIFE : REASS_V6_LIFE);
}

static struct ip_reass *slot_get(struct ip *ip, const struct ip_packet *p, uint32_t id, ztime_t now)
{
	struct ip_reass *oldest = &ip->reass[0];

	for (uint32_t i = 0; i < ip->cfg.reass_max; i++) {
		struct ip_reass *r = &ip->reass[i];

		if (r->until && r->until <= now) {
			base_count(ip->counters, CNT_ip_reass_timeout);
			r->until = 0;
		}
		if (slot_matches(r, p, id))
			return r;
		if (r->until < oldest->until)
			oldest = r;
	}
	if (oldest->until)
		base_count(ip->counters, CNT_ip_reass_evicted);
	slot_start(oldest, p, id, now);
	return oldest;
}

/* Set @n bits from @first. Return: how many of them were set before. */
static uint32_t map_set(uint64_t *map, uint32_t first, uint32_t n)
{
	uint32_t before = 0;

	for (uint32_t i = first; i < first + n; i++) {
		before += map[i / 64] >> (i % 64) & 1;
		map[i / 64] |= 1ull << (i % 64);
	}
	return before;
}

static bool shape_ok(const struct ip_reass *r, const struct ip_packet *p, const struct ip_frag *f)
{
	uint32_t end = f->off + p->body_len;

	if (p->body_len == 0 || end > 65535 || (f->more && p->body_len % 8))
		return false;
	if (r->total && (end > r->total || (!f->more && end != r->total)))
		return false;
	/* Nothing lies beyond the end. Bytes that never came would be taken for such that did. */
	return f->more || r->top <= end;
}

static enum counter slot_add(struct ip_reass *r, const struct ip_packet *p, const struct ip_frag *f)
{
	uint32_t units = (p->body_len + 7) / 8, before;

	if (!shape_ok(r, p, f))
		return CNT_ip_reass_bad;
	if (++r->frags > IP_REASS_FRAGS_MAX)
		return CNT_ip_reass_many;
	before = map_set(r->map, f->off / 8, units);
	if (before == units && memcmp(r->buf + f->off, p->body, p->body_len) == 0)
		return CNT_none; /* a copy */
	if (before)
		return CNT_ip_reass_overlap;
	memcpy(r->buf + f->off, p->body, p->body_len);
	r->have += p->body_len;
	r->top = BASE_MAX(r->top, f->off + p->body_len);
	if (!f->more)
		r->total = f->off + p->body_len;
	if (f->off == 0)
		r->proto = p->proto;
	/* Congestion seen by any fragment was seen by the datagram (RFC 3168 5.3). */
	if (p->ecn == 3)
		r->ecn = 3;
	return CNT_none;
}

enum counter ip_reass_input(struct ip *ip, struct ip_packet *p, const struct ip_frag *f,
			    ztime_t now)
{
	struct ip_reass *r;
	enum counter why;

	if (!ip->cfg.reass_max)
		return CNT_ip_reass_off;
	r = slot_get(ip, p, f->id, now);
	why = slot_add(r, p, f);
	if (why != CNT_none) {
		r->until = 0;
		return why;
	}
	if (!r->total || r->have != r->total)
		return CNT_ip_reass_wait;
	p->body = r->buf;
	p->body_len = r->total;
	p->proto = r->proto;
	p->ecn = r->ecn;
	p->joined = true;
	r->until = 0;
	base_count(ip->counters, CNT_ip_reass_done);
	return CNT_none;
}
