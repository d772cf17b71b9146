/* par_proc.c - parity of processes: fork, vfork, exec, posix_spawn, system, popen, daemon
 *
 * Run as `prog --exec NAME FD`, the program is what a case executes with an inherited connection.
 */
#include "tests/parity/parity.h"
#include "tests/parity/parity_priv.h"

#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>

static char buf[1 << 16];
extern char **environ;

/* Programs that cases execute ------------------------------------------------------------ */

/* Echo @fd until its end; says how many bytes passed. */
static int echo(int fd)
{
	char b[4096];
	long sum = 0;
	ssize_t n;

	while ((n = read(fd, b, sizeof(b))) > 0)
		for (ssize_t done = 0; done < n;) {
			ssize_t w = write(fd, b + done, n - done);

			if (w <= 0)
				return 2;
			done += w;
			sum += w;
		}
	say("echoed %ld, last read %zd", sum, n);
	return 0;
}

static int send_hundred(int fd)
{
	return write(fd, memset(buf, 'h', 100), 100) == 100 ? 0 : 2;
}

int par_exec_main(int argc, char **argv)
{
	int fd = argc > 1 ? atoi(argv[1]) : 0;

	if (!strcmp(argv[0], "echo"))
		return echo(fd);
	if (!strcmp(argv[0], "hundred"))
		return send_hundred(fd);
	if (!strcmp(argv[0], "closed")) {
		say("fd is closed: %s", fcntl(fd, F_GETFD) < 0 ? err_name(errno) : "no");
		return 0;
	}
	return 2;
}

static void exec_self(const char *what, int fd)
{
	char number[12];

	snprintf(number, sizeof(number), "%d", fd);
	execl("/proc/self/exe", "parity", "--exec", what, number, (char *)NULL);
	_exit(96);
}

/* Drive an echoing program at this end from the far end. */
static void echoed(struct conn *c, long n)
{
	for (int i = 0; i < 3; i++) {
		uint64_t from = c->b.tx;

		end_put(&c->b, n);
		c->b.rx = from; /* what comes back is what went there */
		c->b.dir ^= 1;
		SHOW(end_get(&c->b, n));
		c->b.dir ^= 1;
	}
}

/* fork ------------------------------------------------------------------------------------ */

CASE(fork_child_uses, F_ANY, "the child reads and writes, the parent afterwards")
{
	pid_t pid = fork();

	if (!pid) {
		say("child: %s", read(c->a.fd, buf, 5) == 5 ? "read 5" : err_name(errno));
		say("child: %s", write(c->a.fd, buf, 5) == 5 ? "wrote 5" : err_name(errno));
		_exit(0);
	}
	SHOW(end_put1(&c->b, 5));
	reap("child", pid);
	c->a.rx += 5;
	c->b.dir ^= 1;
	c->b.rx = 0;
	SHOW(end_get(&c->b, 5));
	c->b.dir ^= 1;
	c->b.rx = 0;
	conn_same(c, 5000);
}

CASE(fork_child_closes, F_ANY, "the child closes: the connection lives on in the parent")
{
	pid_t pid = fork();

	if (!pid) {
		int r = close(c->a.fd);

		_exit(r ? 1 : 0);
	}
	reap("child", pid);
	conn_same(c, 5000);
	SHOW(end_close(&c->a));
	SHOW(end_get1(&c->b, 1));
}

CASE(fork_child_exits, F_ANY, "the child only exits")
{
	pid_t pid = fork();

	if (!pid)
		_exit(7);
	reap("child", pid);
	conn_same(c, 5000);
	pid = fork();
	if (!pid)
		exit(8);
	reap("child", pid);
	conn_same(c, 5000);
}

static void child_serves(struct conn *c)
{
	for (int i = 0; i < 50; i++) {
		long r = end_get(&c->a, 64);

		if (r <= 0)
			break;
		end_put(&c->a, 64);
	}
	say("child: end %ld", end_get1(&c->a, 1));
	_exit(0);
}

