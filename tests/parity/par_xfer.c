/* par_xfer.c - parity of sendfile, splice, vmsplice, MSG_ZEROCOPY, stdio over a socket, io_uring, asynchronous I/O */
#include "tests/parity/parity.h"

#include <aio.h>
#include <arpa/inet.h>
#include <linux/aio_abi.h>
#include <linux/errqueue.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static char buf[1 << 20];

/* An unlinked file that holds the next @n bytes of the pattern that @e sends. */
static int file_of(struct end *e, long n)
{
	int fd = memfd_create("parity", MFD_CLOEXEC);
	uint64_t keep = e->tx;

	MUST(fd);
	for (long done = 0; done < n;) {
		long part = n - done < (long)sizeof(buf) ? n - done : (long)sizeof(buf);

		end_fill(e, buf, part);
		MUST(write(fd, buf, part));
		done += part;
	}
	e->tx = keep;
	lseek(fd, 0, SEEK_SET);
	return fd;
}

CASE(sendfile_whole, F_ANY, "sendfile without and with an offset")
{
	int f = file_of(&c->a, 10000);
	off_t off = 4000;

	SHOW(sendfile(c->a.fd, f, NULL, 4000));
	SHOW(lseek(f, 0, SEEK_CUR));
	SHOW(sendfile(c->a.fd, f, &off, 6000));
	say("offset %ld, position %ld", (long)off, (long)lseek(f, 0, SEEK_CUR));
	SHOW(sendfile(c->a.fd, f, &off, 6000));
	SHOW(end_get(&c->b, 10000));
	c->a.tx += 10000;
	conn_same(c, 1000);
}

CASE(sendfile_big, F_ANY | F_PAIR6, "sendfile of 5 MB while the other end reads")
{
	int f = file_of(&c->a, 5 << 20);
	long sum = 0;

	end_get_start(&c->b, 5 << 20);
	for (ssize_t n; (n = sendfile(c->a.fd, f, NULL, 5 << 20)) > 0;)
		sum += n;
	SHOW(sum);
	SHOW(end_get_join(&c->b));
	c->a.tx += 5 << 20;
	conn_same(c, 1000);
}

CASE(sendfile_unread, F_BOTH, "sendfile of 300 KB with no reader, then all is read")
{
	int f = file_of(&c->a, 300000);

	SHOW(sendfile(c->a.fd, f, NULL, 300000));
	SHOW(end_get(&c->b, 300000));
}

CASE(sendfile_nonblock, F_ANY, "non-blocking sendfile until EAGAIN; the offset is what was taken")
{
	int f = file_of(&c->a, 16 << 20);
	off_t off = 0;
	ssize_t n;

	end_nonblock(&c->a, true);
	while ((n = sendfile(c->a.fd, f, &off, (16 << 20) - off)) > 0)
		;
	SHOW(n);
	say("some: %d", off > 0 && off < 16 << 20);
	say("all of it read: %d", end_get(&c->b, off) == off);
	c->a.tx += off;
	end_nonblock(&c->a, false);
	conn_same(c, 1000);
}

CASE(sendfile_header, F_BOTH, "a header with MSG_MORE, then sendfile, the way web servers do")
{
	for (int i = 0; i < 5; i++) {
		end_fill(&c->a, buf, 100);
		SHOW(send(c->a.fd, buf, 100, MSG_MORE));
		int f = file_of(&c->a, 3000);

		SHOW(sendfile(c->a.fd, f, NULL, 3000));
		c->a.tx += 3000;
		close(f);
		SHOW(end_get(&c->b, 3100));
	}
}

CASE(sendfile_cork, F_BOTH, "TCP_CORK, header, sendfile, uncork")
{
	SHOW(end_setopt(&c->a, IPPROTO_TCP, TCP_CORK, 1));
	end_fill(&c->a, buf, 100);
	SHOW(write(c->a.fd, buf, 100));
	int f = file_of(&c->a, 3000);

	SHOW(sendfile(c->a.fd, f, NULL, 3000));
	SHOW(end_setopt(&c->a, IPPROTO_TCP, TCP_CORK, 0));
	SHOW(end_get(&c->b, 3100));
}

