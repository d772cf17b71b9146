/* bpf_table.c - all matches and verdicts on real sockets: the rules' own meaning, the daemonless library, and eBPF at the hooks
 *
 * Actors are processes that differ in what rules ask of a process: program, user, group, cgroup, network namespace. For
 * each policy each of them makes the same connections, and judges both ends and a listening socket three times: rule
 * after rule by what is known of it (policy_gen_first()), as the library does where there is no selector (it reads the file and
 * looks at itself), and by asking the selector, whose hooks are on the cgroup that all of them are in. First each value
 * of each match with each verdict and role, then random policies of them. Every match and verdict must have decided somewhere.
 * Runs in network and mount namespaces of its own.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/policy/policy_load.h"
#include "tests/bpf/bpf_lib.h"
#include "tests/lib/policy_gen.h"

enum { RULES = 6, ACTORS = 5, PATIENCE = 100000 };

/** struct score - how often each match and verdict decided; [0]: a rule without any match */
struct score {
	unsigned judged;
	unsigned wrong;
	unsigned kind[POLICY_M_KINDS];
	unsigned verdict[POLICY_VERDICTS];
	unsigned role[POLICY_ROLE_BOTH];
	unsigned none;
};

struct actor {
	const char *program; /* under the folder of the test */
	unsigned uid, gid;
	const char *cgroup; /* below the test's */
	const char *netns;  /* name; NULL: as the test */
	pid_t pid;
	int ask, answer;
};

static struct actor actors[ACTORS] = {
	{ .program = "alpha/server", .cgroup = "" },
	{ .program = "alpha/client", .uid = 1234, .gid = 4321, .cgroup = "" },
	{ .program = "beta/server", .uid = 0, .gid = 4321, .cgroup = "/one" },
	{ .program = "beta/x/tool", .uid = 65534, .gid = 0, .cgroup = "/one/deep" },
	{ .program = "alpha/server", .uid = 1234, .gid = 0, .cgroup = "/two", .netns = "green" },
};

static const struct {
	const char *server, *client;
	uint16_t server_port, client_port;
} conns[] = {
	{ "127.0.0.1", "127.0.0.1", 7101, 8101 },
	{ "127.0.0.2", "127.0.0.3", 7102, 8102 },
	{ "127.1.2.3", "127.0.0.1", 7103, 8103 },
	{ "::1", "::1", 7101, 8101 },
	{ "::1", "::1", 7104, 8104 },
	{ "::ffff:127.0.0.1", "::ffff:127.0.0.2", 7105, 8105 },
};
enum { CONNS = sizeof(conns) / sizeof(conns[0]) };

static char folder[64], base[64]; /* of programs; the test's cgroup as policies name it */

/* ---- an actor ---- */

static struct score score;
static const struct policy *policy;
static struct policy_proc facts;
static struct policy_class class;

static bool mine_says(void *arg, const char *name)
{
	static const uint8_t loopback[4] = { 127, 0, 0, 1 };
	const struct policy_conn *c = arg;

	return !strcmp(name, "mine") && c->role == POLICY_ROLE_CONNECT && c->remote.family == 4 &&
	       !memcmp(c->remote.ip, loopback, 4);
}

/* The test polls the selector meanwhile. */
static struct verdict_answer ask(int fd)
{
	struct verdict_answer a = { 0 };

	for (unsigned tries = 0; tries < PATIENCE; tries++) {
		socklen_t len = sizeof(a);

		CHECK(!getsockopt(fd, VERDICT_LEVEL, VERDICT_ANSWER, &a, &len), "%s",
		      strerror(errno));
		if (!(a.flags & VERDICT_PENDING))
			return a;
		usleep(200);
	}
	CHECK(false, "the kind of this process is never learnt");
	return a;
}

static void decided(int rule)
{
	const struct policy_rule *r;

	score.judged++;
	if (rule < 0) {
		score.none++;
		return;
	}
	r = policy_rule_get(policy, (unsigned)rule);
	for (unsigned k = 0; k < POLICY_M_KINDS; k++)
		score.kind[k] += r->kinds >> k & 1;
	score.verdict[r->verdict]++;
	score.role[r->role - 1]++;
}

