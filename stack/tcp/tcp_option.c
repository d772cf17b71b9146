/* tcp_option.c - socket options that TCP itself knows, and the defaults of an environment */
#include "stack/tcp/tcp_step.h"

#include <errno.h>
#include <string.h>

const uint16_t tcp_mem_size[TCP_MEM_COUNT] = {
	[TCP_MEM_CHUNK] = sizeof(struct tcp_chunk), [TCP_MEM_SENT] = sizeof(struct tcp_sent),
	[TCP_MEM_RANGE] = sizeof(struct tcp_range), [TCP_MEM_LOSS] = sizeof(struct tcp_loss),
	[TCP_MEM_TFO] = sizeof(struct tcp_tfo),
};

void tcp_config_defaults(struct tcp_config *cfg)
{
	*cfg = (struct tcp_config){
		.sndbuf_bytes = 4 << 20,
		.rcvbuf_bytes = 128 << 10,
		.rcvbuf_max_bytes = 6 << 20,
		.gso_min_segs = 2,
		.rto_min_us = 200000,
		.rto_max_us = 120000000,
		.rto_initial_us = 1000000,
		.delack_us = 40000,
		.time_wait_ms = 60000,
		.fin_wait2_ms = 60000,
		.keep_idle_s = 7200,
		.keep_intvl_s = 75,
		.keep_count = 9,
		.syn_retries = 6,
		.synack_retries = 5,
		.data_retries = 15,
		.orphan_retries = 8,
		.init_cwnd = 10,
		.challenge_per_s = 10,
		.mss_floor = 512,
		.mss_min = 88,
		.mtu_raise_s = 600,
		.sack = true,
		.timestamps = true,
		.window_scale = true,
		.autotune = true,
		.idle_restart = true,
		.cc = &cc_cubic,
		.loss = &tcp_loss_rack,
	};
}

/* How an option is stored: one bit of flags, or a number with its limits. */
struct opt_rule {
	uint32_t flag;
	uint32_t min, max;
	uint16_t offset;
	uint8_t size;
	bool early; /* only before the handshake */
};

#define OPT_FLAG(f)                   \
	{                             \
		.flag = (f), .max = 1 \
	}
#define OPT_NUMBER(field, lo, hi)                                                \
	{                                                                        \
		.min = (lo), .max = (hi), .offset = offsetof(struct tcb, field), \
		.size = sizeof(((struct tcb *)0)->field)                         \
	}

static const struct opt_rule rules[TCP_OPT_SET_COUNT] = {
	[TCP_OPT_SET_NODELAY] = OPT_FLAG(TCP_F_NODELAY),
	[TCP_OPT_SET_CORK] = OPT_FLAG(TCP_F_CORK),
	[TCP_OPT_SET_QUICKACK] = OPT_FLAG(TCP_F_QUICKACK),
	[TCP_OPT_SET_KEEPALIVE] = OPT_FLAG(TCP_F_KEEPALIVE),
	[TCP_OPT_SET_KEEPIDLE_S] = OPT_NUMBER(keep_idle_s, 1, 32767),
	[TCP_OPT_SET_KEEPINTVL_S] = OPT_NUMBER(keep_intvl_s, 1, 32767),
	[TCP_OPT_SET_KEEPCNT] = OPT_NUMBER(keep_count, 1, 127),
	[TCP_OPT_SET_USER_TIMEOUT_MS] = OPT_NUMBER(user_timeout_ms, 0, INT32_MAX),
	[TCP_OPT_SET_MAXSEG] = OPT_NUMBER(user_mss, 88, 32767),
	[TCP_OPT_SET_SNDBUF] = OPT_NUMBER(sndbuf, 4096, 1 << 30),
	[TCP_OPT_SET_RCVBUF] = OPT_NUMBER(rcvbuf, 4096, 1 << 30),
	[TCP_OPT_SET_SYNCNT] = OPT_NUMBER(syn_retries, 1, 127),
	[TCP_OPT_SET_LINGER2_S] = OPT_NUMBER(linger2_s, 0, 65535),
	[TCP_OPT_SET_PACING] = OPT_FLAG(TCP_F_PACING),
	[TCP_OPT_SET_ECN] = OPT_FLAG(TCP_F_NO_ECN),
};

