/* bpf_live.c - the selector at work on real sockets: verdicts, attestation, claims, counters, taking up, leaving */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/policy/policy_load.h"
#include "tests/bpf/bpf_lib.h"

static void pair_close(int fd[2])
{
	close(fd[0]);
	close(fd[1]);
}

/* Without a policy everything may be lifted, and nothing is attested: no rule asked for it. */
static void no_policy(void)
{
	struct verdict_answer a;
	int fd[2];

	bpf_lib_pair("127.0.0.1", fd);
	a = bpf_lib_answer(fd[0]);
	CHECK(a.verdict == POLICY_LIFT && a.paths == POLICY_PATH_ALL && !a.rule && !a.flags);
	CHECK(a.threshold == -1 && !a.peer);
	pair_close(fd);
}

static void rules(void)
{
	struct verdict_answer a;
	char text[256];
	int fd[2];

	snprintf(text, sizeof(text),
		 "kernel local=127.0.0.2\n"
		 "count user=%u role=listen\n"
		 "lift path=shm threshold=3 program=*live* remote=127.0.0.0/8\n"
		 "kernel\n",
		 geteuid());
	CHECK(!bpf_lib_policy(0, text));
	bpf_lib_pair("127.0.0.1", fd);
	a = bpf_lib_answer(fd[0]);
	CHECK(a.verdict == POLICY_LIFT && a.paths == POLICY_PATH_SHM && a.threshold == 3, "%u %u",
	      a.verdict, a.rule);
	CHECK(a.rule == 3 && a.flags & VERDICT_BY_RULE);
	a = bpf_lib_answer(fd[1]);
	CHECK(a.verdict == POLICY_COUNT && a.rule == 2);
	pair_close(fd);
	bpf_lib_pair("127.0.0.2", fd);
	CHECK(bpf_lib_answer(fd[1]).rule == 1);
	pair_close(fd);
}

static void ipv6(void)
{
	int fd[2];

	CHECK(!bpf_lib_policy(0, "kernel remote=::1/128 role=connect\nlift path=shm\n"));
	bpf_lib_pair("::1", fd);
	CHECK(bpf_lib_answer(fd[0]).rule == 1);
	CHECK(bpf_lib_answer(fd[1]).rule == 2);
	pair_close(fd);
	bpf_lib_pair("::ffff:127.0.0.1", fd);
	CHECK(bpf_lib_answer(fd[0]).rule == 2);
	pair_close(fd);
}

