/* random_bytes.c - the director's calls that move bytes, none of which could wait */
#include "tests/parity/random_director.h"

#include <stdio.h>

static const unsigned char how_names[7][8] = { "read",    "readv",   "recv",   "recvfr",
					       "recvmsg", "rcvmmsg", "preadv2" };

/* Whether a receive of @n bytes at least cannot wait. */
static bool ends(const struct desc *x, long n)
{
	const struct side *me, *peer;

	if (x->kind != K_CONN || x->nonblock || x->rcvtimeo)
		return true;
	me = &rd_conns[x->conn].s[x->side];
	peer = &rd_conns[x->conn].s[1 - x->side];
	return me->reset || me->shut_rd || peer->closed || peer->shut_wr || me->unread >= n;
}

/* Bytes that a receive waits for. */
static long awaited(const struct desc *x, const struct rc_req *q)
{
	if (q->flags & MSG_WAITALL)
		return q->n;
	return x->lowat < q->n ? x->lowat : q->n ? q->n : 1;
}

long op_read(int p, int fd, bool all)
{
	struct rc_req q = { .op = RC_READ, .fd = fd };
	struct desc *x = rd_desc(p, fd);
	struct side *me = x && x->kind == K_CONN ? rd_side(x) : NULL;

	q.how = rd_rnd(rd_more ? 7 : 6);
	q.n = rd_one_in(3) ? 1 + rd_rnd(8) : 1 + rd_rnd(rd_one_in(2) ? 600 : 20000);
	if (me && me->unread && (all || rd_one_in(4)))
		q.n = me->unread > RC_BYTES ? RC_BYTES : me->unread;
	if (rd_more && !all && rd_one_in(40))
		q.n = 0;
	if (q.how >= 2 && q.how < 6) {
		q.flags |= rd_one_in(5) ? MSG_PEEK : 0;
		q.flags |= rd_one_in(2) ? MSG_DONTWAIT : 0;
		q.flags |= rd_one_in(8) ? MSG_TRUNC : 0;
		q.flags |= rd_one_in(4) ? MSG_WAITALL : 0;
		if (q.how == 5)
			q.flags = (q.flags & ~(unsigned)(MSG_PEEK | MSG_TRUNC | MSG_WAITALL)) |
				  MSG_DONTWAIT;
	}
	if (all)
		q.flags &= ~(unsigned)MSG_PEEK;
	if (x && !(q.flags & MSG_DONTWAIT) && !ends(x, awaited(x, &q)))
		return 0;
	if (me) {
		q.key = rd_key(x, false);
		q.off = me->rx;
	}
	rd_call(p, &q);
	rd_say(p, "%s(%d, %ld, %x)", (const char *)how_names[q.how], fd, q.n, q.flags);
	if (x)
		rd_took(x, rd_rep.ret, q.flags);
	return rd_rep.ret;
}

long op_write(int p, int fd, long n, enum rc_op op)
{
	struct rc_req q = { .op = op,
			    .fd = fd,
			    .n = n,
			    .how = op == RC_WRITE ? rd_rnd(rd_more ? 7 : 6) : rd_rnd(2) };
	struct desc *x = rd_desc(p, fd);

	if (x && x->kind == K_CONN) {
		struct side *me = rd_side(x), *peer = &rd_conns[x->conn].s[1 - x->side];

		if (peer->unread + n > UNREAD_MAX || peer->chunks > CHUNKS_MAX)
			return 0;
		q.key = rd_key(x, true);
		q.off = me->tx;
		if (q.how == 5 && (peer->closed || (peer->shut_rd && peer->shut_wr)))
			q.how = 4;
	}
	if (rd_more && op == RC_WRITE && q.how != 5 && rd_one_in(40))
		q.n = 0;
	if (op == RC_WRITE && q.how >= 2 && q.how < 6)
		q.flags = (unsigned)((rd_one_in(3) ? MSG_NOSIGNAL : 0) |
				     (rd_one_in(3) ? MSG_DONTWAIT : 0));
	rd_call(p, &q);
	rd_say(p, "%s %d(%d, %ld, %x)",
	       op == RC_WRITE      ? "write"
	       : op == RC_SENDFILE ? "sendfile"
				   : "splice in",
	       q.how, fd, q.n, q.flags);
	if (x)
		rd_wrote(x, rd_rep.ret);
	return rd_rep.ret;
}

