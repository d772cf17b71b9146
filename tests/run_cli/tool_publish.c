/* tool_publish.c - a process that publishes statistics, honestly or not, for the tests of ztcp
 *
 * Makes a loopback connection, writes a table (and an arena) about it as shm/stats.h says, prints
 * "PID CLIENT-FD SERVER-FD" and waits for its standard input to end. The argument says in what way it lies.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/memfd.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shm/contract.h"
#include "shm/stats.h"
#include "shm/tap.h"

#define TABLE_BYTES (sizeof(struct stats_head) + STATS_ROWS * sizeof(struct stats_row))
#define ARENA_BYTES 65536
#define CONN        100 /* offset / 64 of the client's block */

static int client, server;

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void connection_make(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	must(!bind(l, (struct sockaddr *)&a, sizeof(a)) && !listen(l, 1), "listen");
	must(!getsockname(l, (struct sockaddr *)&a, &len), "getsockname");
	client = socket(AF_INET, SOCK_STREAM, 0);
	must(!connect(client, (struct sockaddr *)&a, sizeof(a)), "connect");
	server = accept(l, NULL, NULL);
	must(server >= 0, "accept");
	close(l);
	must(write(client, "12345", 5) == 5, "write");
}

static uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	must(!getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), "SO_COOKIE");
	return cookie;
}

static void *memory(const char *name, size_t bytes)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	void *p;

	must(fd >= 0 && !ftruncate(fd, (off_t)bytes), "memfd");
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(p != MAP_FAILED, "mmap");
	return p;
}

static struct stats_head *table_make(void)
{
	struct stats_head *t = memory("ztcp-stats", TABLE_BYTES);

	t->magic = STATS_MAGIC;
	t->version = STATS_VERSION;
	t->pid = (uint32_t)getpid();
	t->rows = STATS_ROWS;
	return t;
}

static struct stats_row *row_add(struct stats_head *t, int fd, uint16_t reason)
{
	struct stats_row *r = &t->row[t->used++];

	r->refs = 1;
	r->fd = fd;
	r->cookie = cookie_of(fd);
	r->reason = reason;
	r->pid = (uint32_t)getpid();
	return r;
}

static struct shm_ctl *arena_make(void)
{
	struct shm_head *h = memory("ztcp-arena", ARENA_BYTES);

	h->magic = SHM_MAGIC;
	h->version = SHM_VERSION;
	h->pid = (uint32_t)getpid();
	h->bytes = ARENA_BYTES;
	return (struct shm_ctl *)((char *)h + CONN * SHM_CONN_UNIT);
}

/* 1000 bytes sent in an earlier span and 500 since the lift; 70 received and settled on the kernel. */
static void publish_good(void)
{
	struct stats_head *t = table_make();
	struct stats_row *r = row_add(t, client, 2);
	struct shm_ctl *ctl = arena_make();

	r->tx_path = 1;
	r->tx_shm = 1000;
	r->tx_off = 5;
	r->rx_shm = 70;
	r->conn = CONN;
	r->lifts = 3;
	r->lowers = 2;
	ctl->cookie = r->cookie;
	ctl->tail = 505;
	ctl->head = 99999; /* means nothing: that direction is not lifted */
	row_add(t, server, 6)->role = STATS_ACCEPT;
}