CASE(sendfile_errors, F_BOTH, "what sendfile refuses")
{
	int f = file_of(&c->a, 100), p[2];
	off_t off = -1;

	MUST(pipe(p));
	SHOW(sendfile(c->a.fd, f, &off, 10));
	SHOW(sendfile(c->a.fd, -1, NULL, 10));
	SHOW(sendfile(-1, f, NULL, 10));
	SHOW(sendfile(c->a.fd, f, bad_pointer, 10));
	SHOW(sendfile(c->a.fd, f, NULL, 0));
	SHOW(sendfile(f, c->a.fd, NULL, 10));
	SHOW(sendfile(c->a.fd, c->b.far ? c->a.fd : c->b.fd, NULL, 10));
	SHOW(end_shutdown(&c->a, SHUT_WR));
	signal(SIGPIPE, SIG_IGN);
	SHOW(sendfile(c->a.fd, f, NULL, 10));
}

CASE(sendfile_odd, F_BOTH, "sendfile of what is no file, or not to be read, or at its end")
{
	int dir = open("/", O_RDONLY), zero = open("/dev/zero", O_RDONLY), p[2];
	int f = file_of(&c->a, 100);
	off_t off = 60;

	conn_same(c, 1000);
	SHOW(sendfile(c->a.fd, f, &off, 100));
	SHOW(off);
	SHOW(sendfile(c->a.fd, f, &off, 100));
	SHOW(lseek(f, 0, SEEK_CUR));
	lseek(f, 90, SEEK_SET);
	SHOW(sendfile(c->a.fd, f, NULL, 100));
	SHOW(lseek(f, 0, SEEK_CUR));
	SHOW(sendfile(c->a.fd, f, NULL, 100));
	SHOW(sendfile(c->a.fd, zero, NULL, 100));
	SHOW(recv(c->b.fd, buf, 150, MSG_WAITALL));
	SHOW(sendfile(c->a.fd, dir, NULL, 100));
	MUST(pipe(p));
	MUST(write(p[1], buf, 20));
	SHOW(sendfile(c->a.fd, p[0], NULL, 20));
	SHOW(sendfile(c->a.fd, p[1], NULL, 20));
	SHOW(write(c->a.fd, "end", 3));
	SHOW(recv(c->b.fd, buf, 3, MSG_WAITALL));
	close(dir);
	close(zero);
	close(f);
	close(p[0]);
	close(p[1]);
}

CASE(splice_out, F_ANY, "splice from a pipe into the socket")
{
	int p[2];

	MUST(pipe(p));
	end_fill(&c->a, buf, 5000);
	MUST(write(p[1], buf, 5000));
	SHOW(splice(p[0], NULL, c->a.fd, NULL, 3000, SPLICE_F_MORE));
	SHOW(splice(p[0], NULL, c->a.fd, NULL, 3000, 0));
	SHOW(end_get(&c->b, 5000));
	SHOW(splice(p[0], NULL, c->a.fd, NULL, 3000, SPLICE_F_NONBLOCK));
	close(p[1]);
	SHOW(splice(p[0], NULL, c->a.fd, NULL, 3000, 0));
	conn_same(c, 1000);
}

CASE(splice_in, F_ANY, "splice from the socket into a pipe")
{
	int p[2];

	MUST(pipe(p));
	SHOW(end_put1(&c->b, 5000));
	await(c->a.fd, POLLIN);
	SHOW(splice(c->a.fd, NULL, p[1], NULL, 2000, 0));
	SHOW(read(p[0], buf, sizeof(buf)));
	end_check(&c->a, buf, 2000);
	SHOW(end_get(&c->a, 3000));
	end_nonblock(&c->a, true);
	SHOW(splice(c->a.fd, NULL, p[1], NULL, 2000, SPLICE_F_NONBLOCK));
	SHOW(splice(c->a.fd, NULL, p[1], NULL, 2000, 0));
	end_nonblock(&c->a, false);
	SHOW(end_shutdown(&c->b, SHUT_WR));
	SHOW(splice(c->a.fd, NULL, p[1], NULL, 2000, 0));
}

CASE(splice_proxy, F_SELF, "two connections joined by splice, the way proxies do; 1 MB")
{
	struct conn d;
	int p[2];

	conn_open(c, &d);
	MUST(pipe(p));
	end_put_start(&c->b, 1 << 20);
	d.b.dir = 0; /* it shall see what c->b sends */
	end_get_start(&d.b, 1 << 20);
	long sum = 0;

	while (sum < 1 << 20) {
		ssize_t n = splice(c->a.fd, NULL, p[1], NULL, 65536, SPLICE_F_MOVE);

		if (n <= 0)
			break;
		for (ssize_t m; n > 0 && (m = splice(p[0], NULL, d.a.fd, NULL, n, 0)) > 0;) {
			n -= m;
			sum += m;
		}
	}
	SHOW(sum);
	end_join(&c->b, NULL, NULL);
	SHOW(end_get_join(&d.b));
}

