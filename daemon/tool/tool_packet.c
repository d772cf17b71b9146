/* tool_packet.c - TCP packets made from pieces of lifted connections */
#include "daemon/tool/tool_packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/tool/tool.h"
#include "stack/base/base_hash.h"
#include "stack/base/base_list.h"

enum {
	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_PSH = 8,
	TCP_ACK = 16,
	TCP_HEAD = 20,
	TCP_OPTIONS = 8, /* of SYN: segment size, the window's scale, and a filler */
	WINDOW_SCALE = 14,
	SEGMENT = 65495,
	BUCKETS = 4096,
	LOOK_MAX = 64,     /* four times what is in a bucket when all flows are there */
	FLOWS_MAX = 65536, /* whichever has been quiet for longest is forgotten */
	ENDED_MAX = 1024,  /* of those that both ends have closed; late pieces may still come */
};

/* One conversation; end 0 connected, end 1 accepted. */
struct flow {
	uint64_t cookie[2];
	struct shm_end end[2]; /* as the connecting end sees them */
	bool begun;
	uint32_t isn[2];
	uint64_t due[2]; /* offset of the first byte of each end that is still to come */
	bool fin[2];
	struct base_list same;     /* in its bucket of all */
	struct base_list known[2]; /* in that of each end's cookie */
	struct base_list recent;   /* in lives or ended */
};

/*
 * Who publishes chooses ports, addresses and cookies as it likes. It chooses no bucket, as the hash has a key; no two flows have one cookie,
 * and of those with the same addresses only the last few are looked at. So none is far to find.
 */
struct tool_flows {
	struct base_hash_key key;
	struct base_list all[BUCKETS];      /* by both ends, as who was heard of first sees them */
	struct base_list known[2][BUCKETS]; /* by an end's cookie, where that is known */
	struct base_list lives, ended;      /* quiet for longest first */
	unsigned count, ended_count;
	uint32_t made;
};

struct tool_flows *tool_flows_make(void)
{
	struct tool_flows *f = calloc(1, sizeof(*f));

	if (!f || getrandom(&f->key, sizeof(f->key), 0) != sizeof(f->key)) {
		tool_say("%s", strerror(f ? errno : ENOMEM));
		free(f);
		return NULL;
	}
	for (unsigned i = 0; i < BUCKETS; i++) {
		base_list_init(&f->all[i]);
		base_list_init(&f->known[0][i]);
		base_list_init(&f->known[1][i]);
	}
	base_list_init(&f->lives);
	base_list_init(&f->ended);
	return f;
}

static void flows_free(struct base_list *list)
{
	base_list_for_each_safe(at, list) free(base_list_entry(at, struct flow, recent));
}

void tool_flows_free(struct tool_flows *f)
{
	if (!f)
		return;
	flows_free(&f->lives);
	flows_free(&f->ended);
	free(f);
}

unsigned tool_flows_count(const struct tool_flows *f)
{
	return f->count;
}

static unsigned length(const struct base_list *list)
{
	unsigned n = 0;

	for (const struct base_list *at = list->next; at != list; at = at->next)
		n++;
	return n;
}

unsigned tool_flows_farthest(const struct tool_flows *f)
{
	unsigned longest = 0;

	for (unsigned i = 0; i < BUCKETS; i++) {
		unsigned all = length(&f->all[i]);
		const unsigned n[] = { all < LOOK_MAX ? all : LOOK_MAX, length(&f->known[0][i]),
				       length(&f->known[1][i]) };

		for (unsigned k = 0; k < 3; k++)
			longest = n[k] > longest ? n[k] : longest;
	}
	return longest;
}

static struct base_list *cookie_bucket(struct tool_flows *all, unsigned end, uint64_t cookie)
{
	return &all->known[end][base_hash_sip24_words(&all->key, &cookie, 1) % BUCKETS];
}

/* From now on @end of @f has this cookie; 0: not known. */
static void cookie_set(struct tool_flows *all, struct flow *f, unsigned end, uint64_t cookie)
{
	if (f->cookie[end] == cookie)
		return;
	base_list_remove(&f->known[end]);
	base_list_init(&f->known[end]);
	f->cookie[end] = cookie;
	if (cookie)
		base_list_push_head(cookie_bucket(all, end, cookie), &f->known[end]);
}

static void flow_forget(struct tool_flows *all, struct flow *f)
{
	base_list_remove(&f->same);
	base_list_remove(&f->known[0]);
	base_list_remove(&f->known[1]);
	base_list_remove(&f->recent);
	all->count--;
	all->ended_count -= f->fin[0] && f->fin[1];
	free(f);
}

static void first_forget(struct tool_flows *all, const struct base_list *list)
{
	flow_forget(all, base_list_entry(list->next, struct flow, recent));
}

/* Room for one more. Those that were killed, or sent their last bytes by other ways, never say that they end. */
static void flows_bound(struct tool_flows *all)
{
	if (all->count >= FLOWS_MAX)
		first_forget(all, base_list_empty(&all->ended) ? &all->lives : &all->ended);
}

