/* policy_value.h - values of matches; for the files of daemon/policy alone
 *
 * Each reader takes the text of one value, ended by NUL, and fills in a policy_val. Pure. A reader
 * returns NULL, or a constant sentence part that says what it expected.
 */
#ifndef ZTCP_POLICY_VALUE_H
#define ZTCP_POLICY_VALUE_H

#include "daemon/policy/policy.h"

/** policy_number_read() - a decimal number 0..@max and nothing else. Return: whether it is one. */
bool policy_number_read(const char *text, uint64_t max, uint64_t *num);

/** policy_ip_read() - a plain address, @len bytes. Return: 4, 6, or 0 if it is none; @ip is filled. */
unsigned policy_ip_read(const char *text, size_t len, uint8_t ip[16]);

/** policy_prefix_read() - an address with or without /length; IPv4-mapped prefixes become IPv4. */
const char *policy_prefix_read(const char *text, struct policy_val *v);

/** policy_port_read() - a port or a range of ports. */
const char *policy_port_read(const char *text, struct policy_val *v);

/** policy_name_check() - a name for netns= or bpf=: letters, digits, "_", "-", "." */
bool policy_name_check(const char *text);

/** policy_glob_valid() - are all sets closed, does no escape stand at the end? */
bool policy_glob_valid(const char *pat);

#endif