CASE(splice_errors, F_BOTH, "what splice refuses on a socket")
{
	int p[2];
	loff_t off = 0;

	MUST(pipe(p));
	MUST(write(p[1], "abc", 3));
	SHOW(splice(p[0], &off, c->a.fd, NULL, 3, 0));
	SHOW(splice(p[0], NULL, c->a.fd, &off, 3, 0));
	SHOW(splice(c->a.fd, NULL, c->b.far ? 0 : c->b.fd, NULL, 3, 0));
	SHOW(tee(c->a.fd, p[1], 3, 0));
	SHOW(copy_file_range(c->a.fd, NULL, p[1], NULL, 3, 0));
	conn_same(c, 1000);
}

CASE(vmsplice_out, F_BOTH, "vmsplice into a pipe, spliced into the socket")
{
	int p[2];
	struct iovec v = { buf, 4096 };

	MUST(pipe(p));
	end_fill(&c->a, buf, 4096);
	SHOW(vmsplice(p[1], &v, 1, 0));
	SHOW(splice(p[0], NULL, c->a.fd, NULL, 4096, 0));
	SHOW(end_get(&c->b, 4096));
}

/* Read completions until @upto sends are known to be complete; -1 if none come. */
static long completions(int fd, unsigned upto)
{
	long done = 0;

	for (int i = 0; i < 2000 && done < upto; i++) {
		char control[200];
		struct msghdr m = { .msg_control = control, .msg_controllen = sizeof(control) };

		if (recvmsg(fd, &m, MSG_ERRQUEUE) < 0) {
			if (errno != EAGAIN)
				return -1;
			struct pollfd p = { fd, 0, 0 };

			poll(&p, 1, 5);
			continue;
		}
		struct cmsghdr *h = CMSG_FIRSTHDR(&m);
		struct sock_extended_err *e = h ? (void *)CMSG_DATA(h) : NULL;

		if (!e || e->ee_origin != SO_EE_ORIGIN_ZEROCOPY || e->ee_errno)
			return -1;
		if (!(m.msg_flags & MSG_ERRQUEUE))
			say("flags %#x", m.msg_flags);
		done = (long)e->ee_data + 1;
	}
	return done;
}

CASE(zerocopy, F_ANY, "MSG_ZEROCOPY: the bytes arrive and every send is completed, in order")
{
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_ZEROCOPY, 1));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_ZEROCOPY));
	for (int i = 0; i < 5; i++) {
		end_fill(&c->a, buf + i * 20000, 20000);
		SHOW(send(c->a.fd, buf + i * 20000, 20000, MSG_ZEROCOPY));
	}
	SHOW(end_get(&c->b, 100000));
	SHOW(completions(c->a.fd, 5));
	conn_same(c, 1000);
	end_fill(&c->a, buf, 10000);
	SHOW(send(c->a.fd, buf, 10000, MSG_ZEROCOPY));
	SHOW(end_get(&c->b, 10000));
	SHOW(completions(c->a.fd, 6));
}

CASE(zerocopy_poll, F_BOTH, "a completion is told as POLLERR, SO_ERROR stays 0")
{
	SHOW(end_setopt(&c->a, SOL_SOCKET, SO_ZEROCOPY, 1));
	end_fill(&c->a, buf, 30000);
	SHOW(send(c->a.fd, buf, 30000, MSG_ZEROCOPY));
	SHOW(end_get(&c->b, 30000));
	say("%s", poll_name(end_poll(&c->a, 0, 5000)));
	SHOW(end_getopt(&c->a, SOL_SOCKET, SO_ERROR));
	SHOW(completions(c->a.fd, 1));
	say("%s", poll_name(end_poll(&c->a, 0, 0)));
}

CASE(zerocopy_off, F_BOTH, "MSG_ZEROCOPY without SO_ZEROCOPY is an ordinary send")
{
	end_fill(&c->a, buf, 20000);
	SHOW(send(c->a.fd, buf, 20000, MSG_ZEROCOPY));
	SHOW(end_get(&c->b, 20000));
	say("%s", poll_name(end_poll(&c->a, 0, 20)));
}

