/* ztcpd_limit.c - limits on the command line: NAME=N */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "daemon/policy/policy_value.h"
#include "daemon/ztcpd/ztcpd.h"

static const struct {
	const char *name;
	size_t offset;
} limits_all[] = {
	{ "sessions", offsetof(struct pair_limits, sessions) },
	{ "claims", offsetof(struct pair_limits, claims) },
	{ "channels", offsetof(struct pair_limits, channels) },
	{ "user-sessions", offsetof(struct pair_limits, user_sessions) },
	{ "user-claims", offsetof(struct pair_limits, user_claims) },
	{ "user-channels", offsetof(struct pair_limits, user_channels) },
	{ "user-messages", offsetof(struct pair_limits, user_messages_per_s) },
	{ "user-queues", offsetof(struct pair_limits, user_queues) },
};

enum { LIMITS = sizeof(limits_all) / sizeof(limits_all[0]), LIMIT_MIN = 2, LIMIT_MAX = 1 << 20 };

bool limit_read(const char *text, struct pair_limits *limits)
{
	size_t len = strcspn(text, "=");
	uint64_t n;

	if (text[len] != '=' || !policy_number_read(text + len + 1, LIMIT_MAX, &n) || n < LIMIT_MIN)
		return false;
	for (unsigned i = 0; i < LIMITS; i++) {
		if (strlen(limits_all[i].name) != len || memcmp(limits_all[i].name, text, len))
			continue;
		*(uint32_t *)((char *)limits + limits_all[i].offset) = (uint32_t)n;
		return true;
	}
	return false;
}

void limit_names(char *buf, size_t size)
{
	size_t used = 0;

	*buf = '\0';
	for (unsigned i = 0; i < LIMITS && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "",
					 limits_all[i].name);
}