/* @f was heard of. */
static void flow_touch(struct tool_flows *all, struct flow *f, const struct tap_record *r)
{
	unsigned me = r->flags & TAP_ACCEPTED ? 1 : 0;
	bool before = f->fin[0] && f->fin[1];

	f->fin[me] |= r->kind == TAP_FIN;
	base_list_remove(&f->recent);
	if (!f->fin[0] || !f->fin[1]) {
		base_list_push_tail(&all->lives, &f->recent);
		return;
	}
	base_list_push_tail(&all->ended, &f->recent);
	all->ended_count += !before;
	if (all->ended_count > ENDED_MAX)
		first_forget(all, &all->ended);
}

static bool same(const struct shm_end *a, const struct shm_end *b)
{
	return a->port == b->port && memcmp(a->addr, b->addr, sizeof(a->addr)) == 0;
}

/* The same for both ends of a connection whose addresses nobody translates. */
static unsigned bucket_of(const struct tool_flows *all, const struct tap_record *r)
{
	bool accepted = r->flags & TAP_ACCEPTED;
	const struct shm_end *end[2] = { accepted ? &r->remote : &r->local,
					 accepted ? &r->local : &r->remote };
	uint64_t words[5];

	for (unsigned i = 0; i < 2; i++)
		memcpy(words + 2 * i, end[i]->addr, sizeof(end[i]->addr));
	words[4] = (uint64_t)end[0]->port << 16 | end[1]->port;
	return (unsigned)(base_hash_sip24_words(&all->key, words, 5) % BUCKETS);
}

static struct flow *flow_known(struct tool_flows *all, unsigned end, uint64_t cookie)
{
	if (!cookie)
		return NULL;
	base_list_for_each(at, cookie_bucket(all, end, cookie))
	{
		struct flow *f = base_container_of(at - end, struct flow, known);

		if (f->cookie[end] == cookie)
			return f;
	}
	return NULL;
}

/* Of one whose other end was never told of, by its addresses. */
static struct flow *flow_same(struct tool_flows *all, unsigned me, const struct tap_record *r)
{
	struct base_list *bucket = &all->all[bucket_of(all, r)];
	unsigned looked = 0;

	base_list_for_each(at, bucket)
	{
		struct flow *f = base_list_entry(at, struct flow, same);

		if (!f->cookie[me] && same(&f->end[me], &r->local) &&
		    same(&f->end[!me], &r->remote))
			return f;
		if (++looked == LOOK_MAX)
			break;
	}
	return NULL;
}

/* The conversation that the end of @r is of: it was heard of before, or the other end was, whose cookie it knows (behind an address
 * translation their ports differ) or, on one host and never told, whose addresses are the same.
 */
static struct flow *flow_find(struct tool_flows *all, const struct tap_record *r)
{
	unsigned me = r->flags & TAP_ACCEPTED ? 1 : 0;
	struct flow *f = flow_known(all, me, r->cookie);

	if (f)
		return f;
	if (r->peer) {
		f = flow_known(all, !me, r->peer);
		return f && !f->cookie[me] ? f : NULL;
	}
	return flow_same(all, me, r);
}

static struct flow *flow_make(struct tool_flows *all, const struct tap_record *r)
{
	unsigned me = r->flags & TAP_ACCEPTED ? 1 : 0;
	struct flow *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	flows_bound(all);
	f->end[me] = r->local;
	f->end[!me] = r->remote;
	f->isn[0] = ++all->made * UINT32_C(2654435761);
	f->isn[1] = f->isn[0] ^ UINT32_C(0x5bd1e995);
	base_list_init(&f->known[0]);
	base_list_init(&f->known[1]);
	base_list_push_head(&all->all[bucket_of(all, r)], &f->same);
	base_list_push_tail(&all->lives, &f->recent);
	all->count++;
	return f;
}

static struct flow *flow_of(struct tool_flows *all, const struct tap_record *r)
{
	unsigned me = r->flags & TAP_ACCEPTED ? 1 : 0;
	struct flow *f = flow_find(all, r);

	if (!f)
		f = flow_make(all, r);
	if (!f)
		return NULL;
	cookie_set(all, f, me, r->cookie);
	if (r->peer && !flow_known(all, !me, r->peer))
		cookie_set(all, f, !me, r->peer);
	if (!me && !f->begun) {
		f->end[0] = r->local;
		f->end[1] = r->remote;
	}
	return f;
}

/* ---- bytes ---- */

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static uint32_t sum_add(uint32_t sum, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i + 1 < n; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	if (n & 1)
		sum += (uint32_t)p[n - 1] << 8;
	return (sum & 0xffff) + (sum >> 16);
}

