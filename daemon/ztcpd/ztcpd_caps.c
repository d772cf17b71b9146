/* ztcpd_caps.c - priority, and giving up what the daemon does not need
 *
 * CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON   load, attach and read the selector
 * CAP_NET_RAW                           reset the peers of a process that died
 * CAP_SYS_ADMIN                         setns() into a network namespace to bind the name there
 * CAP_SYS_PTRACE                        /proc/PID/ns/net and /proc/PID/exe of other users' processes
 * CAP_DAC_READ_SEARCH                   policy files and folders of others
 */
#include <errno.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "daemon/ztcpd/ztcpd.h"

static const cap_value_t needed[] = {
	CAP_BPF,       CAP_NET_ADMIN,  CAP_NET_RAW,         CAP_PERFMON,
	CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH,
};

enum { NEEDED = sizeof(needed) / sizeof(needed[0]), NICE = -10 };

static bool is_needed(cap_value_t cap)
{
	for (unsigned i = 0; i < NEEDED; i++) {
		if (needed[i] == cap)
			return true;
	}
	return false;
}

/* What is not there cannot be kept: a container may have been given less. */
static int caps_set(cap_t now, cap_t keep)
{
	for (unsigned i = 0; i < NEEDED; i++) {
		cap_flag_value_t has = CAP_CLEAR;

		if (cap_get_flag(now, needed[i], CAP_PERMITTED, &has) || has != CAP_SET)
			continue;
		if (cap_set_flag(keep, CAP_PERMITTED, 1, &needed[i], CAP_SET) ||
		    cap_set_flag(keep, CAP_EFFECTIVE, 1, &needed[i], CAP_SET))
			return -errno;
	}
	return cap_set_proc(keep) ? -errno : 0;
}

/* It has next to nothing to do, and each time new connections wait for it, mostly of programs that keep all processors busy. */
void priority_take(void)
{
	if (getpriority(PRIO_PROCESS, 0) == 0)
		setpriority(PRIO_PROCESS, 0, NICE); /* without CAP_SYS_NICE it goes on as it is */
}

int caps_keep(void)
{
	cap_t now = cap_get_proc();
	cap_t keep = cap_init();
	int err = now && keep ? 0 : -ENOMEM;

	for (cap_value_t cap = 0; !err && cap_get_bound(cap) >= 0; cap++) {
		if (!is_needed(cap) && cap_get_bound(cap) > 0 && cap_drop_bound(cap))
			err = -errno;
	}
	if (!err)
		err = caps_set(now, keep);
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = -errno;
	cap_free(now);
	cap_free(keep);
	if (err)
		ztcpd_say("capabilities cannot be given up: %s", strerror(-err));
	return err ? ZTCPD_SAID : 0;
}
