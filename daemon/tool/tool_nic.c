/* tool_nic.c - ztcp nic: interfaces that instances share with the kernel */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/bpf/nic.h"
#include "daemon/tool/tool.h"
#include "daemon/tool/tool_json.h"

static const char *const count_name[NIC_COUNTS] = {
	[NIC_TAKEN] = "taken",       [NIC_PASSED] = "passed",
	[NIC_KERNELS] = "kernels",   [NIC_WRONG_QUEUE] = "wrong_queue",
	[NIC_FRAGMENT] = "fragment", [NIC_ERRORS] = "errors",
	[NIC_LONG] = "long",
};

static void state_json(const struct nic_state *s)
{
	tool_json_open(NULL, '{');
	tool_json_text("interface", s->name);
	tool_json_number("netns", s->netns);
	tool_json_number("ifindex", s->ifindex);
	tool_json_bool("native", s->native);
	tool_json_number("flows", s->flows);
	tool_json_number("ports", s->ports);
	for (unsigned i = 0; i < NIC_COUNTS; i++)
		tool_json_number(count_name[i], s->counts[i]);
	tool_json_close('}');
}

static void state_print(void *arg, const struct nic_state *s)
{
	if (*(bool *)arg) {
		state_json(s);
		return;
	}
	if (*s->name)
		printf("%s (%s):", s->name, s->native ? "driver" : "generic");
	else
		printf("interface %u of network namespace %llu:", s->ifindex,
		       (unsigned long long)s->netns);
	printf(" %u flows, %u ports; packets:", s->flows, s->ports);
	for (unsigned i = 0; i < NIC_COUNTS; i++)
		printf(" %s %llu", count_name[i], (unsigned long long)s->counts[i]);
	putchar('\n');
}

static int show(bool json)
{
	int rc;

	if (json)
		tool_json_open(NULL, '[');
	rc = nic_each(state_print, &json);
	if (json) {
		tool_json_close(']');
		putchar('\n');
	}
	if (rc < 0)
		tool_say("interfaces: %s", strerror(-rc));
	return rc < 0 ? TOOL_FAILED : TOOL_OK;
}

static void done_say(bool json, const char *name, const char *what, const char *refused)
{
	if (json) {
		tool_json_open(NULL, '{');
		tool_json_text("interface", name);
		tool_json_bool(what, !refused);
		if (refused)
			tool_json_text("refused", refused);
		tool_json_close('}');
		putchar('\n');
	} else if (refused) {
		tool_say("%s", refused);
	}
}

static int attach(const char *name, bool generic, bool json)
{
	char why[160];
	int rc = nic_attach(name, generic, why);

	done_say(json, name, "attached", rc < 0 ? why : NULL);
	return rc < 0 ? TOOL_FAILED : TOOL_OK;
}

static int detach(const char *name, bool json)
{
	char why[160];
	int rc = nic_detach(name);

	snprintf(why, sizeof(why), "%s: %s", name,
		 rc == -ENOENT ? "the selector is not on it" : strerror(-rc));
	done_say(json, name, "detached", rc < 0 ? why : NULL);
	return rc < 0 ? TOOL_FAILED : TOOL_OK;
}

int tool_nic(int argc, char **argv)
{
	bool json = false, generic = false;
	int opt, left;

	optind = 1;
	while ((opt = getopt(argc, argv, "jg")) != -1) {
		if (opt == 'j')
			json = true;
		else if (opt == 'g')
			generic = true;
		else
			return TOOL_USAGE;
	}
	left = argc - optind;
	argv += optind;
	if (!left && !generic)
		return show(json);
	if (left == 2 && !strcmp(argv[0], "attach"))
		return attach(argv[1], generic, json);
	if (left == 2 && !strcmp(argv[0], "detach") && !generic)
		return detach(argv[1], json);
	return tool_usage("usage: ztcp nic [-j] | ztcp nic attach [-j] [-g] INTERFACE | "
			  "ztcp nic detach [-j] INTERFACE");
}