static bool opt_early(enum tcp_opt opt)
{
	return opt == TCP_OPT_SET_MAXSEG || opt == TCP_OPT_SET_ECN;
}

/* What a new value sets in motion. */
static void opt_effect(struct tcb *t, enum tcp_opt opt, ztime_t now)
{
	if (opt == TCP_OPT_SET_NODELAY || opt == TCP_OPT_SET_CORK)
		t->todo |= TCP_DO_SEND;
	if (opt == TCP_OPT_SET_NODELAY && tcp_is(t, TCP_F_NODELAY))
		t->todo |= TCP_DO_FORCE; /* what is queued goes now, corked or not */
	if (opt == TCP_OPT_SET_RCVBUF) {
		t->flags |= TCP_F_RCVBUF_SET;
		tcp_window_read(t, now);
	}
	if (opt == TCP_OPT_SET_QUICKACK && t->delack_at != ZTIME_NEVER)
		t->todo |= TCP_DO_ACK;
	if (opt == TCP_OPT_SET_KEEPALIVE || opt == TCP_OPT_SET_KEEPIDLE_S ||
	    opt == TCP_OPT_SET_KEEPINTVL_S)
		tcp_keep_arm(t, now);
}

int tcp_opt_set(struct tcb *t, enum tcp_opt opt, uint32_t value, ztime_t now)
{
	const struct opt_rule *r;

	if ((unsigned)opt >= TCP_OPT_SET_COUNT)
		return -EINVAL;
	r = &rules[opt];
	if (value < r->min || value > r->max)
		return -EINVAL;
	if (opt_early(opt) && t->state != TCP_ST_CLOSED)
		return -EISCONN;
	tcp_fast_end(t);
	if (r->flag) {
		bool on = opt == TCP_OPT_SET_ECN ? !value : value;

		t->flags = (t->flags & ~r->flag) | (on ? r->flag : 0);
	} else {
		memcpy((char *)t + r->offset, &value, r->size); /* little endian: the low bytes */
	}
	opt_effect(t, opt, now);
	return 0;
}

int64_t tcp_opt_get(const struct tcb *t, enum tcp_opt opt)
{
	const struct opt_rule *r;
	uint32_t value = 0;

	if ((unsigned)opt >= TCP_OPT_SET_COUNT)
		return -EINVAL;
	r = &rules[opt];
	if (opt == TCP_OPT_SET_ECN)
		return t->env->cfg.ecn && !tcp_is(t, TCP_F_NO_ECN);
	if (r->flag)
		return tcp_is(t, r->flag);
	memcpy(&value, (const char *)t + r->offset, r->size);
	return value;
}

void tcp_cc_set(struct tcb *t, const struct cc_ops *ops)
{
	t->cc.ops = ops;
	ops->init(&t->cc);
}

int tcp_tfo_use(struct tcb *t, const uint8_t *cookie, uint8_t len)
{
	struct tcp_tfo *tfo;

	if (t->state != TCP_ST_CLOSED || t->error)
		return -EISCONN;
	if (len && (len < 4 || len > WIRE_TCP_TFO_MAX || len % 2)) /* RFC 7413 4.1.1 */
		return -EINVAL;
	tfo = t->u.tfo ? t->u.tfo : tcp_mem_get(t->env, TCP_MEM_TFO);
	if (!tfo)
		return -ENOBUFS;
	*tfo = (struct tcp_tfo){ .use_len = len };
	if (len)
		memcpy(tfo->cookie, cookie, len);
	t->u.tfo = tfo;
	t->flags |= TCP_F_ACTIVE;
	return 0;
}

uint8_t tcp_tfo_cookie(const struct tcb *t, uint8_t cookie[WIRE_TCP_TFO_MAX])
{
	if (!tcp_is(t, TCP_F_ACTIVE) || !t->u.tfo)
		return 0;
	memcpy(cookie, t->u.tfo->got, t->u.tfo->got_len);
	return t->u.tfo->got_len;
}