/* Not looked at yet: told by descriptors. A child that inherits them publishes a table of its own. */
static void publish_young(void)
{
	struct stats_head *t = table_make();
	pid_t child;
	int pipe_fd[2];
	char c;

	row_add(t, client, 1)->cookie = 0;
	row_add(t, server, 6)->cookie = 0;
	t->row[0].refs = 2;
	must(!pipe(pipe_fd), "pipe");
	child = fork();
	must(child >= 0, "fork");
	if (child) {
		must(read(pipe_fd[0], &c, 1) == 1, "read");
		return;
	}
	must(!prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
	t = table_make();
	row_add(t, client, 18)->cookie = 0;
	t->row[0].fd = 200; /* long closed */
	must(write(pipe_fd[1], "x", 1) == 1, "write");
	pause();
}

static void fill_random(void *p, size_t bytes)
{
	unsigned seed = 12345;

	for (size_t i = 0; i < bytes; i++) {
		seed = seed * 1103515245 + 12345;
		((unsigned char *)p)[i] = (unsigned char)(seed >> 16);
	}
}

/* Right at the head, nonsense behind, and more rows in use than there are. */
static void publish_nonsense(void)
{
	struct stats_head *t = table_make();
	struct shm_ctl *ctl = arena_make();
	struct stats_row *r;

	fill_random(t->row, TABLE_BYTES - sizeof(*t));
	memset(&t->row[0], 0, 2 * sizeof(t->row[0]));
	r = row_add(t, client, 65535);
	r->tx_path = r->rx_path = 200;
	r->tx_shm = UINT64_MAX;
	r->tx_off = UINT64_MAX;
	r->rx_off = 1;
	r->conn = CONN;
	ctl->cookie = r->cookie;
	ctl->head = UINT64_MAX;
	r = row_add(t, server, 2);
	r->conn = UINT32_MAX;
	r->tx_path = 1;
	r->tx_shm = 7;
	t->used = UINT32_MAX;
}

/* Cut off in the middle of its first row. */
static void publish_cut(void)
{
	struct stats_head *t = table_make();

	row_add(t, client, 2);
	t->used = STATS_ROWS;
	for (int fd = 3; fd < 64; fd++) {
		struct stat st;

		if (!fstat(fd, &st) && st.st_size == (off_t)TABLE_BYTES)
			must(!ftruncate(fd, sizeof(*t) + 64), "ftruncate");
	}
}

/* A row about a socket of somebody else, whose cookie it has come to know. */
static void publish_stolen(const char *cookie)
{
	struct stats_head *t = table_make();

	row_add(t, client, 3);
	t->row[0].cookie = strtoull(cookie, NULL, 10);
	t->row[0].tx_shm = 666;
}

/* Rewritten without end, so that every read is torn. */
static void publish_torn(void)
{
	struct stats_head *t = table_make();
	struct stats_row *r = row_add(t, client, 2);
	struct shm_ctl *ctl = arena_make();

	r->conn = CONN;
	ctl->cookie = r->cookie;
	if (fork())
		return;
	must(!prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
	for (uint64_t i = 0;; i++) { /* the span ends and begins again: 100 bytes at all times */
		r->tx_path = 0;
		r->tx_shm = 100;
		ctl->tail = i + 100;
		r->tx_off = i;
		r->tx_shm = 0;
		r->tx_path = 1;
	}
}

/* A lifted connection that sends, a little every millisecond. */
static void publish_growing(void)
{
	struct stats_head *t = table_make();
	struct stats_row *r = row_add(t, client, 2);
	struct shm_ctl *ctl = arena_make();

	r->conn = CONN;
	r->tx_path = 1;
	ctl->cookie = r->cookie;
	if (fork())
		return;
	must(!prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
	for (;;) {
		ctl->tail += 1000000;
		usleep(1000);
	}
}

/* A connected socket's row that says it is a stack's, between other addresses. */
static void publish_elsewhere(void)
{
	struct stats_row *r = row_add(table_make(), client, 2);

	r->cookie = 0;
	r->tx_path = r->rx_path = STATS_PATH_STACK;
	memset(r->local, 1, sizeof(r->local));
	memset(r->remote, 2, sizeof(r->remote));
	r->ports = 666 << 16 | 666;
}

/* Tables full of lifted rows, each of which may lie in any of a thousand arenas. */
static void publish_hoard(void)
{
	struct stats_head *t = table_make();

	for (unsigned i = 0; i < STATS_ROWS; i++) {
		t->row[i].refs = 1;
		t->row[i].tx_path = 1;
		t->row[i].cookie = i + 1;
		t->row[i].pid = (uint32_t)getpid();
	}
	t->used = STATS_ROWS;
	for (unsigned i = 0; i < 500; i++)
		arena_make();
}

/* Once somebody listens, a piece that is sent tomorrow. */
static void publish_tomorrow(void)
{
	int fd = memfd_create("ztcp-tap", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct tap_record *rec;
	struct tap_head *h;
	struct timespec ts;

	table_make();
	must(fd >= 0 && !ftruncate(fd, TAP_DATA + TAP_RING) &&
		     !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW),
	     "memfd");
	h = mmap(NULL, TAP_DATA + TAP_RING, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(h != MAP_FAILED, "mmap");
	h->magic = TAP_MAGIC;
	h->version = TAP_VERSION;
	h->bytes = TAP_RING;
	if (fork())
		return;
	must(!prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
	while (!atomic_load(&h->until_ns))
		usleep(1000);
	clock_gettime(CLOCK_REALTIME, &ts);
	rec = (struct tap_record *)((char *)h + TAP_DATA);
	rec->kind = TAP_BYTES;
	rec->len = 8;
	rec->ns = (uint64_t)(ts.tv_sec + 86400) * 1000000000u;
	rec->flags = TAP_SHM;
	rec->cookie = 1;
	atomic_store(&h->tail, sizeof(*rec) + 8);
	pause();
}

/* In a network namespace of its own, where it answers in the kernel's place: the connection leads to port 666. */
static void publish_forged(void)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_msg diag;
	} msg = { .head = { .nlmsg_len = sizeof(msg),
			    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			    .nlmsg_flags = NLM_F_MULTI } };
	struct sockaddr_nl to = { .nl_family = AF_NETLINK };
	unsigned last = 0;
	struct stat st;
	int fd;

	must(!fstat(client, &st), "fstat");
	msg.diag.idiag_family = AF_INET;
	msg.diag.idiag_state = 1;
	msg.diag.idiag_inode = (uint32_t)st.st_ino;
	msg.diag.id.idiag_sport = msg.diag.id.idiag_dport = htons(666);
	publish_good();
	if (fork())
		return;
	must(!prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
	fd = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_SOCK_DIAG);
	for (unsigned turn = 0;; turn++) {
		FILE *f = turn % 64 ? NULL : fopen("/proc/loadavg", "re");

		/* the port is the process id of who asks: one of the newest */
		must(!f || fscanf(f, "%*s %*s %*s %*s %u", &last) == 1, "/proc/loadavg");
		if (f)
			fclose(f);
		to.nl_pid = last + turn % 3;
		sendto(fd, &msg, sizeof(msg), MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
	}
}

/* A network namespace of its own, with a loopback device. */
static void net_make(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd;

	must(!unshare(CLONE_NEWNET), "unshare");
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	must(fd >= 0 && !ioctl(fd, SIOCSIFFLAGS, &lo), "lo");
	close(fd);
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "good";
	char c;

	if (!strcmp(how, "forged"))
		net_make();
	connection_make();
	if (!strcmp(how, "good") || !strcmp(how, "stopped"))
		publish_good();
	else if (!strcmp(how, "young"))
		publish_young();
	else if (!strcmp(how, "nonsense"))
		publish_nonsense();
	else if (!strcmp(how, "cut"))
		publish_cut();
	else if (!strcmp(how, "stolen"))
		publish_stolen(argv[2]);
	else if (!strcmp(how, "growing"))
		publish_growing();
	else if (!strcmp(how, "elsewhere"))
		publish_elsewhere();
	else if (!strcmp(how, "hoard"))
		publish_hoard();
	else if (!strcmp(how, "tomorrow"))
		publish_tomorrow();
	else if (!strcmp(how, "forged"))
		publish_forged();
	else if (!strcmp(how, "torn"))
		publish_torn();
	else if (!strcmp(how, "other"))
		memory("ztcp-stats", 4096); /* of another version: all zeros */
	printf("%d %d %d %llu\n", getpid(), client, server, (unsigned long long)cookie_of(client));
	fflush(stdout);
	if (!strcmp(how, "stopped"))
		raise(SIGSTOP);
	while (read(0, &c, 1) > 0)
		;
	return 0;
}