static void far_drives(struct conn *c)
{
	long sum = 0;

	for (int i = 0; i < 50; i++) {
		end_put(&c->b, 64);
		sum += end_get(&c->b, 64);
	}
	SHOW(sum);
}

CASE(fork_parent_closes, F_PAIR | F_DIAL | F_HALF, "the parent closes, the child serves on")
{
	pid_t pid = fork();

	if (!pid)
		child_serves(c);
	SHOW(end_close(&c->a));
	far_drives(c);
	SHOW(end_shutdown(&c->b, SHUT_WR));
	reap("child", pid);
	SHOW(end_get1(&c->b, 1));
}

CASE(fork_parent_closes_self, F_SELF, "the same with both ends inherited")
{
	pid_t pid = fork();

	if (!pid) {
		close(c->b.fd);
		child_serves(c);
	}
	SHOW(end_close(&c->a));
	far_drives(c);
	SHOW(end_shutdown(&c->b, SHUT_WR));
	reap("child", pid);
	SHOW(end_get1(&c->b, 1));
}

CASE(fork_ends_split, F_SELF, "both ends made before fork: one process keeps each")
{
	pid_t pid = fork();

	if (!pid) {
		close(c->a.fd);
		long sum = 0;

		for (int i = 0; i < 100; i++) {
			sum += end_get(&c->b, 100);
			end_put(&c->b, 50);
		}
		say("child: %ld", sum);
		close(c->b.fd);
		_exit(0);
	}
	close(c->b.fd);
	long sum = 0;

	for (int i = 0; i < 100; i++) {
		end_put(&c->a, 100);
		sum += end_get(&c->a, 50);
	}
	SHOW(sum);
	SHOW(end_get1(&c->a, 1));
	reap("child", pid);
}

CASE(fork_unread, F_ANY,
     "unread bytes on both sides at fork: the child reads some, the parent the rest")
{
	SHOW(end_put(&c->a, 3000));
	SHOW(end_put(&c->b, 2000));
	await(c->a.fd, POLLIN);
	pid_t pid = fork();

	if (!pid) {
		SHOW(end_get(&c->a, 800));
		SHOW(end_put(&c->a, 100));
		_exit(0);
	}
	reap("child", pid);
	c->a.rx += 800;
	c->a.tx += 100;
	SHOW(end_get(&c->a, 1200));
	SHOW(end_put(&c->a, 100));
	SHOW(end_get(&c->b, 3200));
}

CASE(fork_turns, F_ANY, "parent and child use the connection in turns, 30 times")
{
	int go[2], back[2];
	char x;

	MUST(pipe(go));
	MUST(pipe(back));
	pid_t pid = fork();

	for (int i = 0; i < 30; i++) {
		if (pid) {
			end_put(&c->b, 40);
			end_get(&c->a, 20);
			end_put(&c->a, 30);
			c->a.rx += 20;
			c->a.tx += 30;
			MUST(write(go[1], "x", 1));
			MUST(read(back[0], &x, 1));
			if (end_get(&c->b, 60) != 60)
				say("lost in turn %d", i);
		} else {
			c->a.rx += 20;
			c->a.tx += 30;
			MUST(read(go[0], &x, 1));
			end_get(&c->a, 20);
			end_put(&c->a, 30);
			MUST(write(back[1], "x", 1));
		}
	}
	if (!pid)
		_exit(0);
	reap("child", pid);
	conn_same(c, 2000);
}

CASE(fork_readers, F_BOTH, "parent and child read the same stream at once: nothing lost or doubled")
{
	enum { RECORDS = 2000 };
	int p[2];
	long mine = 0, theirs = 0;

	MUST(pipe(p));
	pid_t pid = fork();
	if (!pid && !c->b.far)
		close(c->b.fd);
	if (pid) {
		end_put_start(&c->b, RECORDS * 16);
		end_join(&c->b, NULL, NULL);
		end_shutdown(&c->b, SHUT_WR);
	}
	ssize_t n;

	while ((n = read(c->a.fd, buf, 100)) > 0)
		mine += n;
	if (!pid)
		_exit(write(p[1], &mine, sizeof(mine)) != sizeof(mine));
	MUST(read(p[0], &theirs, sizeof(theirs)));
	reap("child", pid);
	SHOW(mine + theirs);
	SHOW(n);
}

