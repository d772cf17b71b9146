/* selector_attest.bpf.h - which two sockets are the ends of one connection; for selector.bpf.c */
#ifndef ZTCP_SELECTOR_ATTEST_BPF_H
#define ZTCP_SELECTOR_ATTEST_BPF_H

#include "daemon/bpf/selector_match.bpf.h"

#define ROTL(x, b) ((x) << (b) | (x) >> (64 - (b)))
#define SIPROUND(v0, v1, v2, v3)   \
	do {                       \
		v0 += v1;          \
		v1 = ROTL(v1, 13); \
		v1 ^= v0;          \
		v0 = ROTL(v0, 32); \
		v2 += v3;          \
		v3 = ROTL(v3, 16); \
		v3 ^= v2;          \
		v0 += v3;          \
		v3 = ROTL(v3, 21); \
		v3 ^= v0;          \
		v2 += v1;          \
		v1 = ROTL(v1, 17); \
		v1 ^= v2;          \
		v2 = ROTL(v2, 32); \
	} while (0)

/* SipHash-2-4 of one word. */
static uint64_t siphash(const uint64_t key[2], uint64_t m)
{
	uint64_t v0 = key[0] ^ 0x736f6d6570736575ull, v1 = key[1] ^ 0x646f72616e646f6dull;
	uint64_t v2 = key[0] ^ 0x6c7967656e657261ull, v3 = key[1] ^ 0x7465646279746573ull;
	uint64_t b = 8ull << 56;

	v3 ^= m;
	SIPROUND(v0, v1, v2, v3);
	SIPROUND(v0, v1, v2, v3);
	v0 ^= m;
	v3 ^= b;
	SIPROUND(v0, v1, v2, v3);
	SIPROUND(v0, v1, v2, v3);
	v0 ^= b;
	v2 ^= 0xff;
	for (int i = 0; i < 4; i++)
		SIPROUND(v0, v1, v2, v3);
	return v0 ^ v1 ^ v2 ^ v3;
}

static uint64_t token_make(void)
{
	struct sel_conf *c = conf_get();
	uint64_t token = c ? siphash(c->key, __sync_fetch_and_add(&c->count, 1)) : 0;

	return token;
}

/* The option as it stands in a header. */
struct option {
	uint8_t kind;
	uint8_t len;
	uint8_t magic[2];
	uint8_t type;
	uint8_t pad[3];
	uint64_t token;
};

_Static_assert(sizeof(struct option) == SEL_OPTION_BYTES, "the option has no holes");

#define OPTION(of_type, of_token)                                                        \
	{                                                                                \
		.kind = SEL_OPTION_KIND, .len = SEL_OPTION_BYTES, .magic = { 'z', 't' }, \
		.type = of_type, .token = of_token                                       \
	}

/* The token of the option of a type, or 0. */
static uint64_t option_read(struct bpf_sock_ops *ctx, uint8_t type, uint64_t flags)
{
	struct option o = { .kind = SEL_OPTION_KIND, .len = 4, .magic = { 'z', 't' } };

	if (bpf_load_hdr_opt(ctx, &o, sizeof(o), flags) != sizeof(o) || o.type != type)
		return 0;
	return o.token;
}

/* Sequence number of the header that is being written or was received; network byte order. */
static uint32_t header_seq(struct bpf_sock_ops *ctx)
{
	uint8_t *h = ctx->skb_data;

	if (h + 20 > (uint8_t *)ctx->skb_data_end)
		return 0;
	return *(uint32_t *)(h + 4);
}

static struct sel_sock *sock_of(struct bpf_sock_ops *ctx, uint64_t flags)
{
	struct bpf_sock *sk = ctx->sk;

	return sk ? bpf_sk_storage_get(&socks, sk, NULL, flags) : NULL;
}

static void query_ops(struct bpf_sock_ops *ctx, uint32_t role, struct policy_query *q)
{
	uint32_t local[4] = { ctx->local_ip6[0], ctx->local_ip6[1], ctx->local_ip6[2],
			      ctx->local_ip6[3] };
	uint32_t remote[4] = { ctx->remote_ip6[0], ctx->remote_ip6[1], ctx->remote_ip6[2],
			       ctx->remote_ip6[3] };

	end_key(&q->local, ctx->family, ctx->local_ip4, local, ctx->local_port);
	end_key(&q->remote, ctx->family, ctx->remote_ip4, remote, bpf_ntohl(ctx->remote_port));
	q->role = role;
	q->bpf = 0;
	q->asked = 0;
	q->spare = 0;
}

