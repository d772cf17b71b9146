/* tool_rule.h - what the selector has in force; called by ztcp.c and tool_policy.c, one thread */
#ifndef ZTCP_TOOL_RULE_H
#define ZTCP_TOOL_RULE_H

#include <stdbool.h>

struct policy;

int tool_rules(int argc, char **argv);
int tool_rule(int argc, char **argv);

/**
 * tool_policy_set() - put a policy into force at once
 * @p:     borrowed
 * @file:  where it is from, for messages
 * @netns: name under /run/netns; NULL: all namespaces without a policy of their own
 * @pin:   folder of the selector's pins; NULL: the usual one
 *
 * Return: exit status.
 */
int tool_policy_set(const struct policy *p, const char *file, const char *netns, const char *pin,
		    bool json);

#endif
