/* ip_neigh.c - the stations of this link: who is where, who is asked, what waits (RFC 826, 4861,
 * 1122 2.3.2)
 *
 * Entries are in a hash chain by address; those with a question out are also in a ring in the
 * order in which the next question is due, which is the order in which they were asked because the
 * interval is one constant.
 */
#include "stack/ip/ip_state.h"

#include <errno.h>

#define NEIGH_ASK_EVERY \
	ZTIME_SEC /* RFC 4861 10: RETRANS_TIMER; RFC 1122 2.3.2.1: at most one a second */
#define NEIGH_ASK_MAX     3
#define NEIGH_EVICT_LOOKS 16

static uint32_t neigh_place(const struct ip *ip, const union wire_addr *addr)
{
	return (uint32_t)(base_hash_sip24_words(&ip->cfg.key, addr->q, 2) % ip->cfg.neigh_max);
}

void ip_neigh_init(struct ip *ip)
{
	memset(ip->neigh, 0, ip->cfg.neigh_max * sizeof(*ip->neigh));
	for (uint32_t i = 0; i < ip->cfg.neigh_max; i++) {
		ip->neigh_head[i] = IP_NONE;
		ip->neigh[i].next_hash = i + 1 < ip->cfg.neigh_max ? (uint16_t)(i + 1) : IP_NONE;
	}
	for (int i = 0; i < IP_PENDING_MAX; i++)
		ip->pending[i].neigh = IP_NONE;
	ip->neigh_free = 0;
	ip->asking_head = ip->asking_tail = IP_NONE;
}

uint16_t ip_neigh_find(const struct ip *ip, const union wire_addr *addr)
{
	uint16_t i = ip->neigh_head[neigh_place(ip, addr)];

	while (i != IP_NONE && !wire_addr_equal(&ip->neigh[i].addr, addr))
		i = ip->neigh[i].next_hash;
	return i;
}

static void asking_remove(struct ip *ip, uint16_t i)
{
	struct ip_neigh *n = &ip->neigh[i];

	if (n->prev_asking == IP_NONE)
		ip->asking_head = n->next_asking;
	else
		ip->neigh[n->prev_asking].next_asking = n->next_asking;
	if (n->next_asking == IP_NONE)
		ip->asking_tail = n->prev_asking;
	else
		ip->neigh[n->next_asking].prev_asking = n->prev_asking;
	ip_deadline_set(ip);
}

static void asking_push(struct ip *ip, uint16_t i)
{
	struct ip_neigh *n = &ip->neigh[i];

	n->next_asking = IP_NONE;
	n->prev_asking = ip->asking_tail;
	if (ip->asking_tail == IP_NONE)
		ip->asking_head = i;
	else
		ip->neigh[ip->asking_tail].next_asking = i;
	ip->asking_tail = i;
	ip_deadline_set(ip);
}

static void neigh_ask(struct ip *ip, uint16_t i, ztime_t now)
{
	struct ip_neigh *n = &ip->neigh[i];

	n->asked++;
	n->at = now + NEIGH_ASK_EVERY;
	asking_push(ip, i);
	ip_ask(ip, n);
}

/* Every cached hop may point here, so all of them look again. */
static void neigh_forget(struct ip *ip, uint16_t i)
{
	uint16_t *link = &ip->neigh_head[neigh_place(ip, &ip->neigh[i].addr)];

	while (*link != i)
		link = &ip->neigh[*link].next_hash;
	*link = ip->neigh[i].next_hash;
	ip->nincomplete -= ip->neigh[i].state == NEIGH_INCOMPLETE;
	ip->neigh[i].state = NEIGH_FREE;
	ip->neigh[i].next_hash = ip->neigh_free;
	ip->neigh_free = i;
	ip->plain.gen++;
}

/* A hand goes round; what has been used since its last visit is spared once. One that was never asked for goes too. */
static void neigh_evict(struct ip *ip)
{
	for (int looks = 0; looks < NEIGH_EVICT_LOOKS; looks++) {
		uint16_t i = ip->evict_at;
		struct ip_neigh *n = &ip->neigh[i];

		ip->evict_at = (uint16_t)((i + 1u) % ip->cfg.neigh_max);
		if ((n->state == NEIGH_REACHABLE || !n->asked) && !ip->plain.links[i].used) {
			neigh_forget(ip, i);
			base_count(ip->counters, CNT_ip_neigh_evicted);
			return;
		}
		ip->plain.links[i].used = false;
	}
}