static unsigned sum_end(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static bool is_v4(const struct shm_end *e)
{
	static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(e->addr, v4, sizeof(v4)) == 0;
}

/* Return: bytes of the IP header. @sum: begun with the pseudo header. */
static unsigned ip_head(struct tool_packet *p, size_t tcp_len, uint32_t *sum)
{
	uint8_t *b = p->bytes;

	*sum = (uint32_t)tcp_len + IPPROTO_TCP;
	if (is_v4(&p->from) && is_v4(&p->to)) {
		memset(b, 0, 20);
		b[0] = 0x45;
		put16(b + 2, (unsigned)(20 + tcp_len));
		put16(b + 6, 0x4000); /* do not fragment */
		b[8] = 64;
		b[9] = IPPROTO_TCP;
		memcpy(b + 12, p->from.addr + 12, 4);
		memcpy(b + 16, p->to.addr + 12, 4);
		put16(b + 10, sum_end(sum_add(0, b, 20)));
		*sum = sum_add(*sum, b + 12, 8);
		return 20;
	}
	memset(b, 0, 40);
	b[0] = 0x60;
	put16(b + 4, (unsigned)tcp_len);
	b[6] = IPPROTO_TCP;
	b[7] = 64;
	memcpy(b + 8, p->from.addr, 16);
	memcpy(b + 24, p->to.addr, 16);
	*sum = sum_add(*sum, b + 8, 32);
	return 40;
}

static void packet_fill(struct tool_packet *p, const struct flow *f, unsigned me, unsigned flags,
			uint32_t seq, uint32_t ack, const uint8_t *data, uint32_t len)
{
	size_t head = TCP_HEAD + (flags & TCP_SYN ? TCP_OPTIONS : 0);
	uint32_t sum;
	unsigned ip;
	uint8_t *t;

	p->from = f->end[me];
	p->to = f->end[!me];
	p->payload = len;
	p->seq = seq;
	p->ack = flags & TCP_ACK ? ack : 0;
	p->tcp_flags = (uint8_t)flags;
	ip = ip_head(p, head + len, &sum);
	t = p->bytes + ip;
	memcpy(t, &p->from.port, 2);
	memcpy(t + 2, &p->to.port, 2);
	put32(t + 4, seq);
	put32(t + 8, p->ack);
	t[12] = (uint8_t)(head / 4 << 4);
	t[13] = (uint8_t)flags;
	put16(t + 14, 65535);
	put32(t + 16, 0);
	if (flags & TCP_SYN) {
		put16(t + 20, 2 << 8 | 4); /* RFC 9293 3.2 */
		put16(t + 22, SEGMENT);
		put16(t + 24, 3 << 8 | 3); /* RFC 7323 2.2 */
		put16(t + 26, WINDOW_SCALE << 8);
	}
	if (len)
		memcpy(t + head, data, len);
	p->len = (uint32_t)(ip + head + len);
	put16(t + 16, sum_end(sum_add(sum, t, head + len)));
}

/* A connection that is seen from its first byte on. */
static unsigned handshake(const struct flow *f, uint64_t ns, struct tool_packet *out)
{
	const uint32_t *isn = f->isn;

	packet_fill(&out[0], f, 0, TCP_SYN, isn[0], 0, NULL, 0);
	packet_fill(&out[1], f, 1, TCP_SYN | TCP_ACK, isn[1], isn[0] + 1, NULL, 0);
	packet_fill(&out[2], f, 0, TCP_ACK, isn[0] + 1, isn[1] + 1, NULL, 0);
	for (unsigned i = 0; i < 3; i++) {
		out[i].ns = ns - 3 + i;
		out[i].missed = 0;
		out[i].shm = false;
	}
	return 3;
}

/* What passed before the first piece of a connection was not to be captured. */
static void flow_begin(struct flow *f, const struct tap_record *r, unsigned me)
{
	f->due[me] = r->seq;
	f->due[!me] = r->ack;
	f->begun = true;
}

/* Bytes that this piece shows to be missing: of its own end, before it, and of the other end, which this one has read. */
static uint64_t missed(struct flow *f, const struct tap_record *r, unsigned me, uint32_t len)
{
	uint64_t n = 0;

	if (r->seq > f->due[me])
		n += r->seq - f->due[me];
	if (r->ack > f->due[!me]) {
		n += r->ack - f->due[!me];
		f->due[!me] = r->ack;
	}
	if (r->seq + len > f->due[me])
		f->due[me] = r->seq + len;
	return n;
}

unsigned tool_packets_make(struct tool_flows *all, const struct tool_piece *piece,
			   struct tool_packet *out)
{
	const struct tap_record *r = &piece->rec;
	unsigned me = r->flags & TAP_ACCEPTED ? 1 : 0, n = 0;
	uint32_t len = r->kind == TAP_FIN ? 0 : r->len;
	struct flow *f = flow_of(all, r);

	if (!f)
		return 0;
	if (!f->begun) {
		if (r->seq == 0 && r->ack == 0)
			n = handshake(f, r->ns, out);
		flow_begin(f, r, me);
	}
	flow_touch(all, f, r);
	if (r->flags & TAP_UNKNOWN)
		return n;
	out[n].missed = missed(f, r, me, len);
	packet_fill(&out[n], f, me, r->kind == TAP_FIN ? TCP_FIN | TCP_ACK : TCP_PSH | TCP_ACK,
		    f->isn[me] + 1 + (uint32_t)r->seq, f->isn[!me] + 1 + (uint32_t)r->ack,
		    piece->data, len);
	out[n].ns = r->ns;
	out[n].shm = r->flags & TAP_SHM;
	return n + 1;
}
