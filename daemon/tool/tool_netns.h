/* tool_netns.h - network namespaces by their names under /run/netns
 *
 * The selector knows a namespace by its cookie (SO_NETNS_COOKIE), people know it by its name. Called by tool_rule.c; entering a
 * namespace takes root. Memory is kept until the program ends. One thread.
 */
#ifndef ZTCP_TOOL_NETNS_H
#define ZTCP_TOOL_NETNS_H

#include <stdint.h>

/** tool_netns_cookie() - Return: the cookie of the namespace @name; 0: there is none, or no right to enter it. */
uint64_t tool_netns_cookie(const char *name);

/** tool_netns_name() - Return: the name of the namespace with this cookie, for as long as the program runs; NULL: it has none. */
const char *tool_netns_name(uint64_t cookie);

#endif