/* @good_until: as in struct ip_link */
static void link_set(const struct ip *ip, uint16_t i, ztime_t good_until)
{
	const struct ip_neigh *n = &ip->neigh[i];
	struct ip_link *link = &ip->plain.links[i];
	struct wire_eth eth = {
		.dst = n->mac,
		.src = ip->cfg.mac,
		.type = wire_addr_is_v4(&n->addr) ? WIRE_ETH_IP4 : WIRE_ETH_IP6,
		.vlan = ip->cfg.vlan,
	};

	wire_eth_emit(&eth, link->header);
	link->good_until = good_until;
}

static struct ip_pending *pending_first(struct ip *ip, uint16_t i)
{
	struct ip_pending *first = NULL;

	for (int k = 0; k < IP_PENDING_MAX; k++) {
		struct ip_pending *p = &ip->pending[k];

		if (p->neigh == i && (!first || (int32_t)(p->order - first->order) < 0))
			first = p;
	}
	return first;
}

static void pending_free(struct ip *ip, struct ip_pending *p)
{
	ip->neigh[p->neigh].npending--;
	p->neigh = IP_NONE;
}

static void pending_drop(struct ip *ip, struct ip_pending *p)
{
	if (p->frame.niov)
		ip->cfg.buf.put(ip->cfg.buf.ctx, p->frame.iov[0].owner);
	pending_free(ip, p);
}

/* Of those that are looked for, the next to be asked again gives way, and what waits for it. */
static void neigh_give_up(struct ip *ip)
{
	uint16_t i = ip->asking_head;

	for (int looks = 0; i != IP_NONE && looks < NEIGH_EVICT_LOOKS; looks++) {
		if (ip->neigh[i].state == NEIGH_INCOMPLETE) {
			while (ip->neigh[i].npending) {
				pending_drop(ip, pending_first(ip, i));
				base_count(ip->counters, CNT_ip_pending_failed);
			}
			asking_remove(ip, i);
			neigh_forget(ip, i);
			base_count(ip->counters, CNT_ip_neigh_evicted);
			return;
		}
		i = ip->neigh[i].next_asking;
	}
}

/* Room for one more. Return: false when there is none. */
static bool neigh_room(struct ip *ip)
{
	if (ip->neigh_free == IP_NONE && ip->nincomplete * 2u >= ip->cfg.neigh_max)
		neigh_give_up(ip);
	if (ip->neigh_free == IP_NONE)
		neigh_evict(ip);
	return ip->neigh_free != IP_NONE;
}

uint16_t ip_neigh_get(struct ip *ip, const union wire_addr *addr)
{
	uint16_t i = ip_neigh_find(ip, addr);
	struct ip_neigh *n;
	uint32_t place;

	if (i != IP_NONE)
		return i;
	if (!neigh_room(ip))
		return IP_NONE;
	i = ip->neigh_free;
	n = &ip->neigh[i];
	ip->neigh_free = n->next_hash;
	place = neigh_place(ip, addr);
	*n = (struct ip_neigh){
		.addr = *addr,
		.state = NEIGH_INCOMPLETE,
		.next_hash = ip->neigh_head[place],
		.prev_asking = IP_NONE,
		.next_asking = IP_NONE,
	};
	ip->nincomplete++;
	link_set(ip, i, ZTIME_PAST);
	ip->plain.links[i].used = true;
	ip->neigh_head[place] = i;
	return i;
}

bool ip_neigh_use(struct ip *ip, uint16_t i, ztime_t now)
{
	struct ip_neigh *n = &ip->neigh[i];

	ip->plain.links[i].used = true;
	if (BASE_LIKELY(n->state == NEIGH_REACHABLE)) {
		if (BASE_UNLIKELY(now > ip->plain.links[i].good_until)) {
			ip->plain.links[i].good_until = ZTIME_PAST;
			n->state = NEIGH_PROBE;
			n->asked = 0;
			neigh_ask(ip, i, now);
		}
		return true;
	}
	if (n->state == NEIGH_INCOMPLETE && n->asked == 0)
		neigh_ask(ip, i, now);
	return n->state == NEIGH_PROBE;
}

static struct ip_pending *pending_slot(struct ip *ip)
{
	for (int k = 0; k < IP_PENDING_MAX; k++)
		if (ip->pending[k].neigh == IP_NONE)
			return &ip->pending[k];
	return NULL;
}

