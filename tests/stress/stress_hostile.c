/* stress_hostile.c - a peer that writes garbage into its memory and messages harms only its own connections
 *
 * usage: ztcp_run stress_hostile [--rounds N] [--seed N] [--way NAME]
 *
 * This process is the victim: an echo server. A healthy client talks to it all the time and checks every
 * byte. In each round a hostile client connects, uses its connections politely until they are lifted, and
 * then misbehaves in one of the ways below, with what it has: its own arena, which it may write anywhere, and
 * the channel's socket. Then it kills itself. What must hold: the victim lives, the healthy client's bytes
 * are right and keep coming, the hostile connections end soon after the hostile process, no descriptors
 * stay. In way MAP the hostile client tries to get a writable mapping of the victim's memory.
 */
#include "tests/stress/stress_util.h"

#include "shm/contract.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <sys/wait.h>

enum way { EDGES, FIELDS, MEMORY, RINGS, NOISE, MESSAGES, PASSED, BELLS, HELLO, MAP, RAW, WAYS };
static const char *const way_name[] = { "edges",  "fields", "memory", "rings", "noise", "messages",
					"passed", "bells",  "hello",  "map",   "raw" };
enum { HOSTILE_CONNS = 3, SHARED_FD = 190, NOT_LIFTED = 3, GOT_WRITABLE = 4 };

struct shared {
	_Alignas(64) uint64_t healthy; /* exchanges of the healthy client */
	_Alignas(64) uint32_t stop;
};

static struct shared *shared;
static uint64_t seed = 1;
static int only_way = -1;

static void fail(const char *what, enum way way, unsigned round)
{
	fprintf(stderr, "stress_hostile: round %u (%s), seed %llu: %s\n", round, way_name[way],
		(unsigned long long)seed, what);
	exit(1);
}

/* The hostile client ---------------------------------------------------------------------------- */

static struct {
	int fd[HOSTILE_CONNS];
	char *arena;
	size_t bytes;
	int chan[16];
	unsigned chans;
	struct shm_ctl *ctl[HOSTILE_CONNS];
	uint64_t rnd;
} foe;

static uint64_t dice(uint64_t n)
{
	return stress_random(&foe.rnd) % n;
}

/* Polite use, so that the connections are lifted. */
static void warm(int fd)
{
	char b[64] = { 0 };

	for (int i = 0; i < 300; i++)
		if (write(fd, b, 32) != 32 || recv(fd, b, 32, MSG_WAITALL) != 32)
			_exit(NOT_LIFTED);
}

/* This process's own arena: what it may write. With @pick 'r': the victim's, which it may only read. */
static char *arena_map(char pick, size_t *bytes)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	unsigned long from, to;
	char *found = NULL;

	while (f && fgets(line, sizeof(line), f)) {
		char w;

		if (!strstr(line, "ztcp-arena") || sscanf(line, "%lx-%lx r%c", &from, &to, &w) != 3)
			continue;
		if ((pick == 'w') == (w == 'w')) {
			found = (char *)from;
			*bytes = to - from;
		}
	}
	if (f)
		fclose(f);
	return found;
}

/* The sockets of this process's channels. */
static void channels_find(void)
{
	for (int fd = 3; fd < 65536 && foe.chans < 16; fd++) {
		int domain = 0, type = 0;
		socklen_t len = sizeof(int);

		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) || domain != AF_UNIX)
			continue;
		getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
		if (type == SOCK_SEQPACKET)
			foe.chan[foe.chans++] = fd;
	}
}

/* A connection's public part is found in the arena by the cookie of its socket. */
static void blocks_find(void)
{
	for (int i = 0; i < HOSTILE_CONNS; i++) {
		uint64_t cookie = 0;
		socklen_t len = sizeof(cookie);

		getsockopt(foe.fd[i], SOL_SOCKET, SO_COOKIE, &cookie, &len);
		for (size_t at = 0; at + sizeof(struct shm_ctl) <= foe.bytes && at < 4 << 20;
		     at += SHM_LINE) {
			struct shm_ctl *c = (struct shm_ctl *)(foe.arena + at);

			if (c->cookie == cookie && c->state)
				foe.ctl[i] = c;
		}
	}
}

static uint64_t edge(uint64_t near)
{
	const uint64_t v[] = { 0,
			       1,
			       near + 1,
			       near - 1,
			       near + (1 << 20),
			       near + (1 << 20) + 1,
			       near + (1ull << 31),
			       near + (1ull << 32),
			       UINT64_MAX,
			       UINT64_MAX - near,
			       1ull << 63,
			       near ^ 1ull << 40 };

	return v[dice(sizeof(v) / sizeof(v[0]))];
}