CASE(fork_writers, F_BOTH, "parent and child write records at once: each record stays whole")
{
	enum { RECORDS = 500, SIZE = 32 };
	static char all[2 * RECORDS * SIZE];

	pid_t pid = fork();
	memset(buf, pid ? 'p' : 'c', SIZE);
	if (pid) {
		end_shutdown(&c->b, SHUT_WR);
		for (int i = 0; i < RECORDS; i++)
			MUST(write(c->a.fd, buf, SIZE));
		reap("child", pid);
		end_close(&c->a);
	} else {
		for (int i = 0; i < RECORDS; i++)
			MUST(write(c->a.fd, buf, SIZE));
		_exit(0);
	}
	if (c->b.far) {
		c->b.rx = 0;
		say("far end is checked in the self flavour");
		return;
	}
	ssize_t n = recv(c->b.fd, all, sizeof(all), MSG_WAITALL);
	int torn = 0;

	for (ssize_t i = 0; i < n; i++)
		torn += all[i] != all[i / SIZE * SIZE];
	SHOW(n);
	SHOW(torn);
}

CASE(fork_blocked_reader, F_ANY, "fork while another thread reads: it still gets its bytes")
{
	end_get_start(&c->a, 10);
	sleep_ms(10);
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	reap("child", pid);
	SHOW(end_put1(&c->b, 10));
	SHOW(end_get_join(&c->a));
	conn_same(c, 1000);
}

CASE(fork_twice, F_ANY, "a grandchild serves, parent and child are out")
{
	pid_t pid = fork();

	if (!pid) {
		pid = fork();
		if (pid)
			_exit(0);
		end_get(&c->a, 100);
		end_put(&c->a, 100);
		_exit(0);
	}
	reap("child", pid);
	SHOW(end_put1(&c->b, 100));
	SHOW(end_get(&c->b, 100));
}

CASE(fork_workers, F_PLAIN, "a listener shared by 4 forked workers, 40 connections")
{
	struct sockaddr_storage sa;
	socklen_t len;
	int l = listen_any(AF_INET, 64, &sa, &len);
	pid_t pid[4];

	for (int i = 0; i < 4; i++) {
		pid[i] = fork();
		if (pid[i])
			continue;
		for (;;) {
			int s = accept(l, NULL, NULL);
			ssize_t n;

			if (s < 0)
				_exit(1);
			while ((n = read(s, buf, 100)) > 0)
				MUST(write(s, buf, n));
			close(s);
		}
	}
	int good = 0;

	for (int i = 0; i < 40; i++) {
		int s = socket(AF_INET, SOCK_STREAM, 0);

		MUST(connect(s, (struct sockaddr *)&sa, len));
		for (int j = 0; j < 30; j++)
			good += write(s, "0123456789", 10) == 10 && read(s, buf, 10) == 10;
		close(s);
	}
	SHOW(good);
	for (int i = 0; i < 4; i++) {
		kill(pid[i], SIGTERM);
		reap("worker", pid[i]);
	}
}

CASE(raw_fork, F_ANY, "_Fork: as fork")
{
	pid_t pid = _Fork();

	if (!pid) {
		end_put(&c->a, 10);
		_exit(0);
	}
	reap("child", pid);
	c->a.tx += 10;
	SHOW(end_get(&c->b, 10));
	conn_same(c, 1000);
}

/* vfork, exec ----------------------------------------------------------------------------- */

CASE(vfork_exit, F_ANY, "vfork and _exit change nothing in the parent")
{
	pid_t pid = vfork();

	if (!pid)
		_exit(3);
	reap("child", pid);
	conn_same(c, 3000);
}

