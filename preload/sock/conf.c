/* conf.c - reading the environment and the policy */
#include "preload/sock/conf.h"

#include "shm/shm_sys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONF_TURN = 65536 }; /* about 24 us */

struct conf conf = { .spin_us = 50, .lift = -1, .turn = CONF_TURN };

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
	conf.policy_own = file != NULL;
	policy_self_read(&conf.self, policy_needs(p));
	policy_class_read(p, &conf.self.proc, &conf.cls);
	conf.off = !policy_process_may_lift(p, &conf.self.proc);
}

/* Programs overwrite their environment to change their title. */
static const char *explain_copy(const char *text)
{
	static char copy[4096];

	if (!text || strlen(text) >= sizeof(copy))
		return "1";
	return memcpy(copy, text, strlen(text) + 1);
}

void conf_init(void)
{
	struct options_value explain = conf_option(OPTIONS_explain);

	conf.path = (enum options_path)conf_option(OPTIONS_path).num;
	conf.spin_us = (uint32_t)conf_option(OPTIONS_spin).num;
	conf.lift = (int32_t)conf_option(OPTIONS_lift).num;
	conf.chaos = (uint64_t)conf_option(OPTIONS_chaos).num;
	conf.cold = conf.chaos ? CONF_COLD_CHAOS : 0;
	conf.turn = (uint64_t)conf_option(OPTIONS_turn).num;
	if (explain.set && explain.num)
		conf.explain = explain_copy(explain.text);
	conf_policy(conf_option(OPTIONS_policy).text);
}