static void field_spoil(struct shm_ctl *c, bool edges)
{
	uint64_t v = edges ? edge(atomic_load(&c->tail)) : stress_random(&foe.rnd);

	switch (dice(13)) {
	case 0: atomic_store(&c->tail, v); break;
	case 1: atomic_store(&c->head, edges ? edge(atomic_load(&c->head)) : v); break;
	case 2: atomic_store(&c->base[dice(2)], v); break;
	case 3: atomic_store(&c->ring[dice(2)], (uint32_t)v); break;
	case 4: atomic_store(&c->span, edges ? c->span + (uint32_t)dice(4) : (uint32_t)v); break;
	case 5:
		atomic_store(&c->span_ack, edges ? c->span_ack + (uint32_t)dice(4) : (uint32_t)v);
		break;
	case 6: atomic_store(&c->flags_tx, (uint32_t)v); break;
	case 7: atomic_store(&c->flags_rx, (uint32_t)v); break;
	case 8: atomic_store(&c->bells, (uint32_t)v); break;
	case 9: atomic_store(&c->lift, v); break;
	case 10: atomic_store(&c->lower, v); break;
	case 11: atomic_store(&c->state, (uint32_t)dice(6)); break;
	default: c->cookie = v; break;
	}
}

static void pulse_spoil(void)
{
	struct shm_head *h = (struct shm_head *)foe.arena;

	atomic_fetch_add(&h->pulse.close_gen, 1);
	atomic_store(&h->pulse.asleep, (uint32_t)dice(3));
	atomic_store(&h->pulse.cpu, (uint32_t)stress_random(&foe.rnd));
	atomic_store(&h->bell[dice(SHM_BELLS)].seq, (uint32_t)stress_random(&foe.rnd));
}

static void memory_spoil(void)
{
	uint64_t at = dice(4) ? dice(1 << 16) : dice(foe.bytes < 8 << 20 ? foe.bytes : 8 << 20);
	uint64_t v = dice(2) ? stress_random(&foe.rnd) : edge(at);

	memcpy(foe.arena + (at & ~7ull), &v, 8);
}

static int odd_fd(void)
{
	int p[2];

	switch (dice(7)) {
	case 0: return memfd_create("small", MFD_CLOEXEC);
	case 1: return eventfd(0, 0);
	case 2: return pipe(p) ? -1 : p[dice(2)];
	case 3: return open("/dev/zero", O_RDWR);
	case 4: return open("/", O_RDONLY | O_DIRECTORY);
	case 5: return socket(AF_INET, SOCK_STREAM, 0);
	default: return -1;
	}
}

static void message_send(int chan, const void *b, size_t n, int fd)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} u;
	struct iovec v = { (void *)b, n };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	memset(&u, 0, sizeof(u));
	if (fd >= 0) {
		m.msg_control = &u;
		m.msg_controllen = sizeof(u);
		u.h = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&u.h), &fd, sizeof(fd));
	}
	sendmsg(chan, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (fd >= 0)
		close(fd);
}

static struct shm_msg message_odd(void)
{
	struct shm_msg m = { .type = (uint32_t)dice(8),
			     .version = dice(8) ? SHM_VERSION : (uint32_t)dice(9),
			     .pid = (uint32_t)dice(70000),
			     .bell = dice(2) ? (uint32_t)dice(SHM_BELLS + 2)
					     : (uint32_t)edge(SHM_BELLS),
			     .bytes = dice(2) ? edge(foe.bytes) : dice(1 << 20),
			     .offer = (uint32_t)(dice(2) ? dice(1 << 12) : stress_random(&foe.rnd)),
			     .conn = (uint32_t)(dice(2) ? dice(1 << 12) : stress_random(&foe.rnd)),
			     .cookie = dice(2) ? dice(1000) : stress_random(&foe.rnd),
			     .reason = (uint32_t)dice(100) };

	for (size_t i = 0; i < sizeof(m.local); i++)
		((char *)&m.local)[i] = (char)dice(256);
	m.remote = dice(2) ? m.local : m.remote;
	return m;
}

static void messages(enum way way)
{
	for (unsigned i = 0; i < foe.chans; i++) {
		char noise[200];
		struct shm_msg m = message_odd();

		for (size_t j = 0; j < sizeof(noise); j++)
			noise[j] = (char)dice(256);
		if (way == NOISE)
			message_send(foe.chan[i], noise, dice(sizeof(noise)) + 1,
				     dice(4) ? -1 : odd_fd());
		else
			message_send(foe.chan[i], &m, sizeof(m), way == PASSED ? odd_fd() : -1);
	}
}