CASE(vfork_close, F_ANY, "a vfork child closes its copies: the parent's stay")
{
	int fd = c->a.fd;
	pid_t pid = vfork();

	if (!pid) {
		close(fd);
		dup2(0, fd);
		_exit(0);
	}
	reap("child", pid);
	conn_same(c, 3000);
}

CASE(vfork_exec, F_ANY, "vfork, dup2 and exec of an echo server, inetd style")
{
	int fd = c->a.fd;
	pid_t pid = vfork();

	if (!pid) {
		dup2(fd, 0);
		close(fd);
		exec_self("echo", 0);
	}
	SHOW(end_close(&c->a));
	echoed(c, 1000);
	SHOW(end_shutdown(&c->b, SHUT_WR));
	reap("child", pid);
	SHOW(end_get1(&c->b, 1));
}

CASE(fork_exec, F_ANY | F_PAIR6, "fork and exec of an echo server on the inherited number")
{
	pid_t pid = fork();

	if (!pid) {
		if (!c->b.far)
			close(c->b.fd);
		exec_self("echo", c->a.fd);
	}
	SHOW(end_close(&c->a));
	echoed(c, 3000);
	SHOW(end_shutdown(&c->b, SHUT_WR));
	reap("child", pid);
	SHOW(end_get1(&c->b, 1));
}

CASE(exec_unread, F_ANY, "exec with unread bytes on both sides")
{
	SHOW(end_put1(&c->b, 777));
	SHOW(end_put1(&c->a, 555));
	SHOW(end_poll(&c->a, POLLIN, 5000) & POLLIN);
	pid_t pid = fork();

	if (!pid) {
		if (!c->b.far)
			close(c->b.fd);
		exec_self("echo", c->a.fd);
	}
	SHOW(end_close(&c->a));
	SHOW(end_get(&c->b, 555));
	c->b.dir ^= 1;
	c->b.rx = 0;
	SHOW(end_get(&c->b, 777));
	SHOW(end_shutdown(&c->b, SHUT_WR));
	reap("child", pid);
}

CASE(exec_parent_goes_on, F_ANY,
     "a forked child execs with the connection, the parent uses it after")
{
	pid_t pid = fork();

	if (!pid)
		exec_self("hundred", c->a.fd);
	reap("child", pid);
	SHOW(end_poll(&c->b, POLLIN, 5000) & POLLIN);
	if (c->b.far) {
		c->b.rx = 0;
		conn_same(c, 0);
	} else {
		SHOW(recv(c->b.fd, buf, 100, MSG_WAITALL));
		conn_same(c, 3000);
	}
}

CASE(exec_cloexec, F_ANY, "FD_CLOEXEC: the executed program does not have it, the parent does")
{
	SHOW(fcntl(c->a.fd, F_SETFD, FD_CLOEXEC));
	pid_t pid = fork();

	if (!pid)
		exec_self("closed", c->a.fd);
	reap("child", pid);
	conn_same(c, 3000);
}

CASE(exec_cloexec_last, F_PAIR | F_DIAL, "exec closes the last number: the peer sees the end")
{
	SHOW(fcntl(c->a.fd, F_SETFD, FD_CLOEXEC));
	SHOW(end_put1(&c->a, 20));
	pid_t pid = fork();

	if (!pid) {
		sleep_ms(20);
		exec_self("closed", c->a.fd);
	}
	SHOW(end_close(&c->a));
	SHOW(end_get(&c->b, 21));
	reap("child", pid);
}

CASE(exec_fails, F_ANY, "a failed exec leaves the connection as it was")
{
	char *argv[] = { (char *)"x", NULL };

	SHOW(execv("/no/such/program", argv));
	SHOW(execve("/etc/passwd", argv, environ));
	SHOW(execvp("no-such-program-at-all", argv));
	conn_same(c, 3000);
	conn_warm(c, 50);
}

