/* sim_app.c - the programs at both ends: write, read, pause, shut down, close, abort, and check every byte */
#include <errno.h>
#include <string.h>

#include "stack/tcp/tcp_int.h"
#include "tests/sim/sim.h"

/* Byte @i of a stream is pattern[(key + i) mod PATTERN], a length that no segment size divides. */
#define PATTERN 65521
static uint8_t pattern[PATTERN];
static bool pattern_ready;

const uint8_t *sim_bytes(uint64_t key, uint64_t offset, uint32_t *len)
{
	uint64_t at = (key + offset) % PATTERN;
	struct sim_rng r = { .s = 1 };

	if (!pattern_ready)
		for (unsigned i = 0; i < PATTERN; i++)
			pattern[i] = (uint8_t)sim_rand(&r);
	pattern_ready = true;
	if (*len > PATTERN - at)
		*len = (uint32_t)(PATTERN - at);
	return pattern + at;
}

static ztime_t pause_of(struct sim *s)
{
	return s->now + (ztime_t)sim_range(&s->rng, 1, 300) * ZTIME_MS;
}

/* ---------------------------------------------------------------- writing */

static bool write_some(struct sim_host *h, struct sim_conn *c)
{
	struct sim_app *a = &c->app;
	struct sim *s = h->sim;
	uint64_t left = a->to_send - a->sent, most = sim_range(&s->rng, 1, a->write_max);
	uint32_t len = (uint32_t)BASE_MIN(left, most);
	struct wire_tcp_iov iov = { .owner = &h->buf_refs };
	int64_t n;

	iov.data = sim_bytes(a->key, a->sent, &len);
	iov.len = len;
	h->buf_refs++;
	n = tcp_send(&c->t, &iov, sim_chance(&s->rng, a->more) ? TCP_SEND_MORE : 0, s->now);
	if (n <= 0) {
		h->buf_refs--;
		if (n != -EAGAIN && n != -ENOTCONN && n != -EPIPE)
			sim_fail(s, "tcp_send() gave %d", (int)n);
		if (n == -EAGAIN && tcp_send_space(&c->t))
			a->write_at = pause_of(s); /* no block: come again */
		return false;
	}
	a->sent += (uint64_t)n;
	if (sim_chance(&s->rng, a->pause))
		a->write_at = pause_of(s);
	return true;
}

static void do_write(struct sim_host *h, struct sim_conn *c)
{
	struct sim_app *a = &c->app;

	while (a->sent < a->to_send && h->sim->now >= a->write_at)
		if (!write_some(h, c))
			break;
	if (a->sent < a->to_send || a->shut || !(a->half_close || a->eof))
		return;
	a->shut = !tcp_shutdown_send(&c->t, h->sim->now);
}

/* ---------------------------------------------------------------- reading */

static bool check_bytes(struct sim_host *h, struct sim_app *a, const uint8_t *data, uint32_t len)
{
	if (a->blind) {
		a->got += len;
		return true;
	}
	while (len) {
		uint32_t n = len;
		const uint8_t *want = sim_bytes(a->peer_key, a->got, &n);

		if (memcmp(data, want, n)) {
			sim_fail(h->sim, "byte near %llu is not what was sent",
				 (unsigned long long)a->got);
			return false;
		}
		a->got += n;
		data += n;
		len -= n;
	}
	return true;
}

static void read_some(struct sim_host *h, struct sim_conn *c)
{
	struct sim_app *a = &c->app;
	struct sim *s = h->sim;
	struct wire_tcp_iov iov;
	uint32_t n, most = (uint32_t)sim_range(&s->rng, 1, a->read_max);

	if (sim_chance(&s->rng, 5000)) { /* by taking the reference */
		if (!tcp_recv_take(&c->t, &iov, s->now))
			return;
		check_bytes(h, a, iov.data, iov.len);
		if (iov.owner)
			sim_pkt_put(s, iov.owner);
	} else if (tcp_recv_peek(&c->t, 0, &iov, 1) == 1) {
		n = BASE_MIN(iov.len, most);
		check_bytes(h, a, iov.data, n);
		tcp_recv_done(&c->t, n, s->now);
	}
	if (sim_chance(&s->rng, a->pause))
		a->read_at = pause_of(s);
}

static void do_read(struct sim_host *h, struct sim_conn *c)
{
	struct sim_app *a = &c->app;

	while (tcp_readable(&c->t) && h->sim->now >= a->read_at && !h->sim->why[0])
		read_some(h, c);
	if (a->got > a->to_get && !a->blind)
		sim_fail(h->sim, "more bytes arrive than were sent");
	if (tcp_eof(&c->t))
		a->eof = true;
}

/* ---------------------------------------------------------------- life */

static void do_close(struct sim_host *h, struct sim_conn *c)
{
	struct sim_app *a = &c->app;

	if (a->closed || !a->connected) /* closing earlier would withdraw what is queued */
		return;
	if (a->got >= a->abort_at) {
		tcp_abort(&c->t, h->sim->now);
		a->closed = true;
		return;
	}
	/* Whoever closes without waiting for the peer must have read everything, or would reset it. */
	if (a->shut && (a->eof || (a->close_first && a->got == a->to_get))) {
		tcp_close(&c->t, h->sim->now);
		a->closed = true;
	}
}

void sim_app_run(struct sim_host *h, struct sim_conn *c)
{
	struct sim_app *a = &c->app;
	unsigned ev = tcp_events_take(&c->t);

	if (ev & TCP_EV_CONNECTED) {
		a->connected = true;
		tcp_listen_accepted(&c->t);
	}
	if (ev & TCP_EV_ERROR) {
		a->error = tcp_error(&c->t);
		if (!c->doomed)
			sim_fail(h->sim, "connection failed with errno %d", a->error);
	}
	if (a->closed)
		return;
	if (a->connected || tcp_is(&c->t, TCP_F_ACTIVE))
		do_write(h, c);
	do_read(h, c);
	do_write(h, c); /* the peer's FIN may have been what our own was waiting for */
	do_close(h, c);
	if (a->error && !a->closed) {
		tcp_close(&c->t, h->sim->now);
		a->closed = true;
	}
	a->connected |= (tcp_events_take(&c->t) & TCP_EV_CONNECTED) != 0;
}

/* When a pause ends that something waits for. */
ztime_t sim_app_wake(const struct sim_conn *c, ztime_t now)
{
	const struct sim_app *a = &c->app;
	ztime_t at = ZTIME_NEVER;

	if (a->closed || !a->connected)
		return at;
	if (a->sent < a->to_send && a->write_at > now && tcp_send_space(&c->t))
		at = a->write_at;
	if (tcp_readable(&c->t) && a->read_at > now)
		at = ztime_min(at, a->read_at);
	return at;
}
