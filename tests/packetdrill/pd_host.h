/* pd_host.h - sockets over one instance in virtual time, for packet scripts
 *
 * What it does: the socket calls that scripts use, raw IP packets in and out, and a clock that
 * only moves when told. Called by the player (pd_play.c) and by the shared object for the
 * packetdrill tool (pd_so.c); one thread at a time. Memory: its own.
 *
 * Calls return a value or -errno, and never wait: -EAGAIN says that a blocking call would.
 */
#ifndef ZTCP_TESTS_PD_HOST_H
#define ZTCP_TESTS_PD_HOST_H

#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "stack/inst/inst.h"

#define PD_PACKET_MAX 65600
#define PD_QUEUE_MAX  512

struct pd_packet {
	ztime_t at;
	uint32_t len;
	uint8_t *data; /* from the IP header on */
};

struct pd_host;

/**
 * pd_host_new() - a host with 192.168.0.1/16 and fd3d:0:0:0::1/64, whose gateway answers for all
 * others
 * @settings: "name=value" words, see pd_host.c
 * @bad:      set to the word that was not understood
 *
 * Return: the host, or NULL.
 */
struct pd_host *pd_host_new(const char *settings, char bad[64]);

/**
 * pd_host_free() - Return: buffers and blocks that were left behind once all connections were
 * dropped.
 */
long pd_host_free(struct pd_host *h);

/** pd_now() - the clock. */
ztime_t pd_now(const struct pd_host *h);

/**
 * pd_advance() - move the clock to @to, doing what is due on the way; stops early when a packet is
 * sent if @until_packet.
 */
void pd_advance(struct pd_host *h, ztime_t to, bool until_packet);

/** pd_packet_in() - one IP packet from the network. */
void pd_packet_in(struct pd_host *h, const uint8_t *packet, size_t len);

/** pd_packet_out() - the next packet sent. Return: it, the caller's to free, or data NULL. */
struct pd_packet pd_packet_out(struct pd_host *h);

int pd_socket(struct pd_host *h, int domain, int type, int protocol);
int pd_bind(struct pd_host *h, int fd, const struct sockaddr *a, socklen_t len);
int pd_listen(struct pd_host *h, int fd, int backlog);
int pd_accept(struct pd_host *h, int fd, struct sockaddr *a, socklen_t *len);
int pd_connect(struct pd_host *h, int fd, const struct sockaddr *a, socklen_t len);
/** pd_fast_open() - connect with a first write (sendto() with MSG_FASTOPEN). Return: bytes that go with the SYN. */
ssize_t pd_fast_open(struct pd_host *h, int fd, const struct sockaddr *a, socklen_t alen,
		     const void *buf, size_t len, int flags);

ssize_t pd_read(struct pd_host *h, int fd, void *buf, size_t len, int flags);
ssize_t pd_write(struct pd_host *h, int fd, const void *buf, size_t len, int flags);
int pd_shutdown(struct pd_host *h, int fd, int how);
int pd_close(struct pd_host *h, int fd);
int pd_fcntl(struct pd_host *h, int fd, int cmd, long arg);
int pd_ioctl(struct pd_host *h, int fd, unsigned long request, int *arg);
int pd_setsockopt(struct pd_host *h, int fd, int level, int name, const void *v, socklen_t len);
int pd_getsockopt(struct pd_host *h, int fd, int level, int name, void *v, socklen_t *len);
int pd_poll(struct pd_host *h, struct pollfd *fds, unsigned int n);

/** pd_nonblocking() - Return: true when @fd's calls must not wait. */
bool pd_nonblocking(const struct pd_host *h, int fd);

/** pd_edges() - Return: how often something has happened on @fd, for edge-triggered waits. */
uint32_t pd_edges(struct pd_host *h, int fd);

/** pd_info() - Return: true and *@info for a connection. */
bool pd_info(struct pd_host *h, int fd, struct tcp_info_rec *info);

/** pd_counter() - Return: count of @name as in counters.def, -1 for no such. */
long pd_counter(const struct pd_host *h, const char *name);

#endif