static void judge(int fd, enum policy_role role, const char *what)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct policy_conn c = { .proc = &facts, .role = role, .bpf = mine_says, .bpf_arg = &c };
	struct policy_answer library;
	struct verdict_answer kernel;
	int rule;

	CHECK(!getsockname(fd, (struct sockaddr *)&sa, &len));
	policy_addr_set(&c.local, &sa);
	len = sizeof(sa);
	if (!getpeername(fd, (struct sockaddr *)&sa, &len))
		policy_addr_set(&c.remote, &sa);
	rule = policy_gen_first(policy, &c);
	library = policy_match(policy, &class, &c);
	kernel = ask(fd);
	decided(rule);
	if (library.rule == rule && (int)kernel.rule - 1 == rule &&
	    kernel.verdict == library.verdict && kernel.paths == library.paths &&
	    kernel.threshold == library.threshold)
		return;
	score.wrong++;
	fprintf(stderr,
		"%s of %s as %u:%u: rules say %d; library %d: %s, %x, %d; eBPF %d: %s, %x, %d\n",
		what, facts.program, facts.uid, facts.gid, rule, library.rule,
		policy_verdict_name(library.verdict), library.paths, library.threshold,
		(int)kernel.rule - 1, policy_verdict_name(kernel.verdict), kernel.paths,
		kernel.threshold);
}

static int bound(const char *ip, uint16_t port)
{
	const struct linger reset = { 1, 0 }; /* the same ports again, at once */
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	bool six = strchr(ip, ':');
	int fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	CHECK(inet_pton(six ? AF_INET6 : AF_INET, ip,
			six ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr) == 1);
	CHECK(!bind(fd, six ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4,
		    six ? sizeof(v6) : sizeof(v4)),
	      "%s %u: %s", ip, port, strerror(errno));
	return fd;
}

static void converse(unsigned i)
{
	int door = bound(conns[i].server, conns[i].server_port);
	int client = bound(conns[i].client, conns[i].client_port), server;
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	CHECK(!listen(door, 1) && !getsockname(door, (struct sockaddr *)&sa, &len));
	CHECK(!connect(client, (struct sockaddr *)&sa, len), "%s", strerror(errno));
	server = accept(door, NULL, NULL);
	CHECK(server >= 0);
	judge(client, POLICY_ROLE_CONNECT, "connecting end");
	judge(server, POLICY_ROLE_LISTEN, "accepting end");
	judge(door, POLICY_ROLE_LISTEN, "listening socket");
	close(client);
	close(server);
	close(door);
}

static void act(const char *file)
{
	struct policy_self self;
	struct policy_error err;
	struct policy *p = NULL;
	char line[600];

	CHECK(!policy_load(file, &p, &err), "%s", policy_error_format(&err, line, sizeof(line)));
	policy = p;
	policy_self_read(&self, policy_needs(p));
	policy_class_read(p, &self.proc, &class);
	for (unsigned i = 0; i < CONNS; i++)
		converse(i);
	policy_unload(p);
}

/* argv: --actor UID GID CGROUP NETNS FILE; a byte comes for each policy, and a score goes back at the end. */
static int actor_main(char **argv)
{
	struct stat st;
	char program[256] = "", go;

	CHECK(!stat("/proc/self/ns/net", &st));
	CHECK(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
	facts = (struct policy_proc){ .program = program,
				      .cgroup = argv[4],
				      .netns = argv[5],
				      .netns_ino = st.st_ino,
				      .uid = (uint32_t)atoi(argv[2]),
				      .gid = (uint32_t)atoi(argv[3]) };
	while (read(STDIN_FILENO, &go, 1) == 1) {
		act(argv[6]);
		CHECK(write(STDOUT_FILENO, &score, sizeof(score)) == sizeof(score));
	}
	return score.wrong != 0;
}

/* ---- the test ---- */

static void put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: %s", file,
	      strerror(errno));
	close(fd);
}

static void loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	CHECK(!ioctl(fd, SIOCSIFFLAGS, &r), "lo: %s", strerror(errno));
	close(fd);
}

static void copy_program(const char *name)
{
	char command[256];

	snprintf(command, sizeof(command), "mkdir -p $(dirname %s/%s) && cp -n /proc/%d/exe %s/%s",
		 folder, name, (int)getpid(), folder, name);
	CHECK(!system(command));
}

/* The selector is told of the name as ztcpd would. */
static void netns_make(const char *name)
{
	uint64_t cookie = 0;
	struct stat st;
	char path[128];
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;

	CHECK(!unshare(CLONE_NEWNET));
	loopback_up();
	snprintf(path, sizeof(path), "/run/netns/%s", name);
	put(path, "");
	CHECK(!mount("/proc/self/ns/net", path, "none", MS_BIND, NULL), "%s", strerror(errno));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(!getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &(socklen_t){ 8 }));
	CHECK(!stat(path, &st) && !selector_netns_name(lib.sel, cookie, st.st_ino, name));
	close(fd);
	CHECK(!setns(own, CLONE_NEWNET));
	close(own);
}