CASE(stdio_read, F_ANY, "fdopen for reading: lines, then the end")
{
	char line[100];
	FILE *f = fdopen(c->a.fd, "r");
	long lines = 0;

	SHOW(end_put(&c->b, 3000));
	SHOW(end_shutdown(&c->b, SHUT_WR));
	while (fgets(line, sizeof(line), f))
		lines += strlen(line) > 0;
	say("lines %d, end %d, error %d", lines > 0, !!feof(f), !!ferror(f));
	SHOW(fclose(f));
	SHOW(fcntl(c->a.fd, F_GETFD));
}

CASE(stdio_write, F_ANY, "fdopen for writing: buffered, flushed, closed")
{
	FILE *f = fdopen(dup(c->a.fd), "w");

	for (int i = 0; i < 300; i++) {
		end_fill(&c->a, buf, 77);
		if (fwrite(buf, 1, 77, f) != 77)
			say("short");
	}
	SHOW(fflush(f));
	SHOW(end_get(&c->b, 300 * 77));
	SHOW(fprintf(f, "%s %d\n", "hello", 42));
	SHOW(fclose(f));
	SHOW(end_poll(&c->b, POLLIN, 5000) & POLLIN);
	SHOW(dprintf(c->a.fd, "%05d", 7));
}

CASE(stdio_both, F_ANY, "two streams on one socket: line in, line out, 100 times")
{
	if (!c->b.far) {
		FILE *r = fdopen(dup(c->a.fd), "r"), *w = fdopen(dup(c->a.fd), "w");
		FILE *br = fdopen(dup(c->b.fd), "r"), *bw = fdopen(dup(c->b.fd), "w");
		char *line = NULL;
		size_t room = 0;
		long sum = 0;

		for (int i = 0; i < 100; i++) {
			fprintf(bw, "question %d\n", i);
			fflush(bw);
			sum += getline(&line, &room, r);
			fprintf(w, "answer %s", line);
			fflush(w);
			sum += getline(&line, &room, br);
		}
		SHOW(sum);
		say("%s", line);
		return;
	}
	FILE *r = fdopen(dup(c->a.fd), "r"), *w = fdopen(dup(c->a.fd), "w");
	long sum = 0;

	for (int i = 0; i < 100; i++) {
		end_put1(&c->b, 50);
		sum += fread(buf, 1, 50, r);
		end_check(&c->a, buf, 50);
		end_fill(&c->a, buf, 60);
		sum += fwrite(buf, 1, 60, w);
		fflush(w);
		end_get(&c->b, 60);
	}
	SHOW(sum);
	fclose(r);
	fclose(w);
	conn_same(c, 1000);
}

CASE(stdio_unbuffered, F_BOTH, "an unbuffered stream between plain calls")
{
	FILE *f = fdopen(dup(c->a.fd), "r+");

	setvbuf(f, NULL, _IONBF, 0);
	for (int i = 0; i < 20; i++) {
		SHOW(end_put1(&c->b, 10));
		SHOW(fread(buf, 1, 10, f));
		end_check(&c->a, buf, 10);
		end_fill(&c->a, buf, 10);
		SHOW(write(c->a.fd, buf, 10));
		end_fill(&c->a, buf, 10);
		SHOW(fwrite(buf, 1, 10, f));
		SHOW(end_get(&c->b, 20));
	}
}

CASE(stdio_mixed, F_ANY, "a stream takes over a busy connection with unread bytes")
{
	SHOW(end_put(&c->b, 6000));
	SHOW(end_get(&c->a, 1000));
	FILE *f = fdopen(dup(c->a.fd), "r+");

	SHOW(fread(buf, 1, 5000, f));
	end_check(&c->a, buf, 5000);
	SHOW(end_put(&c->a, 100));
	SHOW(fputs("0123456789", f));
	SHOW(fflush(f));
	SHOW(end_get(&c->b, 100));
	SHOW(end_poll(&c->b, POLLIN, 5000) & POLLIN);
	fclose(f);
}