/* All runs of @from, one after the other, in a buffer of ours. */
static bool pending_copy(struct ip *ip, struct wire_frame_out *to,
			 const struct wire_frame_out *from)
{
	uint32_t at = 0;
	uint8_t *data;
	void *owner;

	*to = *from;
	if (from->len == 0)
		return true;
	owner = ip->cfg.buf.alloc(ip->cfg.buf.ctx, from->len, &data);
	if (!owner)
		return false;
	for (unsigned int k = 0; k < from->niov; k++) {
		memcpy(data + at, from->iov[k].data, from->iov[k].len);
		at += from->iov[k].len;
	}
	to->niov = 1;
	to->iov[0] = (struct wire_tcp_iov){ .data = data, .len = at, .owner = owner };
	return true;
}

int ip_neigh_wait(struct ip *ip, uint16_t i, const struct wire_frame_out *f)
{
	struct ip_neigh *n = &ip->neigh[i];
	struct ip_pending *p = pending_slot(ip);

	/* A frame that the device would split is only copied once it can go. */
	if (!p || n->npending == IP_PENDING_PER_NEIGH || f->gso_size ||
	    !pending_copy(ip, &p->frame, f)) {
		base_count(ip->counters, CNT_ip_pending_full);
		return -ENOBUFS;
	}
	p->neigh = i;
	p->order = ip->pending_order++;
	n->npending++;
	return 0;
}

static void pending_send(struct ip *ip, uint16_t i)
{
	while (ip->neigh[i].npending) {
		struct ip_pending *p = pending_first(ip, i);
		struct wire_frame_out *f = ip_answer_new(ip);

		if (!f) {
			pending_drop(ip, p);
			continue;
		}
		*f = p->frame;
		memcpy(f->hdr, ip->neigh[i].mac.b, WIRE_MAC_LEN);
		ip_answer_push(ip);
		pending_free(ip, p);
	}
}

/* @confirmed_at: when it was last proved to hear us, or IP_NEIGH_FRESH ago */
static void neigh_set(struct ip *ip, uint16_t i, const struct wire_mac *mac, ztime_t confirmed_at)
{
	struct ip_neigh *n = &ip->neigh[i];

	if (n->asked)
		asking_remove(ip, i);
	n->asked = 0;
	n->mac = *mac;
	ip->nincomplete -= n->state == NEIGH_INCOMPLETE;
	n->state = NEIGH_REACHABLE;
	n->at = confirmed_at;
	link_set(ip, i, n->at + IP_NEIGH_FRESH);
	pending_send(ip, i);
}

/* Another station says that the address of one that we know is its own. Nobody has to be believed who can send a frame on this
 * link: the known one is asked, by itself and once. If it answers it stays; if not, all are asked a second later.
 */
static void neigh_doubt(struct ip *ip, uint16_t i, ztime_t now)
{
	struct ip_neigh *n = &ip->neigh[i];

	base_count(ip->counters, CNT_ip_neigh_claims);
	if (n->state == NEIGH_PROBE || now - n->at < NEIGH_ASK_EVERY)
		return; /* it is being asked, or has just answered */
	ip->plain.links[i].good_until = ZTIME_PAST;
	n->state = NEIGH_PROBE;
	n->asked = NEIGH_ASK_MAX - 1;
	neigh_ask(ip, i, now);
}

void ip_neigh_heard(struct ip *ip, const union wire_addr *addr, const struct wire_mac *mac,
		    bool solicited, ztime_t now)
{
	uint16_t i = ip_neigh_find(ip, addr);
	struct ip_neigh *n;

	if (i == IP_NONE)
		return;
	n = &ip->neigh[i];
	if (n->state != NEIGH_INCOMPLETE && !wire_mac_equal(&n->mac, mac))
		neigh_doubt(ip, i, now);
	else if (solicited || n->state != NEIGH_REACHABLE) /* else nothing new, and no proof */
		neigh_set(ip, i, mac, solicited ? now : now - IP_NEIGH_FRESH);
}

void ip_heard(struct ip *ip, const struct ip_heard *heard, ztime_t now)
{
	uint16_t i = ip_neigh_find(ip, &heard->addr);

	/* Who was asked by all has to say where he is (RFC 4861 7.2.5). */
	if (!heard->named && i != IP_NONE && ip->neigh[i].state == NEIGH_INCOMPLETE)
		return;
	ip_neigh_heard(ip, &heard->addr, &heard->mac, heard->solicited, now);
}

