/* ztcp.c - the control tool: one command, several subcommands */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "daemon/tool/tool.h"
#include "daemon/tool/tool_rule.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage;
	const char *doc;
} commands[] = {
	{ "ss", tool_ss, "[-j] [-a] [PID...]", "connections with path, reason and bytes per path" },
	{ "why", tool_why, "[-j] PID:FD", "why a connection is on its path" },
	{ "stat", tool_stat, "[-j] [PID...]", "open connections of each process, added up" },
	{ "stat", tool_stat, "[-j] tcp|netdev|arp|mem [PID...]",
	  "what the stacks in each process count" },
	{ "top", tool_top, "[-b | -j] [-d SECONDS] [-n FRAMES]",
	  "connections by what they carry now" },
	{ "metrics", tool_metrics, "[-j]", "the same sums as OpenMetrics text" },
	{ "tcpdump", tool_tcpdump, "[-j] [-w FILE] [-c N] [-s BYTES] [-p PID] [FILTER]",
	  "what passes on connections, as TCP packets" },
	{ "enable", tool_enable, "[-j] --netns NAME | --cgroup PATH",
	  "programs that start there run under ztcp" },
	{ "disable", tool_disable, "[-j] --netns NAME | --cgroup PATH", "no longer" },
	{ "policy", tool_policy, "check [-j] [-i] [FILE]", "is a policy right" },
	{ "policy", tool_policy, "explain [-j] [-v] FILE KEY=VALUE...",
	  "which rule decides on a connection" },
	{ "policy", tool_policy, "load [-j] [-n NETNS] [-p PINS] [FILE]",
	  "put a policy into force at once" },
	{ "rules", tool_rules, "[-j] [-p PINS]",
	  "rules in force, with the connections each decided" },
	{ "rule", tool_rule, "load [-j] [-p PINS] FILE.bpf.o [NAME]",
	  "a match of your own, for bpf=NAME" },
	{ "rule", tool_rule, "unload [-j] [-p PINS] NAME", "take it away" },
	{ "nic", tool_nic, "[-j]", "interfaces shared with the kernel, and their packets" },
	{ "nic", tool_nic, "attach [-j] [-g] INTERFACE", "share it" },
	{ "nic", tool_nic, "detach [-j] INTERFACE", "no longer" },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static bool is_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h");
}

static bool is_command(const char *name)
{
	for (unsigned i = 0; i < COMMANDS; i++)
		if (!strcmp(name, commands[i].name))
			return true;
	return false;
}

/* @name: only this command; NULL: all of them. */
static int help(const char *name)
{
	if (name && !is_command(name))
		return tool_usage("unknown command '%s'; see ztcp --help", name);
	puts("usage:");
	for (unsigned i = 0; i < COMMANDS; i++) {
		char left[64];

		if (name && strcmp(name, commands[i].name))
			continue;
		snprintf(left, sizeof(left), "%s %s", commands[i].name, commands[i].usage);
		printf("  ztcp %-45s %s\n", left, commands[i].doc);
	}
	if (!name)
		puts("  ztcp --version\n  ztcp --help");
	return tool_end(TOOL_OK);
}

/* getopt names its complaints after argv[0]: "ztcp ss: invalid option". */
static int run(unsigned which, int argc, char **argv)
{
	char label[32];

	if ((argc > 1 && is_help(argv[1])) || (argc > 2 && is_help(argv[2])))
		return help(argv[0]);
	snprintf(label, sizeof(label), "ztcp %s", argv[0]);
	argv[0] = label;
	return tool_end(commands[which].run(argc, argv));
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return tool_usage("which command? see ztcp --help");
	if (is_help(argv[1]) || !strcmp(argv[1], "help"))
		return help(argc > 2 ? argv[2] : NULL);
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("ztcp " ZTCP_VERSION);
		return tool_end(TOOL_OK);
	}
	for (unsigned i = 0; i < COMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name))
			return run(i, argc - 1, argv + 1);
	return tool_usage("unknown command '%s'; see ztcp --help", argv[1]);
}