CASE(exec_family, F_SELF, "every call of the exec family with an inherited connection")
{
	static const char *const names[] = { "execl",  "execle", "execlp",  "execv",
					     "execve", "execvp", "execvpe", "fexecve" };
	char number[12];
	char *argv[] = { (char *)"p", (char *)"--exec", (char *)"hundred", number, NULL };
	const char *exe = "/proc/self/exe";

	snprintf(number, sizeof(number), "%d", c->a.fd);
	for (int i = 0; i < 8; i++) {
		pid_t pid = fork();

		if (!pid) {
			i == 0   ? execl(exe, "p", "--exec", "hundred", number, NULL)
			: i == 1 ? execle(exe, "p", "--exec", "hundred", number, NULL, environ)
			: i == 2 ? execlp(exe, "p", "--exec", "hundred", number, NULL)
			: i == 3 ? execv(exe, argv)
			: i == 4 ? execve(exe, argv, environ)
			: i == 5 ? execvp(exe, argv)
			: i == 6 ? execvpe(exe, argv, environ)
				 : fexecve(open(exe, O_RDONLY | O_CLOEXEC), argv, environ);
			_exit(95);
		}
		reap(names[i], pid);
		SHOW(recv(c->b.fd, buf, 100, MSG_WAITALL));
		conn_same(c, 500);
	}
}

CASE(spawn_echo, F_ANY, "posix_spawn with file actions: the connection becomes stdin")
{
	posix_spawn_file_actions_t fa;
	char *argv[] = { (char *)"p", (char *)"--exec", (char *)"echo", (char *)"0", NULL };
	pid_t pid;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, c->a.fd, 0);
	posix_spawn_file_actions_addclose(&fa, c->a.fd);
	if (!c->b.far)
		posix_spawn_file_actions_addclose(&fa, c->b.fd);
	SHOW(posix_spawn(&pid, "/proc/self/exe", &fa, NULL, argv, environ));
	SHOW(end_close(&c->a));
	echoed(c, 2000);
	SHOW(end_shutdown(&c->b, SHUT_WR));
	reap("child", pid);
}

CASE(spawn_cloexec_dup, F_ANY, "posix_spawn: a close-on-exec connection is passed by a file action")
{
	posix_spawn_file_actions_t fa;
	char *argv[] = { (char *)"p", (char *)"--exec", (char *)"echo", (char *)"0", NULL };
	pid_t pid;

	fcntl(c->a.fd, F_SETFD, FD_CLOEXEC);
	if (!c->b.far)
		fcntl(c->b.fd, F_SETFD, FD_CLOEXEC);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, c->a.fd, 0);
	SHOW(posix_spawn(&pid, "/proc/self/exe", &fa, NULL, argv, environ));
	SHOW(end_close(&c->a));
	echoed(c, 2000);
	SHOW(end_shutdown(&c->b, SHUT_WR));
	reap("child", pid);
}

CASE(spawn_unrelated, F_ANY, "posix_spawnp of another program; the connection goes on")
{
	char *argv[] = { (char *)"true", NULL };
	pid_t pid;

	SHOW(posix_spawnp(&pid, "true", NULL, NULL, argv, environ));
	reap("true", pid);
	SHOW(posix_spawnp(&pid, "no-such-program-at-all", NULL, NULL, argv, environ));
	conn_same(c, 5000);
}

CASE(spawn_unread, F_ANY, "posix_spawn with unread bytes on both sides")
{
	char number[12];
	char *argv[] = { (char *)"p", (char *)"--exec", (char *)"echo", number, NULL };
	pid_t pid;

	snprintf(number, sizeof(number), "%d", c->a.fd);
	if (!c->b.far)
		fcntl(c->b.fd, F_SETFD, FD_CLOEXEC);
	SHOW(end_put1(&c->b, 400));
	SHOW(end_put1(&c->a, 300));
	SHOW(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ));
	SHOW(end_close(&c->a));
	SHOW(end_get(&c->b, 300));
	c->b.dir ^= 1;
	c->b.rx = 0;
	SHOW(end_get(&c->b, 400));
	SHOW(end_shutdown(&c->b, SHUT_WR));
	reap("child", pid);
}

