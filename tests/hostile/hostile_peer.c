/* hostile_peer.c - a process that plays the other end of a channel by hand, against a victim under ztcp_run
 *
 * usage: hostile_peer ZTCP_RUN VICTIM [SEED [CASE]]
 *
 * This process is the accepting end of a TCP connection and sits behind the name at which the victim's
 * library looks for it. It offers memory of its own making and answers like a good peer until the victim has
 * attached; then a case (hostile_cases.c) begins. What must hold in each: the victim's other connection goes
 * on all the time with every byte right, and when this end closes the victim's reader comes back and the
 * victim ends with status 0. A case takes about half a second.
 */
#include "tests/hostile/hostile.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ATTACH_MS = 30000, END_MS = 30000, WARM_MS = 100 };

static int tcp_listener = -1, chan_listener = -1;
static uint16_t port;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static unsigned now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (unsigned)(ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
}

uint64_t foe_random(struct foe *f)
{
	f->seed ^= f->seed << 13;
	f->seed ^= f->seed >> 7;
	f->seed ^= f->seed << 17;
	return f->seed;
}

unsigned foe_progress(struct foe *f)
{
	char b[4096];
	ssize_t n = read(f->progress, b, sizeof(b));

	return n > 0 ? (unsigned)n : 0;
}

static uint64_t sleeps_of(const char *status)
{
	FILE *file = fopen(status, "r");
	char line[256];
	unsigned long long n = 0;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "voluntary_ctxt_switches: %llu", &n) == 1)
			break;
	}
	if (file)
		fclose(file);
	return n;
}

struct foe_use foe_victim_use(const struct foe *f)
{
	struct foe_use use = { 0, 0 };
	struct timespec ts = { 0, 0 };
	const struct dirent *entry;
	char path[300];
	clockid_t clock;
	DIR *threads;

	snprintf(path, sizeof(path), "/proc/%d/task", f->victim);
	threads = opendir(path);
	while (threads && (entry = readdir(threads))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", f->victim, entry->d_name);
		use.sleeps += sleeps_of(path);
	}
	if (threads)
		closedir(threads);
	if (clock_getcpuclockid(f->victim, &clock) == 0)
		clock_gettime(clock, &ts);
	use.cpu_ns = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	return use;
}

bool foe_send(struct foe *f, const struct shm_msg *m, const int *fd, unsigned n, int flags)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} u;
	struct iovec v = { (void *)m, sizeof(*m) };
	struct msghdr mh = { .msg_iov = &v, .msg_iovlen = 1 };

	memset(&u, 0, sizeof(u));
	if (n) {
		mh.msg_control = &u;
		mh.msg_controllen = CMSG_SPACE(n * sizeof(int));
		u.h = (struct cmsghdr){ CMSG_LEN(n * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&u.h), fd, n * sizeof(int));
	}
	return sendmsg(__atomic_load_n(&f->chan, __ATOMIC_ACQUIRE), &mh, MSG_NOSIGNAL | flags) ==
	       sizeof(*m);
}

/* ---- the good part of the protocol ---- */

static void names_open(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(in);
	int n;

	tcp_listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(tcp_listener, (struct sockaddr *)&in, len) || listen(tcp_listener, 8) ||
	    getsockname(tcp_listener, (struct sockaddr *)&in, &len))
		die("hostile_peer: listen");
	port = ntohs(in.sin_port);
	n = snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "ztcp-shm%d/%u/%u/0", SHM_VERSION,
		     geteuid(), port);
	chan_listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (bind(chan_listener, (struct sockaddr *)&un,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) ||
	    listen(chan_listener, 8))
		die("hostile_peer: name");
}

