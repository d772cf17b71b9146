/* tcp_fix.c - the bench of the TCP unit tests: an environment, a connection, a recorder */
#include "tests/unit/stack/tcp/tcp_fix.h"

static const uint8_t payload[1 << 20];

static void *block_more(void *ctx, enum tcp_mem kind)
{
	struct fix *f = ctx;

	if (f->blocks_left == 0)
		return NULL;
	if (f->blocks_left > 0)
		f->blocks_left--;
	return calloc(1, tcp_mem_size[kind]);
}

static void buf_put(void *ctx, void *owner)
{
	struct fix *f = ctx;

	(void)owner;
	f->refs--;
}

void fix_init(struct fix *f, struct fix_opt o)
{
	memset(f, 0, sizeof(*f));
	f->o = o;
	f->now = S(1000);
	f->blocks_left = -1;
	f->env.counters = &f->cnt;
	f->env.key = (struct base_hash_key){ 1, 2 };
	f->env.pool.more = block_more;
	f->env.pool.ctx = f;
	f->env.buf_put = buf_put;
	f->env.buf_ctx = f;
	tcp_config_defaults(&f->env.cfg);
	f->env.cfg.gso_max_bytes = o.gso;
	f->env.cfg.ecn = o.ecn;
	f->env.cfg.pacing = o.pacing;
	f->env.cfg.autotune = false;
	f->env.cfg.rcvbuf_bytes = f->env.cfg.rcvbuf_max_bytes = o.rcvbuf ? o.rcvbuf : 60000;
	f->env.cfg.cc = o.cc ? o.cc : &cc_reno;
	f->env.cfg.loss = o.loss ? o.loss : &tcp_loss_rack;
	f->id.lport = 1;
	f->id.rport = 2;
	tcp_init(&f->t, &f->env);
}

/* Move our numbers to FIX_ISS while nothing has been sent. */
static void rebase(struct tcb *t)
{
	uint32_t by = FIX_ISS - t->snd_una;

	t->snd_una += by;
	t->snd_nxt += by;
	t->snd_end += by;
	t->snd_sml += by;
	t->snd_up += by;
	for (struct tcp_chunk *c = t->sndq; c; c = c->next == t->sndq ? NULL : c->next)
		c->seq += by;
}

void fix_connect(struct fix *f)
{
	cr_assert_eq(tcp_connect(&f->t, &f->id, FIX_MSS, f->now), 0);
	rebase(&f->t);
	fix_flush(f);
}

static uint8_t syn_opts(const struct fix_opt *o)
{
	return (uint8_t)(TCP_OPT_MSS | (o->no_sack ? 0 : TCP_OPT_SACK_OK) |
			 (o->ts ? TCP_OPT_TS : 0) | (o->wscale ? TCP_OPT_WSCALE : 0));
}

static void open_active(struct fix *f)
{
	fix_connect(f);
	drop_tx(f);
	rx_at(f, MS(100),
	      SEG(.seq = (uint32_t)-1, .flags = TCP_SYN | (f->o.ecn ? TCP_ECE : 0),
		  .opts = syn_opts(&f->o), .mss = FIX_MSS + (f->o.ts ? 12 : 0),
		  .wscale = f->o.wscale, .tsval = FIX_TS0));
	if (f->o.ts) { /* keep full segments FIX_MSS long */
		f->t.path_mss = FIX_MSS + 12;
		tcp_mss_update(&f->t);
		f->t.cc.cwnd = 10 * FIX_MSS;
	}
}

/*
 * ESTABLISHED, 100 ms after the SYN, nothing sent but the handshake, cwnd ten segments unless told.
 */
struct fix *fix_established_opt(struct fix_opt o)
{
	struct fix *f = malloc(sizeof(*f));

	cr_assert_not_null(f);
	fix_init(f, o);
	open_active(f);
	drop_tx(f);
	expect_state(f, TCP_ST_ESTABLISHED);
	tcp_events_take(&f->t);
	f->t.quick = 0;
	if (o.cwnd)
		f->t.cc.cwnd = o.cwnd;
	return f;
}

/* ---------------------------------------------------------------- in */

static void seg_fill(struct fix *f, const struct seg *s, struct wire_tcp *w)
{
	memset(w, 0, sizeof(*w));
	w->seq = FIX_IRS + 1 + s->seq;
	w->ack = s->noack ? 0 : FIX_ISS + 1 + s->ack;
	w->flags = (uint8_t)(s->flags | (s->noack ? 0 : TCP_ACK));
	w->wnd = s->zero_wnd ? 0 : s->wnd ? s->wnd : 50000;
	w->urg = s->urg;
	w->opts = s->opts;
	w->mss = s->mss;
	w->wscale = s->wscale;
	w->ecn = s->ecn;
	w->tsval = s->tsval;
	w->tsecr = s->tsecr;
	for (unsigned i = 0; i < 4 && s->sack[i].right; i++) {
		w->sack[w->nsack++] = (struct wire_tcp_sack){ FIX_ISS + 1 + s->sack[i].left,
							      FIX_ISS + 1 + s->sack[i].right };
		w->opts |= TCP_OPT_SACK;
	}
	if (tcp_is(&f->t, TCP_F_TS) && !(s->flags & TCP_SYN)) {
		w->opts |= TCP_OPT_TS;
		if (!s->tsval)
			w->tsval = FIX_TS0 + tcp_now_ms(f->now - S(1000));
		if (!s->tsecr)
			w->tsecr = tcp_tsval(&f->t, f->now);
	}
	w->len = s->len;
	w->niov = s->len ? 1 : 0;
	w->iov[0] = (struct wire_tcp_iov){ payload, s->len, s->len ? f : NULL };
}