/* Bells whose ringing would block for ever, had the victim no care; and this side "sleeps". */
static void bells(void)
{
	struct shm_head *h = (struct shm_head *)foe.arena;

	for (unsigned b = 1; b < 255; b += 1 + (unsigned)dice(3)) {
		struct shm_msg m = { .type = SHM_MSG_BELL, .version = SHM_VERSION, .bell = b };
		int fd = eventfd(0, EFD_NONBLOCK);

		if (eventfd_write(fd, UINT64_MAX - 1))
			_exit(5);
		fcntl(fd, F_SETFL, 0); /* shared with the victim: its own flag does not help it */
		for (unsigned i = 0; i < foe.chans; i++)
			message_send(foe.chan[i], &m, sizeof(m), dup(fd));
		close(fd);
		atomic_store(&h->bell[b].seq, 1);
	}
	atomic_store(&h->pulse.asleep, 100);
	for (int i = 0; i < HOSTILE_CONNS; i++)
		if (foe.ctl[i])
			atomic_store(&foe.ctl[i]->bells, 0xff);
	atomic_fetch_add(&h->pulse.close_gen, 1);
}

/* A second arena, and one that may shrink under the reader. */
static void hello(int chan, int how)
{
	struct shm_msg m = { .type = SHM_MSG_HELLO,
			     .version = SHM_VERSION,
			     .pid = (uint32_t)getpid() };
	int fd = memfd_create("foe", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, 1 << 20))
		_exit(5);
	m.bytes = how == 1 ? 1ull << 40 : how == 2 ? 0 : 1 << 20;
	if (how == 3)
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
	message_send(chan, &m, sizeof(m), how == 4 ? odd_fd() : dup(fd));
	m = message_odd();
	m.type = SHM_MSG_OFFER;
	message_send(chan, &m, sizeof(m), -1);
	usleep(2000);
	if (ftruncate(fd, 0) == 0)
		message_send(chan, &m, sizeof(m), -1);
	close(fd);
}

/* A process that is not under ztcp_run calls at the victim's door. */
static void raw(uint16_t port)
{
	for (int i = 0; i < 24; i++) {
		struct sockaddr_un sa = { .sun_family = AF_UNIX };
		int n = snprintf(sa.sun_path + 1, sizeof(sa.sun_path) - 1, "ztcp-shm%d/%u/%u/%d",
				 SHM_VERSION, geteuid(), port, i % 2);
		int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

		if (connect(fd, (struct sockaddr *)&sa,
			    offsetof(struct sockaddr_un, sun_path) + 1 + n)) {
			close(fd);
			continue;
		}
		foe.chan[0] = fd;
		foe.chans = 1;
		if (i % 3 == 0)
			messages(MESSAGES);
		hello(fd, i % 5);
		messages(i % 3 == 1 ? NOISE : PASSED);
		close(fd);
	}
}

static void map_try(void)
{
	size_t bytes = 0;
	char *p = arena_map('r', &bytes), x;
	char path[64];
	DIR *d = opendir("/proc/self/fd");

	if (!p)
		_exit(NOT_LIFTED);
	if (!mprotect(p, 4096, PROT_READ | PROT_WRITE))
		_exit(GOT_WRITABLE);
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)p,
		 (unsigned long)p + bytes);
	int fd = open(path, O_RDWR);

	if (fd >= 0 && (mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED ||
			write(fd, "x", 1) == 1 || !ftruncate(fd, 0)))
		_exit(GOT_WRITABLE);
	for (struct dirent *e; d && (e = readdir(d));) {
		char l[64] = "";

		if (readlinkat(dirfd(d), e->d_name, l, sizeof(l) - 1) < 0 ||
		    !strstr(l, "ztcp-arena"))
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDWR);
		if (fd >= 0 && (mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED ||
				pwrite(fd, "x", 1, 0) == 1 || !ftruncate(fd, 0)))
			_exit(GOT_WRITABLE);
	}
	if (madvise(p, 4096, MADV_REMOVE) == 0)
		_exit(GOT_WRITABLE);
	x = *p;
	(void)x;
}