int ip_neigh_add(struct ip *ip, const union wire_addr *addr, const struct wire_mac *mac,
		 ztime_t now)
{
	uint16_t i = ip_neigh_get(ip, addr);

	if (i == IP_NONE)
		return -ENOBUFS;
	neigh_set(ip, i, mac, now);
	return 0;
}

static bool pending_error(const struct wire_frame_out *f, struct ip_error *err)
{
	const uint8_t *l3 = f->hdr + f->l3_at, *l4 = f->hdr + f->l4_at;

	if (!f->l4_len)
		return false;
	*err = (struct ip_error){
		.err = EHOSTUNREACH,
		.seq = base_be32_get(l4 + 4),
		.hard = true, /* three questions have had their time */
	};
	err->flow.lport = base_be16_get(l4);
	err->flow.rport = base_be16_get(l4 + 2);
	if (l3[0] >> 4 == 4) {
		err->flow.local = wire_addr_v4_bytes(l3 + 12);
		err->flow.remote = wire_addr_v4_bytes(l3 + 16);
	} else {
		err->flow.local = wire_addr_v6_bytes(l3 + 8);
		err->flow.remote = wire_addr_v6_bytes(l3 + 24);
	}
	return true;
}

/* Nobody answered. Return: errors filled; the entry is freed when nothing waits any more. */
static unsigned int neigh_fail(struct ip *ip, uint16_t i, struct ip_error *err, unsigned int max)
{
	struct ip_neigh *n = &ip->neigh[i];
	unsigned int filled = 0;

	while (n->npending && filled < max) {
		struct ip_pending *p = pending_first(ip, i);

		filled += pending_error(&p->frame, &err[filled]);
		base_count(ip->counters, CNT_ip_pending_failed);
		pending_drop(ip, p);
	}
	if (!n->npending) {
		asking_remove(ip, i);
		neigh_forget(ip, i);
		base_count(ip->counters, CNT_ip_neigh_failed);
	}
	return filled;
}

unsigned int ip_tick(struct ip *ip, struct ip_error *err, unsigned int max, ztime_t now)
{
	unsigned int filled = 0;

	ip_announce_again(ip, now);
	while (ip->asking_head != IP_NONE && filled < max) {
		uint16_t i = ip->asking_head;
		struct ip_neigh *n = &ip->neigh[i];

		if (n->at > now)
			break;
		if (n->asked >= NEIGH_ASK_MAX && n->state == NEIGH_INCOMPLETE) {
			filled += neigh_fail(ip, i, err + filled, max - filled);
			continue;
		}
		asking_remove(ip, i);
		if (n->asked >= NEIGH_ASK_MAX) {
			n->state = NEIGH_INCOMPLETE;
			ip->nincomplete++;
			n->asked = 0;
		}
		neigh_ask(ip, i, now);
	}
	return filled;
}

void ip_deadline_set(struct ip *ip)
{
	ip->plain.deadline = ip->announce_at;
	if (ip->answer_put != ip->answer_got || ip->self_put != ip->self_got)
		ip->plain.deadline = 0;
	else if (ip->asking_head != IP_NONE)
		ip->plain.deadline = ztime_min(ip->announce_at, ip->neigh[ip->asking_head].at);
}

ztime_t ip_deadline(const struct ip *ip)
{
	return ip->plain.deadline;
}

void ip_neigh_fini(struct ip *ip)
{
	for (int k = 0; k < IP_PENDING_MAX; k++)
		if (ip->pending[k].neigh != IP_NONE)
			pending_drop(ip, &ip->pending[k]);
}

unsigned int ip_neigh_info(const struct ip *ip, unsigned int at, struct ip_neigh_info *info)
{
	static const char *const names[] = { "free", "incomplete", "reachable", "probe" };

	for (; at < ip->cfg.neigh_max; at++) {
		const struct ip_neigh *n = &ip->neigh[at];

		if (n->state == NEIGH_FREE)
			continue;
		*info = (struct ip_neigh_info){
			.addr = n->addr,
			.mac = n->mac,
			.state = names[n->state],
			.confirmed_at = n->at,
		};
		return at + 1;
	}
	return 0;
}