static void attested(void)
{
	struct verdict_answer a, b;
	struct selector_conn conn;
	uint64_t secret = 0x1234, cookie[2];
	int fd[2];

	CHECK(!bpf_lib_policy(0, "lift path=shm\n"));
	bpf_lib_pair("127.0.0.1", fd);
	cookie[0] = bpf_lib_cookie(fd[0]);
	cookie[1] = bpf_lib_cookie(fd[1]);
	a = bpf_lib_answer(fd[0]);
	b = bpf_lib_answer(fd[1]);
	CHECK(a.flags & VERDICT_ATTESTED, "the connecting end: flags %x", a.flags);
	CHECK(b.flags & VERDICT_ATTESTED, "the accepting end: flags %x", b.flags);
	CHECK(a.cookie == cookie[0] && a.peer == cookie[1]);
	CHECK(b.cookie == cookie[1] && b.peer == cookie[0]);
	CHECK(!selector_conn_get(lib.sel, cookie[0], &conn));
	CHECK(conn.attested && conn.peer == cookie[1] && !conn.secret && conn.by_rule);
	CHECK(conn.role == POLICY_ROLE_CONNECT && conn.uid == geteuid());
	CHECK(!setsockopt(fd[1], VERDICT_LEVEL, VERDICT_CLAIM, &secret, sizeof(secret)), "%s",
	      strerror(errno));
	CHECK(!selector_conn_get(lib.sel, cookie[1], &conn));
	CHECK(conn.secret == secret && conn.tgid == (uint32_t)getpid());
	CHECK(conn.role == POLICY_ROLE_LISTEN && conn.attested);
	CHECK(setsockopt(fd[1], VERDICT_LEVEL, VERDICT_CLAIM, &secret, 4) && errno == EINVAL);
	CHECK(!selector_chan_set(lib.sel, cookie[1], 77));
	CHECK(!selector_agent_set(lib.sel, 99));
	b = bpf_lib_answer(fd[1]);
	CHECK(b.chan == 77 && b.agent == 99);
	CHECK(!bpf_lib_answer(fd[0]).chan);

	/* a policy that forbids it at either end: no longer; allowed again: again */
	CHECK(!bpf_lib_policy(0, "kernel role=connect\nlift path=shm\n"));
	CHECK(!(bpf_lib_answer(fd[0]).flags & VERDICT_ATTESTED));
	CHECK(!(bpf_lib_answer(fd[1]).flags & VERDICT_ATTESTED));
	CHECK(!selector_conn_get(lib.sel, cookie[1], &conn) && !conn.attested);
	CHECK(!bpf_lib_policy(0, "lift path=shm\n"));
	CHECK(bpf_lib_answer(fd[0]).verdict == POLICY_LIFT);
	CHECK(bpf_lib_answer(fd[1]).flags & VERDICT_ATTESTED);

	/* the record goes with either socket */
	close(fd[0]);
	CHECK(!(bpf_lib_answer(fd[1]).flags & VERDICT_ATTESTED));
	CHECK(selector_conn_get(lib.sel, cookie[0], &conn) == -ENOENT);
	CHECK(selector_conn_get(lib.sel, cookie[1], &conn) == -ENOENT);
	CHECK(setsockopt(fd[1], VERDICT_LEVEL, VERDICT_CLAIM, &secret, 8) && errno == ENOTCONN);
	close(fd[1]);
	CHECK(selector_chan_set(lib.sel, cookie[1], 1) == -ENOENT);
}

static void not_attested(void)
{
	const char *const policies[] = { "kernel\n",
					 "lift path=stack\n",
					 "count\n",
					 "kernel role=connect\nlift path=shm\n",
					 "kernel role=listen\nlift path=shm\n",
					 "" };
	int fd[2];

	for (unsigned i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		CHECK(!bpf_lib_policy(0, policies[i]));
		bpf_lib_pair("127.0.0.1", fd);
		CHECK(!(bpf_lib_answer(fd[0]).flags & VERDICT_ATTESTED), "%s", policies[i]);
		CHECK(!(bpf_lib_answer(fd[1]).flags & VERDICT_ATTESTED), "%s", policies[i]);
		pair_close(fd);
	}
}

/* What was asked last, by rule. */
static uint64_t hits[8], default_hits;

static void hits_keep(void *arg, const struct selector_rule *rule)
{
	(void)arg;
	if (rule->rule == UINT32_MAX)
		default_hits = rule->hits;
	else if (rule->rule < 8)
		hits[rule->rule] = rule->hits;
}

static void counters(void)
{
	uint64_t before;
	int fd[2];

	CHECK(!bpf_lib_policy(
		0, "kernel port=1\nlift role=connect path=shm\ncount local=127.0.0.3\n"));
	CHECK(!selector_each_rule(lib.sel, hits_keep, NULL));
	before = default_hits; /* of the policies before */
	for (unsigned i = 0; i < 5; i++) {
		bpf_lib_pair("127.0.0.1", fd);
		bpf_lib_answer(fd[0]); /* asked or not: counted once */
		pair_close(fd);
	}
	bpf_lib_pair("127.0.0.3", fd);
	pair_close(fd);
	CHECK(!selector_each_rule(lib.sel, hits_keep, NULL));
	CHECK(hits[0] == 0 && hits[1] == 6 && hits[2] == 1 && default_hits == before + 5,
	      "%lu %lu %lu default %lu", hits[0], hits[1], hits[2], default_hits);
	/* the same words keep their count, wherever they stand */
	CHECK(!bpf_lib_policy(
		0, "count local=127.0.0.3\nkernel port=2\nlift role=connect path=shm\n"));
	CHECK(!selector_each_rule(lib.sel, hits_keep, NULL));
	CHECK(hits[0] == 1 && hits[1] == 0 && hits[2] == 6);
}