static void misbehave(enum way way, int i)
{
	struct shm_ctl *c = foe.ctl[dice(HOSTILE_CONNS)];

	switch (way) {
	case EDGES:
	case FIELDS:
		if (c)
			field_spoil(c, way == EDGES);
		atomic_fetch_add(&((struct shm_head *)foe.arena)->pulse.close_gen, 1);
		break;
	case MEMORY:
		for (int j = 0; j < 50; j++)
			memory_spoil();
		pulse_spoil();
		break;
	case RINGS: memory_spoil(); break;
	case NOISE:
	case MESSAGES:
	case PASSED: messages(way); break;
	case BELLS:
		if (i == 0)
			bells();
		break;
	case HELLO: hello(foe.chan[dice(foe.chans)], (int)dice(5)); break;
	default: break;
	}
}

static int hostile_main(char **argv)
{
	uint16_t port = strtoul(argv[2], NULL, 10);
	enum way way = atoi(argv[3]);
	char junk[4096];

	foe.rnd = strtoull(argv[4], NULL, 16);
	if (way == RAW) {
		raw(port);
		return 0;
	}
	for (int i = 0; i < HOSTILE_CONNS; i++) {
		foe.fd[i] = stress_connect(port);
		warm(foe.fd[i]);
	}
	foe.arena = arena_map('w', &foe.bytes);
	channels_find();
	if (!foe.arena || !foe.chans)
		_exit(NOT_LIFTED);
	if (way == MAP) {
		map_try();
		return 0;
	}
	blocks_find();
	/* what it does to its own library's memory is nobody's business, a sanitizer's neither */
	freopen("/dev/null", "w", stderr);
	for (int i = 0; i < 200; i++) {
		int fd = foe.fd[dice(HOSTILE_CONNS)];

		misbehave(way, i);
		if (dice(2))
			send(fd, junk, dice(sizeof(junk)) + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (dice(2))
			recv(fd, junk, sizeof(junk), MSG_DONTWAIT);
		if (i % 20 == 0)
			usleep(1000);
	}
	kill(getpid(), SIGKILL);
	return 1;
}

/* The healthy client ---------------------------------------------------------------------------- */

static int healthy_main(char **argv)
{
	int fd = stress_connect(strtoul(argv[2], NULL, 10));
	unsigned char b[4096];
	uint64_t off = 0, rnd = 7;

	while (!__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE)) {
		size_t n = stress_random(&rnd) % sizeof(b) + 1;

		stress_fill(42, off, b, n);
		if (write(fd, b, n) != (ssize_t)n)
			stress_die("the healthy client cannot write");
		memset(b, 0, n);
		if (recv(fd, b, n, MSG_WAITALL) != (ssize_t)n)
			stress_die("the healthy client got no answer");
		if (stress_wrong(42, off, b, n) >= 0) {
			fprintf(stderr, "stress_hostile: the healthy client got a wrong byte\n");
			return 1;
		}
		off += n;
		__atomic_fetch_add(&shared->healthy, 1, __ATOMIC_RELEASE);
	}
	return 0;
}

/* The victim ------------------------------------------------------------------------------------ */

static unsigned serving;