CASE(stdio_stdout, F_PAIR | F_DIAL | F_HALF, "stdout is the connection: printf and puts arrive")
{
	int keep = fcntl(1, F_DUPFD, 100);

	dup2(c->a.fd, 1);
	printf("%s", "0123456789");
	puts("abc");
	fflush(stdout);
	putchar('x');
	fflush(stdout);
	dup2(keep, 1);
	SHOW(end_poll(&c->b, POLLIN, 5000) & POLLIN);
	SHOW(end_getopt(&c->b, SOL_SOCKET, SO_ERROR));
	conn_same(&(struct conn){ .a = c->a, .b = c->b }, 0);
}

/* io_uring, by its system calls ----------------------------------------------------------- */

struct uring {
	int fd;
	unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
};

static void uring_open(struct uring *u)
{
	struct io_uring_params p = { 0 };

	u->fd = syscall(SYS_io_uring_setup, 8, &p);
	if (u->fd < 0)
		par_skip("no io_uring");
	char *sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED,
			u->fd, IORING_OFF_SQ_RING);
	char *cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(*u->cqe),
			PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, IORING_OFF_CQ_RING);

	u->sqe = mmap(NULL, p.sq_entries * sizeof(*u->sqe), PROT_READ | PROT_WRITE, MAP_SHARED,
		      u->fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || u->sqe == MAP_FAILED)
		par_die("io_uring mmap");
	u->sq_tail = (void *)(sq + p.sq_off.tail);
	u->sq_mask = (void *)(sq + p.sq_off.ring_mask);
	u->sq_array = (void *)(sq + p.sq_off.array);
	u->cq_head = (void *)(cq + p.cq_off.head);
	u->cq_tail = (void *)(cq + p.cq_off.tail);
	u->cq_mask = (void *)(cq + p.cq_off.ring_mask);
	u->cqe = (void *)(cq + p.cq_off.cqes);
}

static int uring_do(struct uring *u, int op, int fd, void *b, unsigned n)
{
	unsigned i = *u->sq_tail & *u->sq_mask;

	u->sqe[i] = (struct io_uring_sqe){ .opcode = op, .fd = fd, .addr = (uintptr_t)b, .len = n };
	u->sq_array[i] = i;
	__atomic_store_n(u->sq_tail, *u->sq_tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, u->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -errno;
	if (*u->cq_head == __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE))
		return -EIO;
	int r = u->cqe[*u->cq_head & *u->cq_mask].res;

	__atomic_store_n(u->cq_head, *u->cq_head + 1, __ATOMIC_RELEASE);
	return r;
}

CASE(uring_before, F_ANY | F_COLD,
     "io_uring opened before the connection is busy; both ways of use")
{
	struct uring u;

	uring_open(&u);
	conn_warm(c, 200);
	end_fill(&c->a, buf, 100);
	SHOW(uring_do(&u, IORING_OP_SEND, c->a.fd, buf, 100));
	SHOW(end_get(&c->b, 100));
	SHOW(end_put1(&c->b, 100));
	SHOW(uring_do(&u, IORING_OP_RECV, c->a.fd, buf, 100));
	end_check(&c->a, buf, 100);
	conn_same(c, 1000);
}

CASE(uring_after, F_ANY, "io_uring opened when the connection is busy, with unread bytes")
{
	struct uring u;

	SHOW(end_put1(&c->b, 300));
	uring_open(&u);
	SHOW(uring_do(&u, IORING_OP_RECV, c->a.fd, buf, 300));
	end_check(&c->a, buf, 300);
	end_fill(&c->a, buf, 100);
	SHOW(uring_do(&u, IORING_OP_SEND, c->a.fd, buf, 100));
	SHOW(end_get(&c->b, 100));
	for (int i = 0; i < 20; i++) {
		conn_warm(c, 10);
		end_fill(&c->a, buf, 100);
		if (uring_do(&u, IORING_OP_SEND, c->a.fd, buf, 100) != 100)
			say("short");
		SHOW(end_get(&c->b, 100));
	}
}

CASE(uring_later, F_ANY, "connections that are made after an io_uring was opened beside busy ones")
{
	struct conn further[4];
	struct uring u;

	uring_open(&u);
	for (int i = 0; i < 4; i++) {
		struct conn *f = &further[i];

		conn_open(c, f);
		conn_warm(f, 200);
		end_fill(&f->a, buf, 100);
		SHOW(uring_do(&u, IORING_OP_SEND, f->a.fd, buf, 100));
		SHOW(end_get(&f->b, 100));
		SHOW(end_put1(&f->b, 100));
		SHOW(uring_do(&u, IORING_OP_RECV, f->a.fd, buf, 100));
		end_check(&f->a, buf, 100);
	}
	conn_same(c, 1000);
}

