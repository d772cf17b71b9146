/* conf.c - reading the environment and the policy */
#include "preload/sock/conf.h"

#include "shm/shm_sys.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

enum { CONF_TURN = 65536, CONF_CGROUPS_BYTES = 65536 }; /* about 24 us */

struct conf conf = { .spin_us = 200, .lift = -1, .turn = CONF_TURN };

static struct options_value conf_option(enum options_id id)
{
	const struct options_spec *spec = &options_table()[id];
	const char *text = getenv(spec->env);
	struct options_value v;

	options_value_default(id, &v);
	if (text && *text)
		options_value_parse(id, text,
				    &v); /* ztcp_run has said what is wrong with a bad one */
	return v;
}

static void conf_say(const char *text)
{
	sys(SYS_write, 2, text, strlen(text));
}

/* A policy that cannot be read lifts nothing: better slow than against the operator's wish. */
static void conf_policy(const char *file)
{
	struct policy_error err;
	struct policy *p = NULL;
	int ret = policy_load(file ? file : POLICY_DEFAULT_FILE, &p, &err);

	conf.policy_own = file != NULL;
	if (ret == -ENOENT && !file)
		return;
	if (ret < 0) {
		char line[640], text[512];

		policy_error_format(&err, text, sizeof(text));
		snprintf(line, sizeof(line), "ztcp: %s; every connection stays on the kernel\n",
			 text);
		conf_say(line);
		conf.off = true;
		return;
	}
	conf.policy = p;
	policy_self_read(&conf.self, policy_needs(p));
	policy_class_read(p, &conf.self.proc, &conf.cls);
	conf.off = !policy_process_may_lift(p, &conf.self.proc);
}

/* Programs overwrite their environment to change their title. */
static const char *copy_of(const char *text, char *copy, size_t size)
{
	if (!text || strlen(text) >= size)
		return NULL;
	return memcpy(copy, text, strlen(text) + 1);
}

static const char *explain_copy(const char *text)
{
	static char copy[4096];
	const char *kept = copy_of(text, copy, sizeof(copy));

	return kept ? kept : "1";
}

/* Whether any connection of this process may be made by the stack. */
static bool may_be_direct(void)
{
	if (conf.off || conf.path == OPTIONS_PATH_KERNEL || conf.path == OPTIONS_PATH_SHM)
		return false;
	if (conf.path == OPTIONS_PATH_STACK)
		return true;
	for (unsigned i = 0; i < policy_rules(conf.policy); i++) {
		const struct policy_rule *r = policy_rule_get(conf.policy, i);

		if (r->verdict == POLICY_DIRECT && r->paths & POLICY_PATH_STACK)
			return true;
	}
	return false;
}

/* The cgroup of a line, or one below it. */
static bool cgroup_is(const char *line, const char *own)
{
	size_t len = strcspn(line, "\n");

	return len && !strncmp(line, own, len) &&
	       (!own[len] || own[len] == '/' || line[len - 1] == '/');
}

/* Under its other name the library is in every program, for the cgroups of a list; as itself it was asked for. */
static bool enabled(void)
{
	static char text[CONF_CGROUPS_BYTES];
	const char *line = text;
	Dl_info self;
	long fd;

	if (!dladdr(&conf, &self) || !strstr(self.dli_fname, CONF_LIBRARY_EVERYWHERE))
		return true;
	fd = sys(SYS_openat, AT_FDCWD, CONF_CGROUPS, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (sys(SYS_read, fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	sys(SYS_close, fd);
	policy_self_read(&conf.self, 1u << POLICY_M_CGROUP);
	while (*line && !cgroup_is(line, conf.self.cgroup)) {
		line = strchrnul(line, '\n');
		line += *line == '\n';
	}
	return *line;
}

/*
 * valgrind's checkers of memory keep book of each byte of an arena (half a minute for a program of three connections), and
 * complain of addresses that are left to the kernel to judge. The library sees their part of LD_PRELOAD; callgrind has none.
 */
static bool memory_is_checked(void)
{
	static const char *const checkers[] = { "/vgpreload_memcheck", "/vgpreload_helgrind",
						"/vgpreload_drd" };
	const char *list = getenv("LD_PRELOAD");

	for (unsigned i = 0; list && i < sizeof(checkers) / sizeof(checkers[0]); i++)
		if (strstr(list, checkers[i]))
			return true;
	return false;
}

void conf_init(void)
{
	static char interfaces[4096];
	struct options_value explain;

	conf.out = getauxval(AT_SECURE) || !enabled();
	if (conf.out)
		return;
	explain = conf_option(OPTIONS_explain);

	conf.path = (enum options_path)conf_option(OPTIONS_path).num;
	if (conf.path == OPTIONS_PATH_AUTO && memory_is_checked())
		conf.path = OPTIONS_PATH_KERNEL;
	conf.spin_us = (uint32_t)conf_option(OPTIONS_spin).num;
	conf.lift = (int32_t)conf_option(OPTIONS_lift).num;
	conf.chaos = (uint64_t)conf_option(OPTIONS_chaos).num;
	conf.cold = conf.chaos ? CONF_COLD_CHAOS : 0;
	conf.turn = (uint64_t)conf_option(OPTIONS_turn).num;
	if (explain.set && explain.num)
		conf.explain = explain_copy(explain.text);
	conf_policy(conf_option(OPTIONS_policy).text);
	conf.direct = may_be_direct();
	if (conf.direct)
		conf.interfaces = copy_of(conf_option(OPTIONS_interfaces).text, interfaces,
					  sizeof(interfaces));
}