CASE(system_cat, F_ANY, "system() with the connection as a shell's input and output")
{
	char line[64];

	SHOW(end_put1(&c->b, 1000));
	SHOW(end_shutdown(&c->b, SHUT_WR));
	snprintf(line, sizeof(line), "wc -c <&%d", c->a.fd);
	SHOW(system(line));
	snprintf(line, sizeof(line), "printf hello >&%d", c->a.fd);
	SHOW(system(line));
	SHOW(end_poll(&c->b, POLLIN, 5000) & POLLIN);
	SHOW(end_close(&c->a));
}

CASE(popen_reads, F_BOTH, "popen beside a connection, and a command that reads it")
{
	char line[64];
	FILE *f = popen("echo one two", "r");

	SHOW(fgets(line, sizeof(line), f) ? 1 : 0);
	SHOW(pclose(f));
	conn_same(c, 2000);
	SHOW(end_put1(&c->b, 300));
	SHOW(end_shutdown(&c->b, SHUT_WR));
	snprintf(line, sizeof(line), "wc -c <&%d", c->a.fd);
	f = popen(line, "r");
	SHOW(fgets(line, sizeof(line), f) ? atoi(line) : -2);
	SHOW(pclose(f));
}

CASE(daemon_serves, F_PAIR | F_DIAL | F_HALF, "daemon(): the connection is served by the daemon")
{
	pid_t pid = fork();

	if (!pid) {
		if (daemon(1, 1))
			_exit(1);
		end_get(&c->a, 100);
		end_put(&c->a, 100);
		_exit(0);
	}
	reap("child", pid);
	SHOW(end_close(&c->a));
	SHOW(end_put1(&c->b, 100));
	SHOW(end_get(&c->b, 101));
}

CASE(epoll_after_fork, F_ANY, "an epoll set made before fork works in the child")
{
	int ep = epoll_create1(0);
	struct epoll_event e = { EPOLLIN, { .u32 = 5 } };

	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, c->a.fd, &e));
	pid_t pid = fork();

	if (!pid) {
		int n = epoll_wait(ep, &e, 1, 5000);

		say("child: %d %s %u", n, poll_name(e.events), e.data.u32);
		SHOW(end_get(&c->a, 10));
		_exit(0);
	}
	SHOW(end_put1(&c->b, 10));
	reap("child", pid);
	c->a.rx += 10;
	SHOW(epoll_wait(ep, &e, 1, 0));
	SHOW(end_put1(&c->b, 10));
	SHOW(epoll_wait(ep, &e, 1, 5000));
	SHOW(end_get(&c->a, 10));
}

/* Each of two processes that share a set registers once for an event, and the other one is told. */
CASE(epoll_once_shared, F_ANY | F_COLD, "oneshot members of a set that is shared since a fork")
{
	int ep = epoll_create1(0), go[2], back[2];
	struct epoll_event e = { EPOLLIN | EPOLLONESHOT, { .u64 = 0x123456789abcdef0 } };
	char x;

	MUST(pipe(go));
	MUST(pipe(back));
	pid_t pid = fork();

	if (!pid) {
		MUST(read(go[0], &x, 1));
		int n = epoll_wait(ep, &e, 1, 5000);

		say("child: %d %s %llx", n, poll_name(e.events), (long long)e.data.u64);
		SHOW(epoll_wait(ep, &e, 1, 0));
		e = (struct epoll_event){ EPOLLIN | EPOLLONESHOT, { .u64 = 0x0fedcba987654321 } };
		SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, c->a.fd, &e));
		MUST(write(back[1], "x", 1));
		_exit(0);
	}
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, c->a.fd, &e));
	SHOW(end_put1(&c->b, 10));
	MUST(await(c->a.fd, POLLIN));
	MUST(write(go[1], "x", 1));
	MUST(read(back[0], &x, 1));
	int n = epoll_wait(ep, &e, 1, 5000);

	say("parent: %d %s %llx", n, poll_name(e.events), (long long)e.data.u64);
	reap("child", pid);
	SHOW(end_get(&c->a, 10));
}
