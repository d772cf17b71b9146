/* ztcpd.h - the daemon's parts and what they share
 *
 * ztcpd keeps the selector's programs and tables in the kernel, serves the policy of each network namespace to them,
 * and introduces processes to each other. It is never on the data path: killed, it is missed by new connections
 * between users or namespaces alone, and its successor takes up what is pinned.
 *
 * One thread, one epoll set. Each source of events is a struct source inside its owner; ready() may free any
 * session or namespace but the one that is asked only through their own close functions, which take effect after the turn.
 */
#ifndef ZTCPD_H
#define ZTCPD_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/bpf/nic.h"
#include "daemon/bpf/selector.h"
#include "daemon/ztcpd/pair.h"

struct ztcpd;

/** struct source - a descriptor in the epoll set */
struct source {
	int fd;
	void (*ready)(struct ztcpd *d, struct source *src, uint32_t events);
};

struct sessions;
struct leases;
struct spaces;
struct metrics;

/** struct ztcpd - all of it */
struct ztcpd {
	int epoll;
	struct selector *sel;
	struct selector_report report;
	struct sessions *sessions;
	struct leases *leases;
	struct spaces *spaces;
	struct metrics *metrics;
	uint64_t agent;     /* suffix of the name under which this ztcpd listens */
	const char *policy; /* the file for namespaces without one of their own */
	struct pair_limits limits;
	bool stop;
};

/* What a step of the start returns that failed and has said why. */
enum { ZTCPD_SAID = 1 };

/* A line on standard error; systemd adds the time. */
void ztcpd_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Milliseconds that never go back. */
uint64_t ztcpd_now_ms(void);

/* Put a source into the set, change its events, take it out. Return: 0 or -errno. */
int source_add(struct ztcpd *d, struct source *src, uint32_t events);
int source_events(struct ztcpd *d, struct source *src, uint32_t events);
void source_drop(struct ztcpd *d, struct source *src);

/* ---- ztcpd_session.c: processes that ask to be introduced ---- */

int sessions_start(struct ztcpd *d);

/* A process has connected to @fd, which is taken over. */
void sessions_accept(struct ztcpd *d, int fd);

/* A message to a session, with a descriptor unless @fd < 0; one that does not take it is closed. Return: 0 or -errno. */
int sessions_send(struct ztcpd *d, uint32_t session, const void *msg, size_t len, int fd);

/* Return: a pidfd of the process that has connected, ours to close, or -errno. */
int sessions_process(const struct ztcpd *d, uint32_t session);

/* End of a turn: close what is to be closed, let wait who waits. Return: ms until it is to be called again, -1: not needed. */
int sessions_turn(struct ztcpd *d);
const struct pair_counts *sessions_counts(const struct ztcpd *d);
void sessions_stop(struct ztcpd *d);

/* ---- ztcpd_lease.c: queues of interfaces, and what is left when who had one has died ---- */

struct lease_msg;

/** struct asker - whose session it is: @pid and @uid as the kernel tells them of its socket, @person as person_of() does */
struct asker {
	uint32_t session, uid, person;
	int pid;
};

/*
 * A message of a session, which is answered here; it is changed. @fds: @n descriptors that came with it; one that is kept is set
 * to -1. Return: 0, or -errno: it makes no sense, or the answer is not taken; close the session.
 */
int leases_message(struct ztcpd *d, const struct asker *who, struct lease_msg *msg, int *fds,
		   unsigned n);

/* The session has ended, and with it what it had. */
void leases_end(struct ztcpd *d, uint32_t session);

/* End of a turn: clean up behind the dead, a piece at a time. Return: as sessions_turn(). */
int leases_turn(struct ztcpd *d);

/** struct lease_counts - since the start, but for @leases */
struct lease_counts {
	uint64_t ended, resets, removed;
	uint32_t leases;
};

const struct lease_counts *leases_counts(const struct ztcpd *d);
int leases_start(struct ztcpd *d);
void leases_stop(struct ztcpd *d);

/* ---- ztcpd_reset.c: resets in the name of who has died ---- */

/* Sockets to send by, of the caller's network namespace; -1: cannot be had. */
struct resetter {
	int fd4, fd6;
};

/** struct reset - one of them; ports in network order */
struct reset {
	struct nic_flow flow;
	uint32_t seq, ack, ifindex;
};

void resetter_open(struct resetter *r);
void resetter_close(struct resetter *r);

/* Return: 0 or -errno. */
int reset_send(const struct resetter *r, const struct reset *rst);

/* ---- ztcpd_person.c: who answers for a user id ---- */

/*
 * Who has made the user namespace that gives a process its @uid, unless that was root: subordinate user ids cost their
 * owner. Return: false when the process has ended, or its number is another's by now.
 */
bool person_of(int pid, uint32_t uid, uint32_t *person);

/* @ns: of a network namespace. Return: the user who has made it, 0: root. */
uint32_t person_of_space(int ns);

/* ---- ztcpd_limit.c: limits on the command line ---- */

/* @text: NAME=N. Return: whether it is one, and is set in @limits. */
bool limit_read(const char *text, struct pair_limits *limits);

/* Their names, with commas. */
void limit_names(char *buf, size_t size);

/* ---- ztcpd_space.c: network namespaces, their policies and the name in each ---- */

int spaces_start(struct ztcpd *d);

/* Serve the network namespace of a process, unless it is served. */
void spaces_meet(struct ztcpd *d, int pid);

/* Look at all names and policies again, at the end of this turn. */
void spaces_look(struct ztcpd *d);

/* Call @f in the network namespace of a process. Return: 0 or -errno: it was not called. */
int spaces_visit(struct ztcpd *d, int pid, void (*f)(void *arg), void *arg);
int spaces_turn(struct ztcpd *d);
unsigned spaces_count(const struct ztcpd *d);
uint64_t spaces_reloads(const struct ztcpd *d, bool failed);
void spaces_stop(struct ztcpd *d);

/* ---- ztcpd_metrics.c: OpenMetrics over HTTP ---- */

/* @address: "PORT", "ADDRESS:PORT" or "[ADDRESS]:PORT". Return: whether it is one of these. */
bool metrics_address_is_right(const char *address);

/* Return: 0, -errno, or ZTCPD_SAID. */
int metrics_start(struct ztcpd *d, const char *address);
int metrics_turn(struct ztcpd *d);
void metrics_stop(struct ztcpd *d);

/* ---- ztcpd_survey.c: what processes publish, for the page ---- */

/** struct survey - @done is called when it has ended; then the text is there, with @good, or @len is 0 */
struct survey {
	struct source src;
	void (*done)(struct ztcpd *d);
	int child; /* 0: none is under way */
	bool good;
	char *text;
	size_t len, room;
};

/* Unless one is under way. Return: 0 or -errno: @done is not called. */
int survey_begin(struct ztcpd *d, struct survey *s);

/* @done is called if one was under way. */
void survey_stop(struct ztcpd *d, struct survey *s);

/* ---- ztcpd_notify.c ---- */

/* Tell systemd (NOTIFY_SOCKET), when it has asked to be told. @state: "READY=1" and the like. */
void notify_systemd(const char *state);

/* ---- ztcpd_caps.c ---- */

/* Have a processor when somebody waits for us, if nobody has said how nice we are to be. Before caps_keep(). */
void priority_take(void);

/* Keep the capabilities that the daemon goes on needing, for good. Return: 0 or ZTCPD_SAID. */
int caps_keep(void);

#endif
