/* tcp_fix.h - one connection on a bench: segments in by template, segments out compared by template
 *
 * Numbers in templates are relative: seq counts from the first byte of whoever sends the segment, ack from the first
 * byte of the other. Initial sequence numbers lie shortly before zero, so every test of more than a few hundred bytes
 * crosses the wrap. The clock moves only by rx() and tick().
 *
 *     struct fix f = fix_established(.no_sack = true);
 *     fix_app_sends(&f, 4 * FIX_MSS);
 *     expect_tx(&f, SEG(.seq = 0, .len = FIX_MSS));
 *     rx(&f, SEG(.ack = FIX_MSS));
 *     fix_end(&f);       nothing may be left: no block, no reference, no segment that the test did not expect
 */
#ifndef ZTCP_TCP_FIX_H
#define ZTCP_TCP_FIX_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stack/tcp/tcp_step.h"

#define FIX_MSS 1000
#define FIX_OUT 256
#define FIX_ISS 0xffffff00u /* ours */
#define FIX_IRS 0xfffffe00u /* the peer's */
#define FIX_TS0 5000u       /* the peer's timestamp at the start */

struct seg {
	uint32_t seq, ack, len;
	uint8_t flags; /* more than ACK; FIX_NOACK takes ACK off */
	uint16_t wnd;  /* 0: 50000 */
	bool zero_wnd;
	struct wire_tcp_sack sack[4]; /* relative, as ack */
	uint32_t tsval, tsecr;
	uint8_t opts; /* more TCP_OPT_* */
	uint16_t mss;
	uint8_t wscale, ecn;
	uint16_t urg;
	bool noack;
	bool any_len; /* expect_tx(): do not compare the length */
};

struct fix_opt {
	bool no_sack, ts, ecn, pacing, passive;
	uint32_t rcvbuf, gso, cwnd;
	uint8_t wscale; /* 0: not offered by the peer */
	const struct tcp_loss_ops *loss;
	const struct cc_ops *cc;
};

struct fix {
	struct tcp_env env;
	struct base_counters cnt;
	struct tcp_listener l;
	struct tcb t;
	struct wire_flow id;
	ztime_t now;
	struct fix_opt o;
	struct wire_tcp out[FIX_OUT];
	unsigned n_out, i_out;
	int refs;
	int blocks_left;  /* -1: as many as asked for */
	enum counter why; /* of the last rx() */
};

#define SEG(...) ((struct seg){ __VA_ARGS__ })
#define US(n)    ((ztime_t)(n)*ZTIME_US)
#define MS(n)    ((ztime_t)(n)*ZTIME_MS)
#define S(n)     ((ztime_t)(n)*ZTIME_SEC)

void fix_init(struct fix *f, struct fix_opt o);
void fix_connect(struct fix *f);
struct fix *fix_established_opt(struct fix_opt o);
#define fix_established(...) fix_established_opt((struct fix_opt){ __VA_ARGS__ })
enum counter rx(struct fix *f, struct seg s);
enum counter rx_at(struct fix *f, ztime_t after, struct seg s);
void fix_flush(struct fix *f);
void tick(struct fix *f, ztime_t d);
int64_t fix_app_sends(struct fix *f, uint32_t len);
int64_t fix_app_sends_flags(struct fix *f, uint32_t len, unsigned flags);
void fix_app_reads(struct fix *f, uint32_t len);
void fix_end(struct fix *f);

/* Comparisons report the caller's line. */
struct wire_tcp *fix_next(struct fix *f, const char *file, int line);
void fix_expect(struct fix *f, struct seg s, const char *file, int line);
void fix_expect_none(struct fix *f, const char *file, int line);
#define expect_tx(f, s)    fix_expect(f, s, __FILE__, __LINE__)
#define expect_none(f)     fix_expect_none(f, __FILE__, __LINE__)
#define next_tx(f)         fix_next(f, __FILE__, __LINE__)
#define drop_tx(f)         ((f)->i_out = (f)->n_out)
#define expect_state(f, s) cr_assert_str_eq(tcp_state_name(tcp_state(&(f)->t)), tcp_state_name(s))

#endif
