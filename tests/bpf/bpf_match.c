/* bpf_match.c - a user's own match: loaded by the tool, named by a rule, replaced, refused, taken away */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

	snprintf(args, sizeof(args), "load -p %s %s/%s.bpf/%s.bpf.o %s", lib.pins, folder, object,
		 object, name);
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

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	folder = argv[1];
	bpf_lib_begin("match");
	CHECK(bpf_lib_policy(0, "count bpf=mine\nkernel bpf=other\n") == -ENOENT);
	CHECK(verdict(true) == POLICY_LIFT && verdict(false) == POLICY_LIFT);

	if (load("match_yes", "mine") && strstr(said, strerror(EPERM))) {
		/* root, and the program was not even read: the verifier would have said something */
		printf("skip: the kernel refuses to load the match (EPERM), before it is verified\n");
		bpf_lib_end();
		return 77;
	}
	CHECK(verdict(true) == POLICY_COUNT && verdict(false) == POLICY_LIFT, "%s", said);

	/* refused: the one in force stays */
	CHECK(load("match_bad", "mine") == 1);
	CHECK(strstr(said, "is refused") && strstr(said, "invalid"), "%s", said);
	CHECK(load("match_odd", "mine") == 1 && strstr(said, "ztcp_match"), "%s", said);
	CHECK(load("match_none", "mine") == 1);
	CHECK(load("match_yes", "\"a name\"") == 1 && strstr(said, "letters"), "%s", said);
	CHECK(verdict(true) == POLICY_COUNT && verdict(false) == POLICY_LIFT);

	/* replaced, and back */
	CHECK(load("match_no", "mine") == 0, "%s", said);
	CHECK(verdict(true) == POLICY_LIFT);
	CHECK(load("match_yes", "mine") == 0, "%s", said);
	CHECK(load("match_yes", "other") == 0, "%s", said);
	CHECK(verdict(true) == POLICY_COUNT);
	CHECK(unload("mine") == 0, "%s", said);
	CHECK(verdict(true) == POLICY_KERNEL && verdict(false) == POLICY_LIFT);
	CHECK(unload("mine") == 1);

	/* eight, and no ninth */
	for (char name[2] = "a"; *name < 'h'; (*name)++)
		CHECK(load("match_no", name) == 0, "%s: %s", name, said);
	CHECK(load("match_no", "h") == 1 && strstr(said, "eight"), "%s", said);
	CHECK(load("match_no", "other") == 0, "the spare one is for this: %s", said);
	CHECK(verdict(true) == POLICY_LIFT);
	bpf_lib_end();
	puts("ok");
	return 0;
}
