/* ztcp.c - the control tool: one command, several subcommands */
#include <stdio.h>
#include <string.h>

#include "daemon/tool/tool.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage;
	const char *doc;
} commands[] = {
	{ "ss", tool_ss, "[-j] [-a] [PID...]", "connections with path, reason and bytes per path" },
	{ "why", tool_why, "[-j] PID:FD", "why a connection is on its path" },
	{ "stat", tool_stat, "[-j] [PID...]", "open connections of each process, added up" },
	{ "top", tool_top, "[-b] [-d SECONDS] [-n FRAMES]", "connections by what they carry now" },
	{ "metrics", tool_metrics, "", "the same sums as OpenMetrics text" },
	{ "policy", tool_policy, "check [-j] [FILE]", "is a policy right" },
	{ "policy", tool_policy, "explain [-j] [-v] FILE KEY=VALUE...",
	  "which rule decides on a connection" },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int help(void)
{
	puts("usage:");
	for (unsigned i = 0; i < COMMANDS; i++) {
		char left[64];

		snprintf(left, sizeof(left), "%s %s", commands[i].name, commands[i].usage);
		printf("  ztcp %-44s %s\n", left, commands[i].doc);
	}
	puts("  ztcp --version\n  ztcp --help");
	return tool_end(TOOL_OK);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return tool_usage("which command? see ztcp --help");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
		return help();
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("ztcp " ZTCP_VERSION);
		return tool_end(TOOL_OK);
	}
	for (unsigned i = 0; i < COMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name))
			return tool_end(commands[i].run(argc - 1, argv + 1));
	return tool_usage("unknown command '%s'; see ztcp --help", argv[1]);
}
