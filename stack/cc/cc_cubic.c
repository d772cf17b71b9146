/* cc_cubic.c - RFC 9438: the window as a cubic of the time since the last reduction
 *
 * Theory of operation: W(t) = C (t - K)^3 + W_max, in segments and seconds, with C = 0.4 and a reduction to
 * 0.7. Here windows are bytes, time is milliseconds, fractions of bytes are kept in 1/65536. An epoch begins with the
 * first acknowledgement in congestion avoidance after a reduction or an application-limited time; from
 * there W(t + RTT) is the target of the next round trip. Where Reno would be faster (4.3) its window,
 * w_est, is used instead.
 */
#include "stack/base/base_check.h"
#include "stack/cc/cc.h"

#define CWND_MAX         (1u << 30)
#define BETA_PERCENT     70      /* RFC 9438 4.6 */
#define ALPHA_1024       542     /* 3 (1 - beta) / (1 + beta) = 0.529 (4.3) */
#define FAST_CONVERGENCE 85      /* (1 + beta) / 2 in percent (4.7) */
#define TIME_LIMIT_MS    1000000 /* keeps the cube within 64 bits */

/* Integer cube root by bits, from the top: 22 rounds for 64 bits. */
static uint32_t cube_root(uint64_t x)
{
	uint64_t root = 0;

	for (int shift = 63; shift >= 0; shift -= 3) {
		uint64_t step;

		root <<= 1;
		step = 3 * root * (root + 1) + 1;
		if (x >> shift >= step) {
			x -= step << shift;
			root++;
		}
	}
	return (uint32_t)root;
}

/* C (t - K)^3 in bytes. */
static int64_t cubic_offset(int64_t from_k_ms, uint32_t mss)
{
	int64_t d = from_k_ms;

	if (d > TIME_LIMIT_MS)
		d = TIME_LIMIT_MS;
	if (d < -TIME_LIMIT_MS)
		d = -TIME_LIMIT_MS;
	return d * d * d / 1000000 * 4 * mss / 10000;
}

static void epoch_begin(struct cc *cc, uint32_t now_ms, uint32_t mss)
{
	struct cc_cubic *c = &cc->u.cubic;

	cc->epoch_ms = now_ms ? now_ms : 1;
	c->w_est = cc->cwnd;
	c->fraction = 0;
	c->k_ms = 0;
	c->origin = cc->cwnd;
	if (cc->cwnd >= c->w_max)
		return;
	/* K = cbrt((W_max - cwnd) / C) seconds (RFC 9438 equation 2). */
	c->k_ms = cube_root((uint64_t)(c->w_max - cc->cwnd) * 2500000000ull / mss);
	c->origin = c->w_max;
}

/* The window aimed at one round trip from now, between 1 and 1.5 times the present one (4.2). */
static uint32_t cubic_target(const struct cc *cc, const struct cc_ack *ack, uint32_t now_ms)
{
	const struct cc_cubic *c = &cc->u.cubic;
	int64_t t = (int64_t)(now_ms - cc->epoch_ms) + ack->srtt_us / 1000;
	int64_t w = (int64_t)c->origin + cubic_offset(t - c->k_ms, ack->mss);

	if (w < (int64_t)cc->cwnd)
		return cc->cwnd;
	return (uint32_t)BASE_MIN(w, (int64_t)cc->cwnd + cc->cwnd / 2);
}

/* Adds @add65536 / 65536 to a value whose fraction is @frac. */
static uint32_t add_fraction(uint16_t *frac, uint64_t add65536)
{
	uint64_t sum = add65536 + *frac;

	*frac = (uint16_t)sum;
	return (uint32_t)(sum >> 16);
}

static void cubic_avoid(struct cc *cc, const struct cc_ack *ack, uint32_t acked)
{
	struct cc_cubic *c = &cc->u.cubic;
	uint32_t now_ms = (uint32_t)(ack->now / ZTIME_MS);
	uint16_t frac = (uint16_t)c->fraction, frac_est = (uint16_t)(c->fraction >> 16);
	uint64_t alpha, per_byte;
	uint32_t target;

	if (!cc->epoch_ms)
		epoch_begin(cc, now_ms, ack->mss);
	target = cubic_target(cc, ack, now_ms);

	/* 4.3: once W_est has reached the old maximum it grows as Reno does, one segment a round trip. */
	alpha = c->w_est >= c->w_max ? 1024 : ALPHA_1024;
	per_byte = ((uint64_t)ack->mss * alpha << 16) / cc->cwnd;
	c->w_est += add_fraction(&frac_est, per_byte * acked >> 10);

	per_byte = ((uint64_t)(target - cc->cwnd) << 16) / cc->cwnd;
	cc->cwnd += add_fraction(&frac, per_byte * acked);
	cc->cwnd = BASE_MIN(BASE_MAX(cc->cwnd, c->w_est), CWND_MAX);
	c->fraction = (uint32_t)frac_est << 16 | frac;
}

static void cubic_init(struct cc *cc)
{
	cc->u.cubic = (struct cc_cubic){ 0 };
	cc->epoch_ms = 0;
}

static void cubic_ack(struct cc *cc, const struct cc_ack *ack)
{
	uint32_t left;

	left = cc_slow_start_ack(cc, ack);
	if (left)
		cubic_avoid(cc, ack, left);
}

static void cubic_congestion(struct cc *cc, enum cc_signal why, uint32_t pipe, uint32_t mss)
{
	struct cc_cubic *c = &cc->u.cubic;
	uint32_t w = cc->cwnd;

	(void)why;
	if (cc_first_slow_start(cc))
		cubic_init(cc);
	/* 4.7: a flow that did not get back to its old maximum leaves room for others. */
	c->w_max = w < c->w_max ? (uint32_t)((uint64_t)w * FAST_CONVERGENCE / 100) : w;
	cc->epoch_ms = 0;
	c->fraction = 0;
	cc->ssthresh = BASE_MAX((uint32_t)((uint64_t)pipe * BETA_PERCENT / 100), 2 * mss);
}

const struct cc_ops cc_cubic = {
	.name = "cubic",
	.init = cubic_init,
	.ack = cubic_ack,
	.congestion = cubic_congestion,
};