static void arena_make(struct foe *f, enum foe_manner manner)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (manner == FOE_HUGE ? MFD_HUGETLB : 0);
	struct shm_head *h;

	f->arena_fd = memfd_create("foe", flags);
	if (f->arena_fd < 0 || ftruncate(f->arena_fd, FOE_ARENA) ||
	    fcntl(f->arena_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		die("hostile_peer: arena");
	f->arena = mmap(NULL, FOE_ARENA, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			f->arena_fd, 0);
	if (f->arena == MAP_FAILED)
		die("hostile_peer: map");
	if (manner == FOE_HUGE)
		return; /* touching it might end us */
	h = (struct shm_head *)f->arena;
	h->magic = SHM_MAGIC;
	h->version = SHM_VERSION;
	h->bytes = FOE_ARENA;
	f->ctl = (struct shm_ctl *)(f->arena + (sizeof(*h) + 4095) / 4096 * 4096);
	f->ctl->base[1] = UINT64_MAX;
	f->ctl->ring[0] = shm_ring_ref(FOE_RING, FOE_RING_LOG2);
}

static void on_offer(struct foe *f, const struct shm_msg *m, enum foe_manner manner)
{
	struct shm_msg ans = { .type = SHM_MSG_ACCEPT, .version = SHM_VERSION, .offer = m->offer };
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	f->offer = *m;
	if (manner == FOE_SILENT || !f->theirs || !f->ctl)
		return;
	getsockopt(f->tcp, SOL_SOCKET, SO_COOKIE, &cookie, &len);
	f->ctl->cookie = cookie;
	f->ctl->state = SHM_CONN_ATTACHED;
	ans.cookie = manner == FOE_WRONG_COOKIE ? cookie + 1 : cookie;
	ans.conn = manner == FOE_WRONG_BLOCK
			   ? FOE_ARENA / SHM_CONN_UNIT
			   : (uint32_t)(((char *)f->ctl - f->arena) / SHM_CONN_UNIT);
	if (manner == FOE_WRONG_OFFER)
		ans.offer += 1 << 12;
	f->victim_ctl = (const struct shm_ctl *)(f->theirs + (uint64_t)m->conn * SHM_CONN_UNIT);
	foe_send(f, &ans, NULL, 0, 0);
}

static void on_message(struct foe *f, enum foe_manner manner)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct shm_msg m;
	struct iovec v = { &m, sizeof(m) };
	struct msghdr mh = { .msg_iov = &v,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(f->chan, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&mh) : NULL;
	int fd = -1;

	if (n <= 0) {
		/* the victim has closed it */
		close(__atomic_exchange_n(&f->chan, -1, __ATOMIC_ACQ_REL));
		return;
	}
	if (c)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	if (m.type == SHM_MSG_HELLO && fd >= 0) {
		f->theirs_fd = fd;
		f->theirs_bytes = m.bytes;
		f->theirs = mmap(NULL, m.bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
		if (f->theirs == MAP_FAILED)
			die("hostile_peer: the victim's arena");
	} else if (m.type == SHM_MSG_BELL && fd >= 0) {
		__atomic_store_n(&f->bell[m.bell % SHM_BELLS], fd, __ATOMIC_RELEASE);
	} else if (m.type == SHM_MSG_OFFER) {
		on_offer(f, &m, manner);
	}
}

static void channel_accept(struct foe *f)
{
	struct shm_msg hello = { .type = SHM_MSG_HELLO,
				 .version = SHM_VERSION,
				 .bytes = FOE_ARENA };

	__atomic_store_n(&f->chan, accept4(chan_listener, NULL, NULL, SOCK_CLOEXEC),
			 __ATOMIC_RELEASE);
	foe_send(f, &hello, &f->arena_fd, 1, 0);
}

/* Send back what has come through the kernel, unless we have lifted. */
static void tcp_echo(struct foe *f)
{
	char b[4096];
	ssize_t n = recv(f->tcp, b, sizeof(b), MSG_DONTWAIT);

	if (n > 0 && !(f->ctl && f->ctl->span) &&
	    send(f->tcp, b, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) == n)
		f->sent += (uint64_t)n;
	else if (n == 0)
		usleep(1000);
}

static void serve(struct foe *f, unsigned ms, enum foe_manner manner, bool until_attached)
{
	unsigned end = now_ms() + ms;

	while (now_ms() < end) {
		struct pollfd p[3] = { { .fd = f->tcp, .events = POLLIN },
				       { .fd = f->chan < 0 ? chan_listener : f->chan,
					 .events = POLLIN } };

		if (until_attached && f->victim_ctl &&
		    atomic_load(&f->victim_ctl->state) == SHM_CONN_ATTACHED)
			return;
		if (poll(p, 2, 10) <= 0)
			continue;
		if (p[0].revents)
			tcp_echo(f);
		if (p[1].revents && f->chan < 0)
			channel_accept(f);
		else if (p[1].revents)
			on_message(f, manner);
	}
}

void foe_serve(struct foe *f, unsigned ms)
{
	serve(f, ms, FOE_GOOD, false);
}

/* ---- one case ---- */

static void victim_start(struct foe *f, char **argv, bool quiet)
{
	char text[8];
	int p[2];

	snprintf(text, sizeof(text), "%u", port);
	if (pipe2(p, O_CLOEXEC))
		die("hostile_peer: pipe");
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	fcntl(p[1], F_SETPIPE_SZ, 1 << 20);
	f->progress = p[0];
	f->victim = fork();
	if (!f->victim) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGPIPE, SIG_DFL); /* a broken pipe must be able to kill it */
		dup2(p[1], 1);
		setenv("ZTCP_LIFT", "1", 1);
		execl(argv[1], argv[1], argv[2], text, quiet ? "quiet" : "busy", (char *)NULL);
		_exit(127);
	}
	close(p[1]);
	f->tcp = accept4(tcp_listener, NULL, NULL, SOCK_CLOEXEC);
	if (f->tcp < 0)
		die("hostile_peer: accept");
}