static void tuple_read(struct bpf_sock_ops *ctx, struct sel_tuple *t)
{
	*t = (struct sel_tuple){ .netns = bpf_get_netns_cookie(ctx) };
	t->local_port = (uint16_t)ctx->local_port;
	t->remote_port = (uint16_t)bpf_ntohl(ctx->remote_port);
	if (ctx->family == AF_INET_) {
		t->local[0] = ctx->local_ip4;
		t->remote[0] = ctx->remote_ip4;
		return;
	}
	t->local[0] = ctx->local_ip6[0];
	t->local[1] = ctx->local_ip6[1];
	t->local[2] = ctx->local_ip6[2];
	t->local[3] = ctx->local_ip6[3];
	t->remote[0] = ctx->remote_ip6[0];
	t->remote[1] = ctx->remote_ip6[1];
	t->remote[2] = ctx->remote_ip6[2];
	t->remote[3] = ctx->remote_ip6[3];
}

/* connect() is about to send a SYN; the caller is its process. */
static NOINLINE void connecting(struct bpf_sock_ops *ctx)
{
	struct sel_sock *s = sock_of(ctx, BPF_SK_STORAGE_GET_F_CREATE);
	struct sel_token t = {};
	struct sel_verdict old;
	struct policy_query q;

	if (!s)
		return;
	old = s->verdict;
	s->role = 2;
	s->older = 0;
	s->cookie = bpf_get_socket_cookie(ctx);
	current_read(&s->proc);
	query_ops(ctx, 1, &q);
	judge_attest(ctx, s, &q);
	count(&old, s->judged, &s->verdict);
	s->judged = 1;
	s->token = 0;
	if (!allows(&s->verdict))
		return;
	t.cookie = s->cookie;
	t.uid = s->proc.uid;
	t.netns = s->proc.netns;
	t.verdict = s->verdict;
	s->token = token_make();
	if (!bpf_map_update_elem(&tokens, &s->token, &t, BPF_NOEXIST))
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags |
						       BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
}

