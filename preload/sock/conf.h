/* conf.h - the options and the policy of this process
 *
 * Read once by the constructor; constant afterwards. Any thread may read.
 */
#ifndef SOCK_CONF_H
#define SOCK_CONF_H

#include "daemon/policy/policy.h"
#include "daemon/policy/policy_load.h"
#include "stack/base/options.h"

/* Why every call takes the longer way. */
enum { CONF_COLD_CHAOS = 1, CONF_COLD_TAP = 2 };

struct conf {
	enum options_path path;
	uint32_t spin_us;
	int32_t lift;   /* calls before a connection is lifted; -1: the default */
	uint64_t chaos; /* 0: never */
	unsigned cold;  /* CONF_COLD_* */
	uint64_t turn;  /* cycles between two looks at the kernel's members of a busy epoll set */
	const char *explain;         /* NULL: no; "1": stderr; else a file */
	bool off;                    /* no rule names this process: follow nothing */
	const struct policy *policy; /* NULL: everything may be lifted */
	bool policy_own; /* named by ZTCP_POLICY: it holds beside the selector's rules */
	struct policy_self self;
	struct policy_class cls; /* of this process; set if there is a policy */
};

extern struct conf conf;

/* Read the environment and the policy file. Errors go to stderr once; the policy then is "kernel". */
void conf_init(void);

#endif