/* Another process takes up what is pinned, with policy, counters and connections. */
static void taken_up(void)
{
	struct selector_report report;
	struct selector_conn conn;
	struct verdict_answer a;
	uint64_t cookie;
	int fd[2];

	CHECK(!bpf_lib_policy(0, "lift path=shm program=bpf_live\nkernel\n"));
	bpf_lib_pair("127.0.0.1", fd);
	bpf_lib_answer(fd[0]);
	pair_close(fd);
	bpf_lib_pair("127.0.0.1", fd);
	cookie = bpf_lib_cookie(fd[0]);
	CHECK(bpf_lib_answer(fd[0]).flags & VERDICT_ATTESTED);
	selector_close(lib.sel);
	lib.sel = NULL;
	a.flags = 0;
	CHECK(getsockopt(fd[0], VERDICT_LEVEL, VERDICT_ANSWER, &a, &(socklen_t){ sizeof(a) }) == 0);
	CHECK(a.flags & VERDICT_ATTESTED);
	CHECK(!selector_open(&lib.sel, lib.pins, lib.cgroup, &report));
	CHECK(report.adopted && !report.lacks);
	CHECK(!selector_conn_get(lib.sel, cookie, &conn) && conn.attested);
	CHECK(!selector_each_rule(lib.sel, hits_keep, NULL) && hits[0] >= 2);
	CHECK(bpf_lib_answer(fd[0]).rule == 1);
	CHECK(!bpf_lib_policy(0, "kernel program=bpf_live\n"));
	CHECK(bpf_lib_answer(fd[0]).verdict == POLICY_KERNEL);
	pair_close(fd);
}

/* Far more kinds of processes than there is room for at first: each is judged by its own rule, before and after there are more. */
static void kinds(void)
{
	enum { KINDS = 300, GROUP = 5000 };
	static char text[KINDS * 32];
	size_t used = 0;
	int fd[2];

	for (unsigned i = 0; i < KINDS; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "count group=%u\n",
					 GROUP + i);
	CHECK(!bpf_lib_policy(0, text));
	for (unsigned i = 0; i < 2 * KINDS; i++) {
		CHECK(!setegid(GROUP + i % KINDS));
		bpf_lib_pair("127.0.0.1", fd);
		CHECK(bpf_lib_answer(fd[0]).rule == i % KINDS + 1, "kind %u by rule %u", i,
		      bpf_lib_answer(fd[0]).rule);
		pair_close(fd);
	}
	CHECK(!setegid(getgid()));
	CHECK(!selector_each_rule(lib.sel, hits_keep, NULL) && hits[0] >= 2 && hits[7] >= 2);
}

/* Who asks on and on before its kind is known does not keep us from everything else. */
static void flood(void)
{
	enum { ASKED = 1000, LEARNED_AT_ONCE = 100 };
	struct pollfd events = { .fd = selector_fd(lib.sel), .events = POLLIN };
	struct verdict_answer a;
	unsigned polls = 0;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	while (poll(&events, 1, 0) == 1)
		CHECK(!selector_poll(lib.sel, NULL, NULL));
	CHECK(!bpf_lib_policy(0, "kernel program=/none\ncount user=0 group=0\n"));
	CHECK(!setegid(4999));
	for (unsigned i = 0; i < ASKED; i++) {
		socklen_t len = sizeof(a);

		CHECK(!getsockopt(fd, VERDICT_LEVEL, VERDICT_ANSWER, &a, &len));
		CHECK(a.flags & VERDICT_PENDING);
	}
	for (; poll(&events, 1, 0) == 1; polls++)
		CHECK(!selector_poll(lib.sel, NULL, NULL));
	CHECK(polls >= ASKED / LEARNED_AT_ONCE, "%u events in %u turns", ASKED, polls);
	CHECK(!(bpf_lib_answer(fd).flags & VERDICT_PENDING));
	CHECK(!setegid(getgid()));
	close(fd);
}