enum counter rx(struct fix *f, struct seg s)
{
	struct wire_tcp w;

	seg_fill(f, &s, &w);
	f->why = tcp_input(&f->t, &w, f->now);
	f->refs += s.len && !w.iov[0].owner; /* the connection kept it */
	base_count(&f->cnt, f->why);
	fix_flush(f);
	return f->why;
}

enum counter rx_at(struct fix *f, ztime_t after, struct seg s)
{
	tick(f, after);
	return rx(f, s);
}

/* ---------------------------------------------------------------- out */

void fix_flush(struct fix *f)
{
	unsigned n;

	if (f->i_out == f->n_out)
		f->i_out = f->n_out = 0;
	do {
		cr_assert_lt(f->n_out, FIX_OUT - 4, "too much output");
		n = tcp_output(&f->t, f->out + f->n_out, 4, f->now);
		f->n_out += n;
	} while (n == 4);
}

void tick(struct fix *f, ztime_t d)
{
	ztime_t until = f->now + d;

	while (tcp_deadline(&f->t) <= until) {
		f->now = ztime_max(f->now, tcp_deadline(&f->t));
		fix_flush(f);
	}
	f->now = until;
}

struct wire_tcp *fix_next(struct fix *f, const char *file, int line)
{
	cr_assert_lt(f->i_out, f->n_out, "%s:%d: a segment was expected", file, line);
	return &f->out[f->i_out++];
}

void fix_expect(struct fix *f, struct seg s, const char *file, int line)
{
	struct wire_tcp *w = fix_next(f, file, line);
	uint8_t flags = (uint8_t)(w->flags & ~(TCP_PSH | TCP_ACK)), want = s.flags & ~TCP_PSH;

	cr_assert_eq(w->seq - FIX_ISS - 1, s.seq, "%s:%d: seq %d, not %d", file, line,
		     (int)(w->seq - FIX_ISS - 1), (int)s.seq);
	cr_assert(s.any_len || w->len == s.len, "%s:%d: len %u, not %u", file, line, w->len, s.len);
	cr_assert_eq(flags, want, "%s:%d: flags %02x, not %02x", file, line, w->flags, s.flags);
	if (s.flags & TCP_RST || s.noack)
		return;
	cr_assert_eq(w->ack - FIX_IRS - 1, s.ack, "%s:%d: ack %d, not %d", file, line,
		     (int)(w->ack - FIX_IRS - 1), (int)s.ack);
	for (unsigned i = 0; i < 4 && s.sack[i].right; i++) {
		cr_assert_lt(i, w->nsack, "%s:%d: %u SACK blocks", file, line, w->nsack);
		cr_assert_eq(w->sack[i].left - FIX_IRS - 1, s.sack[i].left,
			     "%s:%d: block %u from %d", file, line, i,
			     (int)(w->sack[i].left - FIX_IRS - 1));
		cr_assert_eq(w->sack[i].right - FIX_IRS - 1, s.sack[i].right,
			     "%s:%d: block %u to %d", file, line, i,
			     (int)(w->sack[i].right - FIX_IRS - 1));
	}
}

void fix_expect_none(struct fix *f, const char *file, int line)
{
	struct wire_tcp *w = &f->out[f->i_out];

	cr_assert_eq(f->i_out, f->n_out, "%s:%d: unexpected segment seq %d len %u flags %02x", file,
		     line, (int)(w->seq - FIX_ISS - 1), w->len, w->flags);
}

/* ---------------------------------------------------------------- the application */

int64_t fix_app_sends_flags(struct fix *f, uint32_t len, unsigned flags)
{
	struct wire_tcp_iov iov = { payload, len, f };
	int64_t n;

	f->refs++;
	n = tcp_send(&f->t, &iov, flags, f->now);
	if (n <= 0)
		f->refs--;
	fix_flush(f);
	return n;
}

int64_t fix_app_sends(struct fix *f, uint32_t len)
{
	return fix_app_sends_flags(f, len, 0);
}

void fix_app_reads(struct fix *f, uint32_t len)
{
	tcp_recv_done(&f->t, len, f->now);
	fix_flush(f);
}

/*
 * The test is over: every segment has been looked at, and giving up the connection leaves nothing
 * behind.
 */
void fix_end(struct fix *f)
{
	fix_expect_none(f, __FILE__, __LINE__);
	tcp_free(&f->t);
	for (unsigned k = 0; k < TCP_MEM_COUNT; k++) {
		void *b;

		cr_assert_eq(f->env.pool.used[k], 0, "%u blocks of kind %u are lost",
			     f->env.pool.used[k], k);
		while ((b = f->env.pool.free[k])) {
			f->env.pool.free[k] = *(void **)b;
			free(b);
		}
	}
	cr_assert_eq(f->refs, 0, "%d references are lost", f->refs);
	cr_assert_eq(tcp_deadline(&f->t), ZTIME_NEVER);
	free(f);
}