/* It has seen the end of our connection and is done; its status is looked at later. */
static bool victim_ended(const struct foe *f)
{
	siginfo_t si = { 0 };

	return waitid(P_PID, (id_t)f->victim, &si, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       si.si_pid == f->victim;
}

static const char *victim_end(struct foe *f)
{
	static char text[64];
	int st;

	if (f->chan >= 0)
		close(f->chan);
	close(f->tcp);
	for (unsigned end = now_ms() + END_MS; now_ms() < end; usleep(1000)) {
		if (waitpid(f->victim, &st, WNOHANG) != f->victim)
			continue;
		snprintf(text, sizeof(text), "the victim's status was %#x", st);
		return st ? text : NULL;
	}
	kill(f->victim, SIGKILL);
	waitpid(f->victim, &st, 0);
	return "the victim did not end: a call of it hangs";
}

static void foe_close(struct foe *f)
{
	close(f->progress);
	close(f->arena_fd);
	munmap(f->arena, FOE_ARENA);
	if (f->theirs) {
		munmap((void *)f->theirs, f->theirs_bytes);
		close(f->theirs_fd);
	}
	for (unsigned i = 0; i < SHM_BELLS; i++) {
		if (f->bell[i] >= 0)
			close(f->bell[i]);
	}
}

static bool case_run(const struct foe_case *c, uint64_t seed, char **argv)
{
	struct foe f = { .chan = -1, .seed = seed };
	const char *wrong = NULL, *end;
	bool attached;

	for (unsigned i = 0; i < SHM_BELLS; i++)
		f.bell[i] = -1;
	arena_make(&f, c->manner);
	victim_start(&f, argv, c->quiet);
	serve(&f, c->manner == FOE_GOOD ? ATTACH_MS : 300, c->manner, true);
	attached = f.victim_ctl && atomic_load(&f.victim_ctl->state) == SHM_CONN_ATTACHED;
	if (attached != (c->manner == FOE_GOOD))
		wrong = attached ? "it attached to nonsense" : "it never attached";
	foe_serve(&f, WARM_MS);
	foe_progress(&f);
	if (!wrong && c->run)
		wrong = c->run(&f);
	if (!wrong) {
		bool goes_on = false;

		for (int i = 0; i < 300 && !goes_on && !victim_ended(&f); i++) {
			foe_serve(&f, 100);
			goes_on = foe_progress(&f);
		}
		if (!goes_on && !victim_ended(&f))
			wrong = "the healthy connection does not go on";
	}
	end = victim_end(&f);
	foe_close(&f);
	if (wrong || end)
		fprintf(stderr, "hostile_peer: %s, seed %llu: %s\n", c->name,
			(unsigned long long)seed, wrong ? wrong : end);
	return !wrong && !end;
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
	unsigned bad = 0, ran = 0;

	if (argc < 3)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	names_open();
	for (const struct foe_case *c = foe_cases; c->name; c++) {
		if (argc > 4 && strcmp(argv[4], c->name) != 0)
			continue;
		ran++;
		bad += !case_run(c, seed * 2654435761u + 1, argv);
	}
	return bad || !ran;
}