/* Pins serve the cgroup they were made for: another one, or one of the same name that came later, has all made anew. */
static void other_cgroup(void)
{
	struct selector_report report;
	char inner[sizeof(lib.cgroup) + 8];

	snprintf(inner, sizeof(inner), "%s/inner", lib.cgroup);
	for (unsigned i = 0; i < 2; i++) {
		CHECK(!mkdir(inner, 0755), "%s", strerror(errno));
		selector_close(lib.sel);
		lib.sel = NULL;
		CHECK(!selector_open(&lib.sel, lib.pins, inner, &report));
		CHECK(!report.adopted && !report.lacks && report.anew);
		selector_close(lib.sel);
		CHECK(!selector_open(&lib.sel, lib.pins, inner, &report));
		CHECK(report.adopted && !report.anew);
		CHECK(!rmdir(inner), "%s", strerror(errno));
	}
	selector_close(lib.sel);
	lib.sel = NULL;
	CHECK(!selector_open(&lib.sel, lib.pins, lib.cgroup, &report));
	CHECK(!report.adopted && report.anew);
	CHECK(!selector_policy_set(lib.sel, 0, NULL));
}

/* A folder that a killed process left half made is made anew. */
static void half_made(void)
{
	struct selector_report report;
	char path[256];
	int fd[2];

	selector_close(lib.sel);
	lib.sel = NULL;
	snprintf(path, sizeof(path), "%s/link_answer", lib.pins);
	CHECK(!unlink(path));
	CHECK(!selector_open(&lib.sel, lib.pins, lib.cgroup, &report));
	CHECK(!report.adopted && !report.lacks);
	/* new: nothing is lifted until the first policy, or until it is said that there is none */
	bpf_lib_pair("127.0.0.1", fd);
	CHECK(bpf_lib_answer(fd[0]).verdict == POLICY_KERNEL);
	pair_close(fd);
	CHECK(!selector_policy_set(lib.sel, 0, NULL));
	no_policy();
}

/* A policy that should be in force and is not: nothing is lifted where it would decide. */
static void closed(void)
{
	uint64_t netns = 0;
	int fd[2];

	bpf_lib_pair("127.0.0.1", fd);
	CHECK(!getsockopt(fd[0], SOL_SOCKET, SO_NETNS_COOKIE, &netns, &(socklen_t){ 8 }));
	CHECK(!selector_policy_close(lib.sel, 0, "policy:1:1: wrong"));
	CHECK(bpf_lib_answer(fd[0]).verdict == POLICY_KERNEL);
	CHECK(!bpf_lib_policy(0, "count\n"));
	CHECK(bpf_lib_answer(fd[0]).verdict == POLICY_COUNT);
	CHECK(selector_policy_close(lib.sel, 0, "policy:1:1: wrong") == -EEXIST);
	CHECK(!selector_policy_close(lib.sel, netns, "policy:1:1: wrong"));
	CHECK(bpf_lib_answer(fd[0]).verdict == POLICY_KERNEL && !bpf_lib_answer(fd[0]).rule);
	CHECK(!selector_process_add(lib.sel, getpid())); /* no policy there asks for its kind */
	CHECK(!bpf_lib_policy(netns, "lift path=shm\n"));
	CHECK(bpf_lib_answer(fd[0]).rule == 1);
	CHECK(selector_policy_close(lib.sel, netns, "policy:1:1: wrong") == -EEXIST);
	CHECK(!selector_policy_set(lib.sel, netns, NULL));
	CHECK(bpf_lib_answer(fd[0]).verdict == POLICY_COUNT);
	CHECK(!selector_policy_close(lib.sel, netns, "policy:1:1: wrong"));
	CHECK(!selector_policy_set(lib.sel, netns, NULL));
	CHECK(bpf_lib_answer(fd[0]).verdict == POLICY_COUNT);
	CHECK(!selector_policy_set(lib.sel, 0, NULL));
	no_policy();
	pair_close(fd);
}

