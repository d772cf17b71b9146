/* cc.c - what all congestion controls share: slow start, initial window, pacing rate, the list of names */
#include "stack/cc/cc.h"

#include <stddef.h>
#include <string.h>

#include "stack/base/base_check.h"

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

/* RFC 5681 3.1 counts at most one segment for an ACK, which assumes an ACK for every second segment. Receivers that
 * merge packets acknowledge dozens at once, so bytes are counted as RFC 3465 does, without its limit.
 */
uint32_t cc_slow_start_ack(struct cc *cc, const struct cc_ack *ack)
{
	uint32_t room = cc->ssthresh - cc->cwnd;
	uint32_t grow;

	if (!cc_slow_start(cc))
		return ack->acked;
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