/* asynchronous reads and writes ----------------------------------------------------------- */

static long aio_end(struct aiocb *cb)
{
	const struct aiocb *one[] = { cb };
	const struct timespec limit = { .tv_sec = 5 };

	if (aio_suspend(one, 1, &limit) < 0)
		return -errno;
	return aio_error(cb) ? -aio_error(cb) : aio_return(cb);
}

CASE(aio_posix, F_ANY, "aio_read, aio_write and lio_listio on a busy connection")
{
	struct aiocb in = { .aio_fildes = c->a.fd, .aio_buf = buf, .aio_nbytes = 300 };
	struct aiocb out = { .aio_fildes = c->a.fd, .aio_buf = buf + 1000, .aio_nbytes = 100 };
	struct aiocb *list[] = { NULL, &out };

	SHOW(aio_read(&in));
	SHOW(end_put1(&c->b, 300));
	SHOW(aio_end(&in));
	end_check(&c->a, buf, 300);
	end_fill(&c->a, buf + 1000, 100);
	SHOW(aio_write(&out));
	SHOW(aio_end(&out));
	SHOW(end_get(&c->b, 100));
	out.aio_lio_opcode = LIO_WRITE;
	end_fill(&c->a, buf + 1000, 100);
	SHOW(lio_listio(LIO_WAIT, list, 2, NULL));
	SHOW(end_get(&c->b, 100));
	conn_same(c, 200);
}

CASE(aio_list, F_ANY, "lio_listio as the first request: a write and a read")
{
	struct aiocb in = { .aio_fildes = c->a.fd, .aio_buf = buf, .aio_nbytes = 50 };
	struct aiocb out = { .aio_fildes = c->a.fd, .aio_buf = buf + 1000, .aio_nbytes = 100 };
	struct aiocb *list[] = { &out, &in };

	out.aio_lio_opcode = LIO_WRITE;
	in.aio_lio_opcode = LIO_READ;
	end_fill(&c->a, buf + 1000, 100);
	SHOW(lio_listio(LIO_NOWAIT, list, 2, NULL));
	SHOW(end_get(&c->b, 100));
	SHOW(end_put1(&c->b, 50));
	SHOW(aio_end(&in));
	end_check(&c->a, buf, 50);
	conn_same(c, 200);
}

/* One request of the kernel's own; what comes of it once @then has been done. */
static long iocb_do(aio_context_t ctx, struct iocb *cb, void (*then)(struct conn *), struct conn *c)
{
	const struct timespec limit = { .tv_sec = 5 };
	struct io_event done = { 0 };

	SHOW(syscall(SYS_io_submit, ctx, 1, &cb));
	if (then)
		then(c);
	if (syscall(SYS_io_getevents, ctx, 1, 1, &done, &limit) != 1)
		return -EIO;
	return (long)done.res;
}

static void put_300(struct conn *c)
{
	SHOW(end_put1(&c->b, 300));
}

CASE(aio_kernel, F_ANY, "io_submit on a busy connection: to wait, to read and to write")
{
	aio_context_t ctx = 0;
	struct iocb wait = { .aio_fildes = c->a.fd,
			     .aio_lio_opcode = IOCB_CMD_POLL,
			     .aio_buf = POLLIN };
	struct iocb in = { .aio_fildes = c->a.fd,
			   .aio_lio_opcode = IOCB_CMD_PREAD,
			   .aio_buf = (uintptr_t)buf,
			   .aio_nbytes = 300 };
	struct iocb out = { .aio_fildes = c->a.fd,
			    .aio_lio_opcode = IOCB_CMD_PWRITE,
			    .aio_buf = (uintptr_t)buf,
			    .aio_nbytes = 100 };

	MUST(syscall(SYS_io_setup, 4, &ctx));
	SHOW(iocb_do(ctx, &wait, put_300, c) & POLLIN);
	SHOW(iocb_do(ctx, &in, NULL, c));
	end_check(&c->a, buf, 300);
	end_fill(&c->a, buf, 100);
	SHOW(iocb_do(ctx, &out, NULL, c));
	SHOW(end_get(&c->b, 100));
	conn_same(c, 200);
	SHOW(syscall(SYS_io_submit, ctx, 1, NULL));
	MUST(syscall(SYS_io_destroy, ctx));
}
