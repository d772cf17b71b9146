/* cc.c - what all congestion controls share: slow start, initial window, pacing rate, the list of names */
#include "stack/cc/cc.h"

#include <stddef.h>
#include <string.h>

#include "stack/base/base_check.h"
#include "stack/base/base_seq.h"

/* A window never exceeds what RFC 7323 2.2 lets a receiver offer. */
#define CWND_MAX (1u << 30)

const struct cc_ops *cc_find(const char *name)
{
	static const struct cc_ops *const all[] = { &cc_reno, &cc_cubic };

	for (size_t i = 0; i < BASE_ARRAY_SIZE(all); i++)
		if (!strcmp(all[i]->name, name))
			return all[i];
	return NULL;
}

/* RFC 9406 4.2 */
#define HYSTART_SAMPLES    8
#define HYSTART_MIN_US     4000
#define HYSTART_MAX_US     16000
#define HYSTART_DIVISOR    8
#define HYSTART_CSS_DIVIDE 4
#define HYSTART_CSS_ROUNDS 5

static void hystart_round(struct cc_hystart *h, const struct cc_ack *ack)
{
	h->last_min_us = h->round_min_us;
	h->round_min_us = 0;
	h->samples = 0;
	h->round_end = ack->next;
	h->begun = true;
}

static void hystart_sample(struct cc_hystart *h, uint32_t rtt_us)
{
	if (!rtt_us)
		return;
	if (!h->round_min_us || rtt_us < h->round_min_us)
		h->round_min_us = rtt_us;
	h->samples += h->samples < UINT16_MAX;
}

/* Does the queue of a router grow? Into conservative slow start then, and out of it when it was a false alarm. */
static void hystart_judge(struct cc_hystart *h)
{
	uint32_t threshold = BASE_MIN(h->last_min_us / HYSTART_DIVISOR, (uint32_t)HYSTART_MAX_US);

	if (h->samples < HYSTART_SAMPLES)
		return;
	if (h->base_us) {
		if (h->round_min_us < h->base_us)
			h->base_us = h->css_rounds = 0;
		return;
	}
	threshold = BASE_MAX(threshold, (uint32_t)HYSTART_MIN_US);
	if (h->last_min_us && h->round_min_us >= h->last_min_us + threshold)
		h->base_us = h->round_min_us;
}

static void hystart_ack(struct cc *cc, const struct cc_ack *ack)
{
	struct cc_hystart *h = &cc->u.hystart;
	uint32_t grow = ack->acked;

	if (!h->begun)
		hystart_round(h, ack);
	hystart_sample(h, ack->rtt_us);
	hystart_judge(h);
	if (h->base_us)
		grow /= HYSTART_CSS_DIVIDE;
	cc->cwnd = BASE_MIN(cc->cwnd + grow, CWND_MAX);
	/* A round is over when all that was in flight at its beginning is acknowledged. */
	if (seq_lt(ack->una, h->round_end))
		return;
	hystart_round(h, ack);
	h->css_rounds += h->base_us != 0;
	if (h->css_rounds < HYSTART_CSS_ROUNDS)
		return;
	cc->ssthresh = cc->cwnd;
	cc->ops->init(cc);
}

/* RFC 5681 3.1 counts at most one segment for an ACK, which assumes an ACK for every second segment. Receivers that
 * merge packets acknowledge dozens at once, so bytes are counted as RFC 3465 does, without its limit.
 */
uint32_t cc_slow_start_ack(struct cc *cc, const struct cc_ack *ack)
{
	uint32_t room = cc->ssthresh - cc->cwnd;
	uint32_t grow;

	if (!cc_slow_start(cc))
		return ack->acked;
	if (cc_first_slow_start(cc)) {
		hystart_ack(cc, ack);
		return 0;
	}
	grow = BASE_MIN(ack->acked, room);
	cc->cwnd = BASE_MIN(cc->cwnd + grow, CWND_MAX);
	return ack->acked - grow;
}

uint32_t cc_initial_window(uint32_t mss, uint32_t segments)
{
	uint32_t floor = BASE_MAX(2 * mss, 14600);

	return BASE_MIN(segments * mss, floor);
}

uint64_t cc_pacing_rate(const struct cc *cc, uint32_t srtt_us)
{
	uint64_t per_rtt;

	if (!srtt_us)
		return UINT64_MAX;
	per_rtt = cc->cwnd < cc->ssthresh / 2 ? 2ull * cc->cwnd : 6ull * cc->cwnd / 5;
	return per_rtt * 1000000 / srtt_us;
}