/* listen(): accepted connections are judged by what the listener is. */
static NOINLINE void listening(struct bpf_sock_ops *ctx)
{
	struct sel_sock *s = sock_of(ctx, BPF_SK_STORAGE_GET_F_CREATE);

	if (!s)
		return;
	current_read(&s->proc);
	s->role = 1;
	s->judged = 0;
	s->older = 0;
	s->token = 0;
	bpf_sock_ops_cb_flags_set(ctx,
				  ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
}

/* The token of the SYN that is being answered, if it was sent on this host and is not used. */
static NOINLINE uint64_t syn_token(struct bpf_sock_ops *ctx, struct sel_token **t)
{
	uint64_t token = option_read(ctx, SEL_OPTION_SYN, BPF_LOAD_HDR_OPT_TCP_SYN);
	uint8_t syn[20];
	long rc;

	*t = token ? bpf_map_lookup_elem(&tokens, &token) : NULL;
	if (!*t || (*t)->confirmed)
		return 0;
	/* the options behind these bytes do not fit, which it says after it has copied */
	rc = bpf_getsockopt(ctx, SOL_TCP_, TCP_BPF_SYN, syn, sizeof(syn));
	if (rc < 0 && rc != -ENOSPC_)
		return 0;
	return *(uint32_t *)(syn + 4) == (*t)->syn_seq ? token : 0;
}

static bool is_synack(const struct bpf_sock_ops *ctx)
{
	return (ctx->skb_tcp_flags & (TCP_FLAG_SYN_ | TCP_FLAG_ACK_)) ==
	       (TCP_FLAG_SYN_ | TCP_FLAG_ACK_);
}

/* How long will the option be? */
static NOINLINE void option_length(struct bpf_sock_ops *ctx)
{
	struct sel_token *t;
	struct sel_sock *s;

	if (!(ctx->skb_tcp_flags & TCP_FLAG_SYN_))
		return;
	if (is_synack(ctx)) {
		if (syn_token(ctx, &t))
			bpf_reserve_hdr_opt(ctx, SEL_OPTION_BYTES, 0);
		return;
	}
	s = sock_of(ctx, 0);
	if (s && s->token && !ctx->total_retrans)
		bpf_reserve_hdr_opt(ctx, SEL_OPTION_BYTES, 0);
}

static NOINLINE void synack_write(struct bpf_sock_ops *ctx)
{
	struct option o = OPTION(SEL_OPTION_SYNACK, 0);
	struct sel_tuple tuple;
	struct sel_token *t;
	uint64_t token = syn_token(ctx, &t);

	if (!token || !t)
		return;
	tuple_read(ctx, &tuple);
	if (!t->answer)
		t->answer = token_make();
	t->answer_seq = header_seq(ctx);
	o.token = t->answer;
	if (!bpf_map_update_elem(&tuples, &tuple, &token, BPF_ANY))
		bpf_store_hdr_opt(ctx, &o, sizeof(o), 0);
}

static NOINLINE void option_write(struct bpf_sock_ops *ctx)
{
	struct option o = OPTION(SEL_OPTION_SYN, 0);
	struct sel_token *t;
	struct sel_sock *s;

	if (!(ctx->skb_tcp_flags & TCP_FLAG_SYN_))
		return;
	if (is_synack(ctx)) {
		synack_write(ctx);
		return;
	}
	s = sock_of(ctx, 0);
	if (!s || !s->token || ctx->total_retrans)
		return;
	o.token = s->token;
	t = bpf_map_lookup_elem(&tokens, &o.token);
	if (!t)
		return;
	t->syn_seq = header_seq(ctx);
	bpf_store_hdr_opt(ctx, &o, sizeof(o), 0);
}

static void flags_end(struct bpf_sock_ops *ctx, uint32_t more)
{
	bpf_sock_ops_cb_flags_set(
		ctx, (ctx->bpf_sock_ops_cb_flags & ~BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG) | more);
}

/* The SYN-ACK has come, and the last ACK is not sent yet. */
static NOINLINE void connected(struct bpf_sock_ops *ctx)
{
	struct sel_sock *s = sock_of(ctx, 0);
	uint64_t token = s ? s->token : 0, answer;
	struct sel_token *t = token ? bpf_map_lookup_elem(&tokens, &token) : NULL;

	if (!token)
		return;
	answer = option_read(ctx, SEL_OPTION_SYNACK, 0);
	flags_end(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
	if (t && answer && answer == t->answer && header_seq(ctx) == t->answer_seq)
		t->confirmed = 1;
	else
		bpf_map_delete_elem(&tokens, &token);
}

static NOINLINE void ends_make(const struct sel_token *t, const struct sel_sock *s)
{
	uint64_t connecting = t->cookie, accepting = s->cookie;
	struct sel_end end = { .peer = accepting,
			       .role = 2,
			       .netns = t->netns,
			       .uid = t->uid,
			       .verdict = t->verdict };

	if (bpf_map_update_elem(&ends, &connecting, &end, BPF_NOEXIST))
		return;
	end = (struct sel_end){ .peer = connecting,
				.role = 1,
				.netns = s->proc.netns,
				.uid = s->proc.uid,
				.verdict = s->verdict };
	bpf_map_update_elem(&ends, &accepting, &end, BPF_NOEXIST);
}

/* The last ACK has come: the socket is what accept() will return. */
static NOINLINE void accepted(struct bpf_sock_ops *ctx)
{
	struct sel_sock *s = sock_of(ctx, 0);
	struct sel_tuple tuple;
	struct policy_query q;
	uint64_t *found, token;
	struct sel_token *t;

	if (!s || s->role != 1)
		return;
	query_ops(ctx, 0, &q);
	judge_attest(ctx, s, &q);
	count(&s->verdict, false, &s->verdict);
	s->judged = 1;
	s->cookie = bpf_get_socket_cookie(ctx);
	flags_end(ctx, 0);
	tuple_read(ctx, &tuple);
	found = bpf_map_lookup_elem(&tuples, &tuple);
	if (!found)
		return;
	token = *found;
	bpf_map_delete_elem(&tuples, &tuple);
	t = bpf_map_lookup_elem(&tokens, &token);
	if (t && t->confirmed) {
		flags_end(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
		ends_make(t, s);
	}
	bpf_map_delete_elem(&tokens, &token);
}

static NOINLINE void closed(struct bpf_sock_ops *ctx)
{
	uint64_t cookie = bpf_get_socket_cookie(ctx);

	bpf_map_delete_elem(&ends, &cookie);
	bpf_map_delete_elem(&chans, &cookie);
}

#endif