static void *echo(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char b[16384];
	ssize_t n;

	while ((n = recv(fd, b, sizeof(b), 0)) > 0)
		if (send(fd, b, n, MSG_NOSIGNAL) != n)
			break;
	close(fd);
	__atomic_fetch_sub(&serving, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *accept_all(void *arg)
{
	int l = (int)(intptr_t)arg;

	for (;;) {
		int fd = accept4(l, NULL, NULL, SOCK_CLOEXEC), one = 1;
		pthread_t t;

		if (fd < 0)
			continue;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		__atomic_fetch_add(&serving, 1, __ATOMIC_RELEASE);
		if (pthread_create(&t, NULL, echo, (void *)(intptr_t)fd))
			stress_die("pthread_create");
		pthread_detach(t);
	}
	return NULL;
}

static pid_t start(const char *role, uint16_t port, enum way way, uint64_t key)
{
	char p[8], w[12], k[24];
	pid_t pid = fork();

	if (pid)
		return pid;
	snprintf(p, sizeof(p), "%u", port);
	snprintf(w, sizeof(w), "%d", way);
	snprintf(k, sizeof(k), "%llx", (unsigned long long)key);
	if (way == RAW)
		unsetenv("LD_PRELOAD");
	/* it dies of what it does to its own library's memory, in a sanitizer's build as in any other */
	if (!strcmp(role, "--hostile"))
		setenv("TSAN_OPTIONS", "handle_segv=0:handle_sigbus=0:exitcode=1", 1);
	execl("/proc/self/exe", "stress_hostile", role, p, w, k, (char *)NULL);
	_exit(127);
}

/* Wait until @ok, for at most a minute. */
static bool until(bool (*ok)(uint64_t), uint64_t arg)
{
	for (int i = 0; i < 60000; i++) {
		if (ok(arg))
			return true;
		usleep(1000);
	}
	return false;
}

static bool hostile_gone(uint64_t healthy_ones)
{
	return __atomic_load_n(&serving, __ATOMIC_ACQUIRE) <= healthy_ones;
}

static bool advanced(uint64_t since)
{
	return __atomic_load_n(&shared->healthy, __ATOMIC_ACQUIRE) >= since + 50;
}

static bool ended(uint64_t pid)
{
	int st = 0;
	pid_t r = waitpid((pid_t)pid, &st, WNOHANG);

	if (r == 0)
		return false;
	if (r == (pid_t)pid && WIFEXITED(st) && WEXITSTATUS(st) == NOT_LIFTED) {
		fprintf(stderr,
			"stress_hostile: the hostile client's connections were not lifted\n");
		exit(1);
	}
	if (r == (pid_t)pid && WIFEXITED(st) && WEXITSTATUS(st) == GOT_WRITABLE) {
		fprintf(stderr, "stress_hostile: a peer got a way to write the victim's memory\n");
		exit(1);
	}
	if (r == (pid_t)pid && WIFEXITED(st) && WEXITSTATUS(st) > GOT_WRITABLE) {
		fprintf(stderr, "stress_hostile: the hostile client failed: %d\n", WEXITSTATUS(st));
		exit(1);
	}
	return true;
}

static void one_round(unsigned round, uint16_t port, pid_t healthy)
{
	enum way way = only_way < 0 ? round % WAYS : (unsigned)only_way;
	pid_t pid = start("--hostile", port, way, stress_mix(seed * 977 + round));

	/* It spoils its own library's memory too, and may hang for ever in it. */
	for (int i = 0; !ended(pid); i++) {
		if (i == 2000)
			kill(pid, SIGKILL);
		usleep(1000);
	}
	if (!until(hostile_gone, 1))
		fail("the hostile connections did not end", way, round);
	if (waitpid(healthy, NULL, WNOHANG))
		fail("the healthy client is gone", way, round);
	if (!until(advanced, __atomic_load_n(&shared->healthy, __ATOMIC_ACQUIRE)))
		fail("the healthy client is stuck", way, round);
}

static long descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	long n = 0;

	while (d && readdir(d))
		n++;
	closedir(d);
	return n;
}

int main(int argc, char **argv)
{
	unsigned rounds = 4 * WAYS;
	uint16_t port;
	pthread_t t;
	int st = 0;

	if (argc == 5)
		shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, SHARED_FD, 0);
	if (argc == 5 && !strcmp(argv[1], "--hostile"))
		return hostile_main(argv);
	if (argc == 5 && !strcmp(argv[1], "--healthy"))
		return healthy_main(argv);
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--rounds"))
			rounds = strtoul(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[i + 1], NULL, 0);
		else if (strcmp(argv[i], "--way"))
			return 2;
		for (int w = 0; w < WAYS && !strcmp(argv[i], "--way"); w++)
			if (!strcmp(argv[i + 1], way_name[w]))
				only_way = w;
	}
	int fd = memfd_create("stress_hostile", 0);

	if (fd < 0 || ftruncate(fd, 4096) || dup2(fd, SHARED_FD) < 0)
		stress_die("shared memory");
	close(fd);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, SHARED_FD, 0);
	int l = stress_listen(&port);

	if (pthread_create(&t, NULL, accept_all, (void *)(intptr_t)l))
		stress_die("pthread_create");
	pid_t healthy = start("--healthy", port, EDGES, 0);
	long fds = 0;

	if (!until(advanced, 500))
		fail("the healthy client did not start", EDGES, 0);
	for (unsigned i = 0; i < rounds; i++) {
		one_round(i, port, healthy);
		if (i == WAYS - 1)
			fds = descriptors();
	}
	if (fds && descriptors() > fds + 8) {
		fprintf(stderr, "stress_hostile: %ld descriptors after %u rounds, %ld after %u\n",
			descriptors(), rounds, fds, WAYS);
		return 1;
	}
	__atomic_store_n(&shared->stop, 1, __ATOMIC_RELEASE);
	if (waitpid(healthy, &st, 0) != healthy || st)
		fail("the healthy client ended badly", EDGES, rounds);
	printf("%u rounds, seed %llu: %llu healthy exchanges\n", rounds, (unsigned long long)seed,
	       (unsigned long long)shared->healthy);
	return 0;
}
