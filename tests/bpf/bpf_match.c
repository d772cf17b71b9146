/* bpf_match.c - a user's own match: loaded by the tool, named by a rule, replaced, refused, taken away */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bpf/bpf_lib.h"

static const char *folder;
static char said[1 << 16];

/* Run `ztcp rule ...`; @said: what it printed. Return: its exit status. */
static int tool(const char *args)
{
	char command[1024];
	size_t n;
	FILE *f;

	snprintf(command, sizeof(command), "%s/bin/ztcp rule %s 2>&1", getenv("ZTCP_BUILD"), args);
	f = popen(command, "r");
	CHECK(f);
	n = fread(said, 1, sizeof(said) - 1, f);
	said[n] = '\0';
	return WEXITSTATUS(pclose(f));
}

static int load(const char *object, const char *name)
{
	char args[700];

	const char *json = !strncmp(object, "-j ", 3) ? "-j" : "";

	object += *json ? 3 : 0;
	snprintf(args, sizeof(args), "load %s -p %s %s/%s.bpf/%s.bpf.o %s", json, lib.pins, folder,
		 object, object, name);
	return tool(args);
}

static int unload(const char *name)
{
	char args[300];

	snprintf(args, sizeof(args), "unload -p %s %s", lib.pins, name);
	return tool(args);
}

/* Verdict on a connection made to 127.0.0.1, or to 127.0.0.2. */
static unsigned verdict(bool first)
{
	unsigned answer;
	int fd[2];

	bpf_lib_pair(first ? "127.0.0.1" : "127.0.0.2", fd);
	answer = bpf_lib_answer(fd[0]).verdict;
	close(fd[0]);
	close(fd[1]);
	return answer;
}

/* Both hooks ask: what lets be lifted is known when the SYN is made and when it is answered, so both ends are attested. */
static void attested(void)
{
	int fd[2];

	CHECK(bpf_lib_policy(0, "lift path=shm bpf=both\n") == -ENOENT);
	bpf_lib_pair("127.0.0.1", fd);
	CHECK(!(bpf_lib_answer(fd[0]).flags & VERDICT_ATTESTED));
	close(fd[0]);
	close(fd[1]);
	CHECK(load("match_both", "both") == 0, "%s", said);
	bpf_lib_pair("127.0.0.1", fd);
	for (unsigned i = 0; i < 2; i++) {
		struct verdict_answer a = bpf_lib_answer(fd[i]);

		CHECK(a.rule == 1 && a.flags & VERDICT_ATTESTED, "end %u: %x", i, a.flags);
	}
	close(fd[0]);
	close(fd[1]);
}

/* In the middle of connections: each sees one version or the other, never none. */
static void replaced_under_load(void)
{
	pid_t child;
	int status;

	CHECK(bpf_lib_policy(0, "count bpf=mine\nkernel\n") == 0);
	CHECK(verdict(true) == POLICY_COUNT);
	child = fork();
	if (!child) {
		for (unsigned i = 0; i < 20; i++)
			if (load("match_yes", "mine"))
				_exit(1);
		_exit(0);
	}
	do {
		CHECK(verdict(true) == POLICY_COUNT && verdict(false) == POLICY_KERNEL);
	} while (!waitpid(child, &status, WNOHANG));
	CHECK(!status, "a load failed");
}

/* A successor of this process finds it in force. */
static void taken_up(void)
{
	struct selector_report report;

	selector_close(lib.sel);
	lib.sel = NULL;
	CHECK(!selector_open(&lib.sel, lib.pins, lib.cgroup, &report) && report.adopted);
	CHECK(verdict(true) == POLICY_COUNT && verdict(false) == POLICY_KERNEL);
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	folder = argv[1];
	bpf_lib_begin("match");
	attested();
	CHECK(bpf_lib_policy(0, "count bpf=mine\nkernel bpf=other\n") == -ENOENT);
	CHECK(verdict(true) == POLICY_LIFT && verdict(false) == POLICY_LIFT);

	CHECK(load("match_yes", "mine") == 0, "%s", said);
	CHECK(verdict(true) == POLICY_COUNT && verdict(false) == POLICY_LIFT, "%s", said);

	/* refused: the one in force stays */
	CHECK(load("match_bad", "mine") == 1);
	CHECK(strstr(said, "is refused") && strstr(said, "R1"), "%s", said);
	CHECK(load("match_odd", "mine") == 1 && strstr(said, "ZTCP_MATCH"), "%s", said);
	CHECK(load("match_none", "mine") == 1 && strstr(said, "No such file"), "%s", said);
	CHECK(load("match_yes", "\"a name\"") == 1 && strstr(said, "letters"), "%s", said);
	CHECK(verdict(true) == POLICY_COUNT && verdict(false) == POLICY_LIFT);

	CHECK(load("-j match_bad", "mine") == 1);
	CHECK(strstr(said, "\"loaded\": false") && strstr(said, "\"refused\": \""), "%s", said);

	/* replaced, and back */
	CHECK(load("match_no", "mine") == 0, "%s", said);
	CHECK(verdict(true) == POLICY_LIFT);
	CHECK(load("match_yes", "mine") == 0, "%s", said);
	CHECK(load("match_yes", "other") == 0, "%s", said);
	CHECK(verdict(true) == POLICY_COUNT);
	CHECK(unload("mine") == 0, "%s", said);
	CHECK(verdict(true) == POLICY_KERNEL && verdict(false) == POLICY_LIFT);
	CHECK(unload("mine") == 1);

	CHECK(load("users_redis", "") == 0 && !strcmp(said, "bpf=users_redis\n"), "%s", said);
	CHECK(unload("users_redis") == 0 && unload("both") == 0, "%s", said);

	CHECK(load("match_yes", "mine") == 0, "%s", said);
	replaced_under_load();
	taken_up();
	CHECK(unload("mine") == 0, "%s", said);
	CHECK(bpf_lib_policy(0, "count bpf=mine\nkernel bpf=other\n") == -ENOENT);

	/* eight, and no ninth */
	for (char name[2] = "a"; *name < 'h'; (*name)++)
		CHECK(load("match_no", name) == 0, "%s: %s", name, said);
	CHECK(load("match_no", "h") == 1 && strstr(said, "eight"), "%s", said);
	CHECK(load("match_no", "other") == 0, "%s", said);
	CHECK(verdict(true) == POLICY_LIFT);
	bpf_lib_end();
	puts("ok");
	return 0;
}
