/* policy_words.c - a rule as text */
#include <string.h>

#include "daemon/policy/policy.h"
#include "daemon/policy/policy_out.h"

/* A value in quotes if it holds what would end it. */
static void text_put(struct policy_out *o, const char *s)
{
	bool quote = strpbrk(s, " \t,\"#\\");
	char c[2] = "";

	if (!quote) {
		policy_out_text(o, s);
		return;
	}
	policy_out_text(o, "\"");
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			policy_out_text(o, "\\");
		c[0] = *s;
		policy_out_text(o, c);
	}
	policy_out_text(o, "\"");
}

static void prefix_put(struct policy_out *o, const struct policy_val *v)
{
	bool four = v->family == 4;

	for (unsigned i = 0; i < (four ? 4u : 8u); i++) {
		if (i)
			policy_out_text(o, four ? "." : ":");
		if (four)
			policy_out_number(o, v->ip[i], 10);
		else
			policy_out_number(o, (uint64_t)v->ip[2 * i] << 8 | v->ip[2 * i + 1], 16);
	}
	if (v->bits < (four ? 32 : 128)) {
		policy_out_text(o, "/");
		policy_out_number(o, v->bits, 10);
	}
}

static void value_put(struct policy_out *o, const struct policy *p, const struct policy_val *v)
{
	switch ((enum policy_match_kind)v->kind) {
	case POLICY_M_USER:
	case POLICY_M_GROUP: policy_out_number(o, v->num, 10); break;
	case POLICY_M_NETNS:
		if (v->family)
			policy_out_number(o, v->num, 10);
		else
			text_put(o, policy_text(p, v->text));
		break;
	case POLICY_M_PORT:
	case POLICY_M_LOCAL_PORT:
	case POLICY_M_REMOTE_PORT:
		policy_out_number(o, v->lo, 10);
		if (v->hi != v->lo) {
			policy_out_text(o, "-");
			policy_out_number(o, v->hi, 10);
		}
		break;
	case POLICY_M_LOCAL:
	case POLICY_M_REMOTE: prefix_put(o, v); break;
	case POLICY_M_CGROUP:
	case POLICY_M_PROGRAM: text_put(o, policy_text(p, v->text)); break;
	case POLICY_M_BPF: policy_out_text(o, policy_bpf_name(p, v->lo)); break;
	case POLICY_M_KINDS: break;
	}
}

static void options_put(struct policy_out *o, const struct policy_rule *r)
{
	policy_out_text(o, policy_verdict_name((enum policy_verdict)r->verdict));
	if (r->paths && r->paths != POLICY_PATH_ALL)
		policy_out_text(o, r->paths == POLICY_PATH_SHM ? " path=shm" : " path=stack");
	if (r->threshold >= 0) {
		policy_out_text(o, " threshold=");
		policy_out_number(o, (uint64_t)r->threshold, 10);
	}
	if (r->role != POLICY_ROLE_BOTH)
		policy_out_text(o,
				r->role == POLICY_ROLE_LISTEN ? " role=listen" : " role=connect");
}

char *policy_rule_format(const struct policy *p, unsigned i, char *buf, size_t len)
{
	const struct policy_rule *r = policy_rule_get(p, i);
	struct policy_out o = { buf, len, 0 };

	options_put(&o, r);
	for (uint32_t k = 0; k < r->val_count; k++) {
		const struct policy_val *v = policy_val_get(p, r->val_first + k);

		if (!k || v[-1].kind != v->kind) {
			policy_out_text(&o, " ");
			policy_out_text(&o, policy_match_name((enum policy_match_kind)v->kind));
			policy_out_text(&o, "=");
		} else {
			policy_out_text(&o, ",");
		}
		value_put(&o, p, v);
	}
	return buf;
}