static void actor_become(const struct actor *a)
{
	char file[256], pid[16];

	snprintf(file, sizeof(file), "%s%s/cgroup.procs", lib.cgroup, a->cgroup);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	put(file, pid);
	if (a->netns) {
		snprintf(file, sizeof(file), "/run/netns/%s", a->netns);
		CHECK(!setns(open(file, O_RDONLY | O_CLOEXEC), CLONE_NEWNET));
	}
	CHECK(!setgroups(0, NULL) && !setgid(a->gid) && !setuid(a->uid));
}

static void actor_start(struct actor *a, const char *file)
{
	char program[128], uid[16], gid[16], cgroup[128];
	int to[2], from[2];

	copy_program(a->program);
	CHECK(!pipe2(to, O_CLOEXEC) && !pipe2(from, O_CLOEXEC));
	a->pid = fork();
	CHECK(a->pid >= 0);
	if (!a->pid) {
		dup2(to[0], STDIN_FILENO);
		dup2(from[1], STDOUT_FILENO);
		actor_become(a);
		snprintf(program, sizeof(program), "%s/%s", folder, a->program);
		snprintf(cgroup, sizeof(cgroup), "%s%s", base, a->cgroup);
		snprintf(uid, sizeof(uid), "%u", a->uid);
		snprintf(gid, sizeof(gid), "%u", a->gid);
		execl(program, program, "--actor", uid, gid, cgroup, a->netns ? a->netns : "", file,
		      (char *)NULL);
		_exit(1);
	}
	close(to[0]);
	close(from[1]);
	a->ask = to[1];
	a->answer = from[0];
}

static void actors_run(void)
{
	for (unsigned i = 0; i < ACTORS; i++) {
		struct pollfd fds[2] = { { .fd = actors[i].answer, .events = POLLIN },
					 { .fd = selector_fd(lib.sel), .events = POLLIN } };
		struct score now;

		CHECK(write(actors[i].ask, "", 1) == 1);
		while (!fds[0].revents) {
			CHECK(poll(fds, 2, 60000) > 0, "actor %u neither answers nor asks", i);
			if (fds[1].revents)
				CHECK(!selector_poll(lib.sel, NULL, NULL));
		}
		CHECK(read(actors[i].answer, &now, sizeof(now)) == sizeof(now),
		      "actor %u has ended", i);
		CHECK(!now.wrong, "actor %u", i);
	}
}

static void try_policy(const char *file, const char *text)
{
	struct policy *p;
	int rc;

	put(file, text);
	p = bpf_lib_policy_load(text);
	rc = selector_policy_set(lib.sel, 0, p);
	CHECK(!rc, "%d: %s", rc, text);
	policy_unload(p);
	actors_run();
}

static const char *const verdicts[] = { "kernel",          "lift",   "lift path=shm threshold=3",
					"lift path=stack", "direct", "count" };
static const char *const roles[] = { "", " role=listen", " role=connect", " role=both" };
enum {
	VERDICTS = sizeof(verdicts) / sizeof(verdicts[0]),
	ROLES = sizeof(roles) / sizeof(roles[0])
};

/* Values that hold for some of what is judged, and not for the rest. %c: the test's cgroup; %f: its folder; %i: a namespace. */
static const char *const matches[] = {
	"user=0",
	"user=1234,65534",
	"group=4321",
	"group=0",
	"netns=green",
	"netns=blue,green",
	"netns=%i",
	"port=7101",
	"port=7102-7104",
	"port=8101-8105",
	"local-port=7101,8102",
	"local-port=0-7102",
	"remote-port=8101-8103",
	"remote-port=7105",
	"local=127.0.0.1",
	"local=127.0.0.2/31",
	"local=::1",
	"local=127.0.0.0/8,::/0",
	"remote=127.0.0.0/16",
	"remote=127.1.0.0/16,::1/128",
	"remote=0.0.0.0/0",
	"remote=::/0",
	"cgroup=%c",
	"cgroup=%c/one",
	"cgroup=%c/one/deep,%c/two",
	"program=server",
	"program=%f/alpha/*",
	"program=%f/**/tool",
	"program=[!s]*",
	"bpf=mine",
};
enum { MATCHES = sizeof(matches) / sizeof(matches[0]) };

static size_t match_put(char *to, const char *m)
{
	char *at = to;
	struct stat st;

	*at++ = ' ';
	for (; *m; m++) {
		if (*m != '%') {
			*at++ = *m;
			continue;
		}
		switch (*++m) {
		case 'c': at += sprintf(at, "%s", base); break;
		case 'f': at += sprintf(at, "%s", folder); break;
		default:
			CHECK(!stat("/run/netns/green", &st));
			at += sprintf(at, "%lu", (unsigned long)st.st_ino);
		}
	}
	*at = '\0';
	return (size_t)(at - to);
}

