/* pd_sysctl.c - settings of a stack as the kernel's sysctls of this network namespace have them */
#include "pd_sysctl.h"

#include <stdio.h>
#include <string.h>

#include "stack/base/base_check.h"
#include "stack/cc/cc.h"
#include "stack/tcp/tcp_int.h"

/* Return: numbers read into @v, of at most three. */
static int numbers(const char *name, uint32_t v[3])
{
	char path[96];
	FILE *f;
	int n;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
	f = fopen(path, "r");
	if (!f)
		return 0;
	n = fscanf(f, "%u %u %u", &v[0], &v[1], &v[2]);
	fclose(f);
	return n < 0 ? 0 : n;
}

static bool is_reno(void)
{
	char name[16] = "";
	FILE *f = fopen("/proc/sys/net/ipv4/tcp_congestion_control", "r");

	if (f && !fgets(name, sizeof(name), f))
		name[0] = 0;
	if (f)
		fclose(f);
	return strncmp(name, "reno", 4) == 0;
}

/* The kernel's buffers count its own overhead, of which half is taken to be bytes of the window. */
static void buffers(struct tcp_config *cfg)
{
	uint32_t v[3];

	if (numbers("tcp_rmem", v) == 3) {
		cfg->rcvbuf_bytes = v[1] / 2;
		cfg->rcvbuf_max_bytes = v[2];
	}
	if (numbers("tcp_wmem", v) == 3)
		cfg->sndbuf_bytes = v[1];
}

void pd_sysctl_read(struct tcb *t)
{
	struct tcp_config *cfg = &t->env->cfg;
	const struct {
		const char *name;
		bool *at;
	} bits[] = {
		{ "tcp_sack", &cfg->sack },
		{ "tcp_timestamps", &cfg->timestamps },
		{ "tcp_window_scaling", &cfg->window_scale },
		{ "tcp_slow_start_after_idle", &cfg->idle_restart },
	};
	uint32_t v[3];

	for (size_t i = 0; i < BASE_ARRAY_SIZE(bits); i++)
		if (numbers(bits[i].name, v))
			*bits[i].at = v[0] != 0;
	if (numbers("tcp_ecn", v))
		cfg->ecn = v[0] == 1;
	if (numbers("tcp_recovery", v))
		cfg->loss = v[0] & 1 ? &tcp_loss_rack : &tcp_loss_sack;
	if (numbers("tcp_min_tso_segs", v))
		cfg->gso_min_segs = (uint16_t)v[0];
	if (numbers("tcp_syn_retries", v))
		cfg->syn_retries = (uint8_t)v[0];
	if (numbers("tcp_synack_retries", v))
		cfg->synack_retries = (uint8_t)v[0];
	cfg->cc = is_reno() ? &cc_reno : &cc_cubic;
	buffers(cfg);
}
