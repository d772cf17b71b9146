/* pd_sysctl.h - settings of a stack as the kernel's sysctls of this network namespace have them
 *
 * What it does: scripts written for the Linux kernel set sysctls before they begin; read at each
 * socket(), they mean the same for our stack. Called by pd_host.c; keeps nothing.
 */
#ifndef ZTCP_TESTS_PD_SYSCTL_H
#define ZTCP_TESTS_PD_SYSCTL_H

#include "stack/tcp/tcp.h"

/** pd_sysctl_read() - change in the configuration of @t's environment what a sysctl names. */
void pd_sysctl_read(struct tcb *t);

#endif
