/* tcp_cookie.c - SYN cookies (RFC 4987 3.6) and Fast Open cookies (RFC 7413 4.1.2): state that the peer keeps for us
 *
 * Theory of operation: the initial sequence number of a cookie SYN-ACK is
 *
 *     bits 31..27  time in 64-second steps, modulo 32
 *     bits 26..24  index into a table of segment sizes
 *     bits 23..0   keyed hash of the two ends, the peer's number, time and index
 *
 * and a returning ACK is believed for two steps. Options that have no room there go into the low six bits
 * of our timestamp, which the peer echoes: window scale (15: none), SACK, ECN. A peer without timestamps gets neither.
 */
#include "stack/tcp/tcp_int.h"

#include <string.h>

#define STEP         (ztime_sec(64))
#define STEPS_VALID  2
#define MAC_MASK     0xffffffu
#define TS_BITS      6
#define TS_MASK      ((1u << TS_BITS) - 1)
#define TS_NO_WSCALE 15u
#define TS_SACK      16u
#define TS_ECN       32u

/* Usual sizes: minimum, dial-up, tunnels, Ethernet less options, Ethernet, jumbo. */
static const uint16_t mss_table[8] = { 88, 536, 1220, 1360, 1440, 1460, 4312, 8960 };

static uint32_t cookie_mac(const struct tcp_env *env, const struct wire_flow *id, uint32_t irs,
			   uint32_t low)
{
	uint64_t w[6] = { id->local.q[0],
			  id->local.q[1],
			  id->remote.q[0],
			  id->remote.q[1],
			  (uint64_t)id->lport << 48 | (uint64_t)id->rport << 32 | irs,
			  0x636f6f6b69650000ull | low };

	return (uint32_t)base_hash_sip24_words(&env->key, w, 6) & MAC_MASK;
}

uint64_t tcp_tfo_mac(const struct tcp_env *env, const struct wire_flow *id)
{
	uint64_t w[3] = { id->remote.q[0], id->remote.q[1], 0x66617374206f706eull };

	return base_hash_sip24_words(&env->key, w, 3);
}

static uint32_t mss_index(uint32_t mss)
{
	uint32_t i = BASE_ARRAY_SIZE(mss_table) - 1;

	while (i && mss_table[i] > mss)
		i--;
	return i;
}

/* Timestamp with the options in its low bits, not later than now. */
static uint32_t ts_encode(uint32_t ts_now, const struct wire_tcp *syn, const struct tcp_config *cfg)
{
	uint32_t bits = TS_NO_WSCALE, ts;

	if (syn->opts & TCP_OPT_WSCALE && cfg->window_scale)
		bits = BASE_MIN(syn->wscale, (uint8_t)14);
	if (syn->opts & TCP_OPT_SACK_OK && cfg->sack)
		bits |= TS_SACK;
	if (cfg->ecn && (syn->flags & (TCP_ECE | TCP_CWR)) == (TCP_ECE | TCP_CWR))
		bits |= TS_ECN;
	ts = (ts_now & ~TS_MASK) | bits;
	return seq_gt(ts, ts_now) ? ts - (TS_MASK + 1) : ts;
}

void tcp_cookie_reply(const struct tcp_listener *l, const struct wire_tcp *syn,
		      const struct wire_flow *id, uint16_t path_mss, ztime_t now,
		      struct wire_tcp *out)
{
	const struct tcp_config *cfg = &l->env->cfg;
	uint32_t peer = syn->opts & TCP_OPT_MSS ? syn->mss : tcp_mss_unsaid(id), low;

	low = (uint32_t)(now / STEP & 31) << 3 | mss_index(peer);
	tcp_reset_fill(out, low << 24 | cookie_mac(l->env, id, syn->seq, low), syn->seq + 1,
		       TCP_SYN | TCP_ACK);
	out->wnd = (uint16_t)BASE_MIN(cfg->rcvbuf_bytes, 65535u);
	out->opts = TCP_OPT_MSS;
	out->mss = l->maxseg ? (uint16_t)BASE_MIN(l->maxseg, path_mss) : path_mss;
	if (!(syn->opts & TCP_OPT_TS) || !cfg->timestamps)
		return;
	out->opts |= TCP_OPT_TS;
	out->tsval = ts_encode(tcp_now_ms(now) + tcp_ts_offset(l->env, id), syn, cfg);
	out->tsecr = syn->tsval;
	if (syn->opts & TCP_OPT_WSCALE && cfg->window_scale) {
		out->opts |= TCP_OPT_WSCALE;
		out->wscale = tcp_window_scale(BASE_MAX(cfg->rcvbuf_max_bytes, cfg->rcvbuf_bytes));
	}
	if (syn->opts & TCP_OPT_SACK_OK && cfg->sack)
		out->opts |= TCP_OPT_SACK_OK;
	if (out->tsval & TS_ECN && cfg->ecn)
		out->flags |= TCP_ECE;
}

/* The options of the SYN, out of the timestamp that comes back. */
static void ts_decode(const struct wire_tcp *ack, struct wire_tcp *syn)
{
	uint32_t bits = ack->tsecr & TS_MASK;

	syn->opts |= TCP_OPT_TS;
	syn->tsval = ack->tsval;
	if ((bits & 15) != TS_NO_WSCALE) {
		syn->opts |= TCP_OPT_WSCALE;
		syn->wscale = bits & 15;
	}
	if (bits & TS_SACK)
		syn->opts |= TCP_OPT_SACK_OK;
	if (bits & TS_ECN)
		syn->flags |= TCP_ECE | TCP_CWR;
}

/* Return: true when @ack answers a cookie of ours; *@syn is then what the SYN had said. */
bool tcp_cookie_check(const struct tcp_listener *l, const struct wire_tcp *ack,
		      const struct wire_flow *id, ztime_t now, struct wire_tcp *syn)
{
	uint32_t cookie = ack->ack - 1, low = cookie >> 24;
	uint32_t age = ((uint32_t)(now / STEP) - (low >> 3)) & 31;

	if (age >= STEPS_VALID || cookie_mac(l->env, id, ack->seq - 1, low) != (cookie & MAC_MASK))
		return false;
	syn->seq = ack->seq - 1;
	syn->flags = TCP_SYN;
	syn->wnd = ack->wnd;
	syn->len = 0;
	syn->opts = TCP_OPT_MSS;
	syn->mss = mss_table[low & 7];
	if (ack->opts & TCP_OPT_TS && l->env->cfg.timestamps)
		ts_decode(ack, syn);
	return true;
}
