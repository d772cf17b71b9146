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
	const char *explain; /* NULL: no; "1": stderr; else a file */
	bool out;            /* this program has nothing to do with us: follow nothing */
	bool off; /* by its own copy of the policy nothing can be lifted: follow nothing, unless a selector judges */
	const struct policy *policy; /* NULL: everything may be lifted */
	const char *interfaces;      /* NULL: the default file */
	bool direct;                 /* a rule or the option asks for connections of the stack */
	bool policy_own; /* named by ZTCP_POLICY: it holds beside the selector's rules */
	struct policy_self self;
	struct policy_class cls; /* of this process; set if there is a policy */
};

extern struct conf conf;

/* `ztcp enable --cgroup` has this name of the library loaded into every program, and lists the cgroups, one a line. */
#define CONF_LIBRARY_EVERYWHERE "libztcp_enabled.so"
#define CONF_CGROUPS            "/etc/ztcp/cgroups"

/*
 * Read the environment and the policy file. Errors go to stderr once; the policy then is "kernel". A set-user-id program is left
 * alone: its environment is its caller's. So is a program outside of the enabled cgroups, if nobody has asked for it.
 */
void conf_init(void);

#endif