/* Without a selector each call says so. */
static void none(void)
{
	struct selector_conn conn;

	CHECK(selector_policy_set(NULL, 0, NULL) == -EOPNOTSUPP);
	CHECK(selector_policy_close(NULL, 0, "policy:1:1: wrong") == -EOPNOTSUPP);
	CHECK(selector_netns_name(NULL, 1, 1, "a") == -EOPNOTSUPP);
	CHECK(selector_process_add(NULL, 1) == -EOPNOTSUPP);
	CHECK(selector_fd(NULL) == -ENOENT && selector_poll(NULL, NULL, NULL) == -EOPNOTSUPP);
	CHECK(selector_agent_set(NULL, 1) == -EOPNOTSUPP);
	CHECK(selector_conn_get(NULL, 1, &conn) == -EOPNOTSUPP);
	CHECK(selector_chan_set(NULL, 1, 1) == -EOPNOTSUPP);
	CHECK(selector_each_rule(NULL, hits_keep, NULL) == -EOPNOTSUPP);
}

static bool is_netns(void *arg, uint64_t netns)
{
	return netns == *(uint64_t *)arg;
}

static void namespaces(void)
{
	uint64_t netns = 0;
	int fd[2];

	bpf_lib_pair("127.0.0.1", fd);
	CHECK(!getsockopt(fd[0], SOL_SOCKET, SO_NETNS_COOKIE, &netns, &(socklen_t){ 8 }));
	CHECK(!bpf_lib_policy(0, "kernel\n"));
	CHECK(!bpf_lib_policy(netns, "count user=0\n"));
	CHECK(bpf_lib_answer(fd[0]).verdict == POLICY_COUNT);
	CHECK(!selector_policy_set(lib.sel, netns, NULL));
	CHECK(bpf_lib_answer(fd[0]).verdict == POLICY_KERNEL);
	CHECK(!selector_policy_set(lib.sel, 0, NULL));
	CHECK(bpf_lib_answer(fd[0]).verdict == POLICY_LIFT);
	for (uint64_t i = 1; i < 64; i++)
		CHECK(!bpf_lib_policy(1000 + i, "kernel\n"));
	CHECK(bpf_lib_policy(2000, "kernel\n") == -ENOSPC);
	CHECK(selector_policies_keep(lib.sel, is_netns, &netns) == 63);
	CHECK(!bpf_lib_policy(netns, "count\n"));
	CHECK(!selector_policy_close(lib.sel, 3000, "policy:1:1: wrong"));
	CHECK(selector_policies_keep(lib.sel, is_netns, &netns) == 1);
	CHECK(bpf_lib_answer(fd[0]).verdict == POLICY_COUNT);
	CHECK(!selector_policy_set(lib.sel, netns, NULL));
	pair_close(fd);
}

static void netns_names(void)
{
	uint64_t netns = 0;
	struct stat st;
	int fd[2];

	bpf_lib_pair("127.0.0.1", fd);
	CHECK(!getsockopt(fd[0], SOL_SOCKET, SO_NETNS_COOKIE, &netns, &(socklen_t){ 8 }));
	CHECK(!stat("/proc/self/ns/net", &st));
	CHECK(!selector_netns_name(lib.sel, netns, st.st_ino, "blue"));
	CHECK(!bpf_lib_policy(0, "count netns=blue\nkernel\n"));
	CHECK(bpf_lib_answer(fd[0]).verdict == POLICY_COUNT);
	pair_close(fd);
}

static void left(void)
{
	struct verdict_answer a;
	struct stat st;
	int fd[2];

	selector_close(lib.sel);
	lib.sel = NULL;
	CHECK(!selector_detach(lib.pins));
	CHECK(stat(lib.pins, &st) && errno == ENOENT);
	CHECK(!selector_detach(lib.pins));
	CHECK(selector_attach(&lib.sel, lib.pins) == -ENOENT);
	bpf_lib_pair("127.0.0.1", fd);
	CHECK(getsockopt(fd[0], VERDICT_LEVEL, VERDICT_ANSWER, &a, &(socklen_t){ sizeof(a) }) &&
		      errno == EOPNOTSUPP,
	      "%s", strerror(errno));
	pair_close(fd);
}

int main(void)
{
	if (!bpf_lib_pids_seen())
		return 77;
	bpf_lib_begin("live");
	no_policy();
	rules();
	ipv6();
	attested();
	not_attested();
	counters();
	namespaces();
	netns_names();
	kinds();
	flood();
	taken_up();
	other_cgroup();
	half_made();
	closed();
	none();
	left();
	bpf_lib_end();
	puts("ok");
	return 0;
}