static void each_value(const char *file)
{
	char text[1024];

	for (unsigned m = 0; m < MATCHES; m++) {
		for (unsigned v = 0; v < VERDICTS; v++) {
			size_t n = (size_t)sprintf(text, "%s%s", verdicts[v],
						   roles[(m + v) % ROLES]);

			n += match_put(text + n, matches[m]);
			sprintf(text + n, "\n%s\n", verdicts[(v + 1) % VERDICTS]);
			try_policy(file, text);
		}
	}
}

static void at_random(const char *file, unsigned policies)
{
	char text[RULES * 512];

	for (unsigned seed = 1; seed <= policies; seed++) {
		struct policy_gen g = { .seed = seed };
		size_t n = 0;

		for (unsigned r = 0; r < 1 + seed % RULES; r++) {
			unsigned from = policy_gen_next(&g) % MATCHES;

			n += (size_t)sprintf(text + n, "%s%s",
					     verdicts[policy_gen_next(&g) % VERDICTS],
					     roles[policy_gen_next(&g) % ROLES]);
			/* of each kind once at most: the next ones are far enough away */
			for (unsigned k = policy_gen_next(&g) % 3; k; k--)
				n += match_put(text + n, matches[(from + 10 * k) % MATCHES]);
			n += (size_t)sprintf(text + n, "\n");
		}
		try_policy(file, text);
	}
}

/* Nothing was left out: each match and verdict has decided something, and has not decided everything. */
static void judged_all(void)
{
	struct score all = { 0 };

	for (unsigned i = 0; i < ACTORS; i++) {
		struct score s;

		CHECK(write(actors[i].ask, "", 1) == 1 &&
		      read(actors[i].answer, &s, sizeof(s)) == sizeof(s));
		for (unsigned k = 0; k < sizeof(s) / sizeof(unsigned); k++)
			((unsigned *)&all)[k] += ((unsigned *)&s)[k];
	}
	for (unsigned k = 0; k < POLICY_M_KINDS; k++)
		CHECK(all.kind[k] && all.kind[k] < all.judged, "%s= decided %u of %u",
		      policy_match_name(k), all.kind[k], all.judged);
	for (unsigned v = 0; v < POLICY_VERDICTS; v++)
		CHECK(all.verdict[v], "%s was never said", policy_verdict_name(v));
	for (unsigned r = 0; r < POLICY_ROLE_BOTH; r++)
		CHECK(all.role[r]);
	CHECK(all.none, "a rule decided everywhere");
	printf("%u sockets judged, three times each\n", all.judged);
}

static void load_match(const char *objects)
{
	char command[600];

	snprintf(command, sizeof(command),
		 "%s/bin/ztcp rule load -p %s %s/match_yes.bpf/match_yes.bpf.o mine",
		 getenv("ZTCP_BUILD"), lib.pins, objects);
	CHECK(!system(command));
}

static void places_make(void)
{
	char path[256];

	CHECK(!mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	CHECK(!mount("none", "/run", "tmpfs", 0, "mode=755") && !mkdir("/run/netns", 0755));
	loopback_up();
	bpf_lib_begin("table");
	snprintf(base, sizeof(base), "%s", strrchr(lib.cgroup, '/'));
	snprintf(folder, sizeof(folder), "/run/table");
	mkdir(folder, 0755);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", lib.cgroup,
			 (const char *[]){ "one", "one/deep", "two" }[i]);
		CHECK(!mkdir(path, 0755));
	}
	netns_make("green");
}

/* Ended actors leave their cgroups. */
static void places_end(void)
{
	char path[256];

	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", lib.cgroup,
			 (const char *[]){ "one/deep", "one", "two" }[i]);
		rmdir(path);
	}
	umount2("/run/netns/green", MNT_DETACH);
}

int main(int argc, char **argv)
{
	const char *file = "/run/table/policy";

	if (argc == 7 && !strcmp(argv[1], "--actor"))
		return actor_main(argv);
	CHECK(argc == 3);
	if (geteuid() || unshare(CLONE_NEWNS | CLONE_NEWNET)) {
		puts("skip: needs root, and namespaces");
		return 77;
	}
	if (!bpf_lib_pids_seen())
		return 77;
	places_make();
	load_match(argv[1]);
	put(file, "");
	for (unsigned i = 0; i < ACTORS; i++)
		actor_start(&actors[i], file);
	each_value(file);
	at_random(file, (unsigned)atoi(argv[2]));
	try_policy(file, ""); /* without a rule */
	judged_all();
	for (unsigned i = 0; i < ACTORS; i++) {
		int status;

		close(actors[i].ask);
		waitpid(actors[i].pid, &status, 0);
		CHECK(!status, "actor %u", i);
	}
	places_end();
	bpf_lib_end();
	puts("ok");
	return 0;
}
