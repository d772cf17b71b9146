/* random_model.c - the director's model: what must be true of every connection, and waiting until the kernel says so too
 *
 * Also what the other parts of the director need: the generator, talking to actors, printing a call, choosing what to call on.
 */
#include "tests/parity/random_director.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SETTLE_MS = 8000 };

struct desc rd_descs[DESCS];
struct conn rd_conns[CONNS];
struct proc rd_procs[RC_PROCS];
int rd_ndescs, rd_nconns;
int rd_now;
bool rd_more;
struct rc_rep rd_rep;
static uint64_t rnd_state;

static uint64_t rnd64(void)
{
	uint64_t z = rnd_state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

int rd_rnd(int n)
{
	return (int)(rnd64() % (uint64_t)n);
}

bool rd_one_in(int n)
{
	return rd_rnd(n) == 0;
}

void rd_seed(uint64_t seed, int number)
{
	rd_now = number;
	rd_more = seed >= RD_MORE_FROM;
	rnd_state = seed * 1000003 + (uint64_t)number * 0x2545f4914f6cdd1du;
	rnd64();
}

void rd_fail(const char *what)
{
	printf("harness: %s at %d\n", what, rd_now);
	fflush(stdout);
	for (int p = 0; p < RC_PROCS; p++)
		if (rd_procs[p].alive)
			kill(rd_procs[p].pid, SIGKILL);
	_exit(99);
}

/* Actors -------------------------------------------------------------------------------------- */

void rd_answer(int p)
{
	struct pollfd pfd = { rd_procs[p].rpc, POLLIN, 0 };

	if (poll(&pfd, 1, 20000) != 1)
		rd_fail("a call hangs");
	if (recv(rd_procs[p].rpc, &rd_rep, sizeof(rd_rep), MSG_DONTWAIT) != sizeof(rd_rep))
		rd_fail("an actor is gone");
}

/* Now and then another thread makes the call; drawn from its number, as how often is asked depends on time. */
static bool apart(const struct rc_req *q)
{
	return rd_more && q->op != RC_STATE && q->op != RC_FORK && q->op != RC_EXEC &&
	       (rd_now * 7 + (int)q->op) % 8 == 0;
}

void rd_tell(int p, const struct rc_req *q)
{
	struct rc_req told = *q;

	told.apart = apart(q);
	if (send(rd_procs[p].rpc, &told, sizeof(told), MSG_NOSIGNAL) != sizeof(told))
		rd_fail("an actor cannot be told");
}

long rd_call(int p, const struct rc_req *q)
{
	rd_tell(p, q);
	rd_answer(p);
	return rd_rep.ret;
}

void rd_say(int p, const char *fmt, ...)
{
	va_list ap;

	printf("%d p%d ", rd_now, p);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(" = %ld", rd_rep.ret);
	if (rd_rep.ret == -1)
		printf(" %s", strerrorname_np(rd_rep.err) ? strerrorname_np(rd_rep.err) : "?");
	if (rd_rep.signals)
		printf(" SIGPIPE x%d", rd_rep.signals);
	printf("%s\n", rd_rep.text);
}

/* What must be true --------------------------------------------------------------------------- */

struct desc *rd_desc(int p, int fd)
{
	return fd >= 0 && fd < FDS && rd_procs[p].fd[fd] >= 0 ? &rd_descs[rd_procs[p].fd[fd]]
							      : NULL;
}

int rd_desc_new(enum kind kind)
{
	if (rd_ndescs == DESCS)
		rd_fail("too many descriptions");
	rd_descs[rd_ndescs].kind = kind;
	rd_descs[rd_ndescs].lowat = 1;
	return rd_ndescs++;
}

void rd_fd_set(int p, long fd, int d, bool cloexec)
{
	if (fd < 0 || fd >= FDS)
		rd_fail("a number out of range");
	rd_procs[p].fd[fd] = d;
	rd_procs[p].cloexec[fd] = cloexec;
	rd_descs[d].refs++;
}

static void end_closed(int c, int s)
{
	struct side *me = &rd_conns[c].s[s], *peer = &rd_conns[c].s[1 - s];

	me->closed = true;
	if (!me->reset && !peer->closed && (me->linger0 || me->unread > 0))
		peer->reset = true;
}

void rd_desc_put(int d)
{
	struct desc *x = &rd_descs[d];

	if (--x->refs > 0)
		return;
	if (x->kind == K_CONN)
		end_closed(x->conn, x->side);
	for (int i = 0; x->kind == K_LISTEN && i < x->queued; i++) {
		struct conn *c = &rd_conns[x->queue[i]];

		c->s[1].closed = true;
		c->s[0].reset = c->s[0].reset || !c->s[0].closed;
	}
	x->kind = K_NONE;
}

void rd_fd_drop(int p, int fd)
{
	int d = rd_procs[p].fd[fd];

	rd_procs[p].fd[fd] = -1;
	rd_desc_put(d);
}

void rd_proc_gone(int p)
{
	for (int fd = 0; fd < FDS; fd++)
		if (rd_procs[p].fd[fd] >= 0)
			rd_fd_drop(p, fd);
	rd_procs[p].alive = false;
}

void rd_wrote(struct desc *x, long n)
{
	struct side *me, *peer;

	if (n <= 0 || x->kind != K_CONN)
		return;
	me = &rd_conns[x->conn].s[x->side];
	peer = &rd_conns[x->conn].s[1 - x->side];
	me->tx += (uint64_t)n;
	if (peer->closed) {
		me->reset = true;
	} else if (peer->shut_rd && peer->shut_wr) {
		me->reset = peer->reset = true;
	} else {
		peer->unread += n;
		peer->chunks++;
	}
}

void rd_took(struct desc *x, long n, unsigned flags)
{
	struct side *me;

	if (n <= 0 || x->kind != K_CONN || flags & MSG_PEEK)
		return;
	me = &rd_conns[x->conn].s[x->side];
	me->rx += (uint64_t)n;
	me->unread -= n;
	if (me->unread <= 0)
		me->chunks = 0;
}

/* Whoever has a number of the description, from actor *@p on; Return: false if nobody. */
bool rd_holder(int d, int *p, int *fd)
{
	for (; *p < RC_PROCS; ++*p)
		for (*fd = 0; rd_procs[*p].alive && *fd < FDS; ++*fd)
			if (rd_procs[*p].fd[*fd] == d)
				return true;
	return false;
}

/* Whether what @rep says of the end is what must be. */
static bool as_it_must(const struct side *me, const struct side *peer)
{
	if (me->reset)
		return rd_rep.x[0] & POLLHUP;
	if (!rd_rep.x[0] && !me->tx && !me->rx)
		return false; /* not connected yet */
	if (rd_rep.x[1] != (int)me->unread)
		return false;
	if ((peer->closed || peer->shut_wr) && !(rd_rep.x[0] & POLLRDHUP))
		return false;
	return rd_rep.x[2] != TCP_FIN_WAIT1 && rd_rep.x[2] != TCP_LAST_ACK &&
	       rd_rep.x[2] != TCP_CLOSING;
}

/* Who was the first that was not as it must, and what it said. */
static int bad_p, bad_fd;
static struct rc_rep bad_rep;

/* Every actor that has it is asked: one that is not inside the library does nothing for its peer. */
static bool settled(int d, bool hard)
{
	struct desc *x = &rd_descs[d];
	struct rc_req q = { .op = RC_STATE };
	bool good = true;

	if (x->kind != K_LISTEN && x->kind != K_CONN)
		return true;
	for (int p = 0; rd_holder(d, &p, &q.fd); p++) {
		struct side *me = &rd_conns[x->conn].s[x->side];
		const bool before = good;

		q.a = x->kind == K_LISTEN || (me->shut_wr && !me->reset && hard);
		rd_call(p, &q);
		if (x->kind == K_LISTEN)
			good = good && rd_rep.x[3] == x->queued;
		else
			good = good && as_it_must(me, &rd_conns[x->conn].s[1 - x->side]);
		if (before && !good) {
			bad_p = p;
			bad_fd = q.fd;
			bad_rep = rd_rep;
		}
	}
	return good;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void rd_settle(void)
{
	int64_t begun = now_ms();

	for (int d = 0; d < rd_ndescs; d++) {
		for (int64_t waited = 0; rd_descs[d].refs > 0 && !settled(d, waited < 500);
		     waited = now_ms() - begun) {
			if (waited > SETTLE_MS) {
				printf("%d never settled: p%d %d, unread %ld of %ld, reset %d, events %x\n",
				       rd_now, bad_p, bad_fd, (long)bad_rep.x[1],
				       rd_descs[d].kind == K_CONN ? rd_conns[rd_descs[d].conn]
									    .s[rd_descs[d].side]
									    .unread
								  : 0L,
				       rd_descs[d].kind == K_CONN &&
					       rd_conns[rd_descs[d].conn].s[rd_descs[d].side].reset,
				       (unsigned)bad_rep.x[0]);
				rd_fail("never settled");
			}
			if (waited > 1)
				usleep(1000);
		}
	}
}

/* Choices ------------------------------------------------------------------------------------- */

int rd_any_proc(void)
{
	for (;;) {
		int p = rd_rnd(RC_PROCS);

		if (rd_procs[p].alive)
			return p;
	}
}

/* A number of @p's that is of one of the kinds (a mask); -1 if there is none. */
int rd_any_fd(int p, unsigned kinds)
{
	int found[FDS], n = 0;

	for (int fd = 0; fd < FDS; fd++)
		if (rd_desc(p, fd) && kinds & 1u << rd_desc(p, fd)->kind)
			found[n++] = fd;
	return n ? found[rd_rnd(n)] : -1;
}

int rd_live(unsigned kinds)
{
	int n = 0;

	for (int d = 0; d < rd_ndescs; d++)
		n += rd_descs[d].refs > 0 && kinds & 1u << rd_descs[d].kind;
	return n;
}

int rd_numbers(int p)
{
	int n = 0;

	for (int fd = 0; fd < FDS; fd++)
		n += rd_procs[p].fd[fd] >= 0;
	return n;
}

struct side *rd_side(struct desc *x)
{
	return &rd_conns[x->conn].s[x->side];
}

uint64_t rd_key(const struct desc *x, bool out)
{
	return (uint64_t)x->conn * 2 + (uint64_t)(out ? x->side : 1 - x->side);
}
