/* policy_gen.h - random policies and connections for tests
 *
 * From a seed, text of a policy and connections that its rules are near to: few different ports, prefixes, users
 * and names, so that rules overlap and shadow each other. Used by the unit tests of daemon/policy and by tests/bpf.
 * Memory is the caller's; one thread per struct policy_gen.
 */
#ifndef TESTS_POLICY_GEN_H
#define TESTS_POLICY_GEN_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/policy/policy.h"

/** struct policy_gen - @process: rules may also ask for the process; @bpf: and for eBPF matches a, b, c */
struct policy_gen {
	uint64_t seed;
	bool process;
	bool bpf;
};

/** policy_gen_next() - Return: a random number. */
uint32_t policy_gen_next(struct policy_gen *g);

/** policy_gen_text() - @rules lines of policy. Return: bytes; ends with NUL. @size: at least 512 a rule. */
size_t policy_gen_text(struct policy_gen *g, unsigned rules, char *text, size_t size);

/** policy_gen_addr() - an address and port that rules may name. */
struct policy_addr policy_gen_addr(struct policy_gen *g, unsigned family);

/** policy_gen_first() - Return: the first rule of @p that matches, looked at one after the other; -1: none. */
int policy_gen_first(const struct policy *p, const struct policy_conn *c);

#endif