long op_some_bytes(void)
{
	return rd_one_in(3) ? 1 + rd_rnd(16) : rd_one_in(2) ? 1 + rd_rnd(2000) : 1 + rd_rnd(30000);
}

/* MSG_MORE, and what ends it. */
void op_more(int p, int fd)
{
	struct desc *x = rd_desc(p, fd);
	struct rc_req q = { .op = RC_WRITE,
			    .fd = fd,
			    .how = 2,
			    .flags = MSG_MORE | MSG_NOSIGNAL,
			    .n = 1 + rd_rnd(300) };

	if (x->kind != K_CONN || (rd_more && rd_conns[x->conn].s[1 - x->side].closed) ||
	    rd_conns[x->conn].s[1 - x->side].unread + 1000 > UNREAD_MAX ||
	    rd_conns[x->conn].s[1 - x->side].chunks + 2 > CHUNKS_MAX)
		return;
	q.key = rd_key(x, true);
	for (int i = 0; i < 2; i++) {
		q.off = rd_side(x)->tx;
		rd_call(p, &q);
		rd_say(p, "send(%d, %ld, %x)", fd, q.n, q.flags);
		rd_wrote(x, rd_rep.ret);
		q.flags = MSG_NOSIGNAL;
	}
}

void op_splice_out(int p, int fd)
{
	struct desc *x = rd_desc(p, fd);
	struct rc_req q = { .op = RC_SPLICE_OUT, .fd = fd };

	if (x->kind != K_CONN || rd_side(x)->unread < 1 || rd_side(x)->reset)
		return;
	q.n = 1 + rd_rnd((int)rd_side(x)->unread);
	q.key = rd_key(x, false);
	q.off = rd_side(x)->rx;
	rd_call(p, &q);
	rd_say(p, "splice out(%d, %ld)", fd, q.n);
	rd_took(x, rd_rep.ret, 0);
}

/* Turns of small messages, by which a connection becomes worth lifting. */
void op_chat(void)
{
	int c = rd_nconns ? rd_rnd(rd_nconns) : 0, p[2] = { 0, 0 }, fd[2], d[2] = { -1, -1 },
	    turns = 5 + rd_rnd(60);

	for (int i = 0; i < rd_ndescs; i++)
		if (rd_descs[i].refs > 0 && rd_descs[i].kind == K_CONN && rd_descs[i].conn == c)
			d[rd_descs[i].side] = i;
	if (d[0] < 0 || d[1] < 0 || !rd_holder(d[0], &p[0], &fd[0]) ||
	    !rd_holder(d[1], &p[1], &fd[1]))
		return;
	for (int s = 0; s < 2; s++)
		if (rd_conns[c].s[s].reset || rd_conns[c].s[s].shut_rd ||
		    rd_conns[c].s[s].shut_wr || rd_conns[c].s[s].unread || rd_descs[d[s]].lowat > 1)
			return;
	for (int i = 0; i < turns; i++) {
		for (int s = 0; s < 2; s++) {
			struct rc_req w = { .op = RC_WRITE,
					    .fd = fd[s],
					    .n = 1 + i,
					    .key = rd_key(&rd_descs[d[s]], true) };
			struct rc_req r = {
				.op = RC_READ, .fd = fd[1 - s], .n = 100, .key = w.key
			};

			w.off = r.off = rd_conns[c].s[s].tx;
			if (rd_call(p[s], &w) != w.n)
				rd_say(p[s], "chat: write(%d, %ld)", fd[s], w.n);
			rd_wrote(&rd_descs[d[s]], rd_rep.ret);
			rd_settle();
			if (rd_call(p[1 - s], &r) != w.n || rd_rep.text[0])
				rd_say(p[1 - s], "chat: read(%d) of %ld", fd[1 - s], w.n);
			rd_took(&rd_descs[d[1 - s]], rd_rep.ret, 0);
		}
	}
	printf("%d chat of %d on %d\n", rd_now, turns, c);
}
