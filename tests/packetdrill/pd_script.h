/* pd_script.h - a packet script as data
 *
 * What it does: reads packetdrill's notation: times, packets in and out, ICMP, socket calls,
 * assertions, settings. Called by the player; one thread. Memory: the script's, given back by
 * pd_script_free().
 */
#ifndef ZTCP_TESTS_PD_SCRIPT_H
#define ZTCP_TESTS_PD_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/base/base_time.h"
#include "stack/wire/wire_tcp.h"

#define PD_ARGS_MAX 8

enum pd_time { PD_TIME_ABS, PD_TIME_REL, PD_TIME_ANY };
enum pd_event_kind { PD_EV_IN, PD_EV_OUT, PD_EV_CALL, PD_EV_ASSERT };

struct pd_tcp {
	struct wire_tcp seg; /* numbers as in the script: each side's first is its own */
	bool has_ack, has_wnd, any_opts, any_ecn;
	/* ICMP instead, quoting seg */
	bool icmp;
	char icmp_type[24];
	uint32_t icmp_mtu;
};

struct pd_call {
	char name[24];
	char *args[PD_ARGS_MAX];
	unsigned int nargs;
	char result[32]; /* number, or "?" */
	char err[24];    /* errno name, or empty */
};

struct pd_event {
	unsigned int line;
	enum pd_event_kind kind;
	enum pd_time time;
	ztime_t at, until; /* until: latest end of a call, or of a range; 0: none */
	struct pd_tcp tcp;
	struct pd_call call;
	char *text; /* of an assertion */
};

struct pd_script {
	char settings[512];
	ztime_t tolerance;
	bool v6;
	struct pd_event *events;
	unsigned int count;
	char *source;
	char error[160]; /* of pd_script_read() */
};

/** pd_script_read() - Return: true, or false and s->error with file and line. */
bool pd_script_read(struct pd_script *s, const char *file);

/** pd_script_free() - give back what pd_script_read() took, also after an error. */
void pd_script_free(struct pd_script *s);

#endif
