/* pd_priv.h - the inside of a host for packet scripts, shared by its two files
 *
 * What it does: lays out struct pd_host. Included by pd_host.c (calls) and pd_option.c (options and
 * information). Memory and thread: pd_host.h.
 */
#ifndef ZTCP_TESTS_PD_PRIV_H
#define ZTCP_TESTS_PD_PRIV_H

#include "pd_host.h"
#include "tests/lib/inst_pair.h"

#define FDS      64
#define FD_FIRST 3

enum pd_kind { PD_FREE, PD_NEW, PD_LISTEN, PD_CONN };

struct pd_fd {
	enum pd_kind kind;
	struct inst_conn *conn;
	struct inst_listener *listener;
	union wire_addr local;
	uint16_t port;
	bool nonblock, v6, bound, error_told, connecting, shut_rd, shut_wr;
	bool fast_open;                /* TCP_FASTOPEN_CONNECT */
	struct sockaddr_storage later; /* where the first write connects to */
	socklen_t later_len;           /* 0: nowhere */
	uint32_t lowat;                /* TCP_NOTSENT_LOWAT; 0: not set */
	uint32_t edges;                /* times that something happened: what EPOLLET tells */
};

struct pd_host {
	struct inst *in;
	void *mem;
	ztime_t now;
	int fd_base; /* added to the numbers of descriptors */
	struct pd_fd fds[FDS];
	struct pd_packet queue[PD_QUEUE_MAX];
	unsigned int put, got;
	struct inst_pair bufs; /* only its counted buffers */
	enum tcp_cookie_mode cookies;
	uint32_t tfo_max;
	uint8_t tfo_cookie
		[WIRE_TCP_TFO_MAX]; /* the last one that a peer gave: scripts have one peer */
	uint8_t tfo_len;
	bool host_sysctls; /* new sockets follow the sysctls of the namespace */
};

/* Return: the open descriptor @fd, or NULL. */
struct pd_fd *pd_fd_get(struct pd_host *h, int fd);

/* Let the instance do what is due, and keep what it sends. */
void pd_turn(struct pd_host *h);

/* The error of a connection is told once, by whichever call comes first. Return: 0 or -errno. */
int pd_error_take(struct pd_fd *f);

#endif
