/* direct_name.c - addresses of sockets that the stack of this process serves
 *
 * The kernel's socket behind the descriptor holds the port, and its address where that need not be the kernel's own.
 */
#include "preload/sock/direct_priv.h"
#include "preload/sock/mem.h"
#include "shm/shm_sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

union wire_addr direct_wire_of(const struct policy_addr *a)
{
	return a->family == 4 ? wire_addr_v4_bytes(a->ip) : wire_addr_v6_bytes(a->ip);
}

bool direct_name_of(int fd, struct sockaddr_storage *sa)
{
	socklen_t len = sizeof(*sa);

	memset(sa, 0, sizeof(*sa));
	return sys(SYS_getsockname, fd, sa, &len) == 0;
}

socklen_t direct_sockaddr_of(bool six, const union wire_addr *a, uint16_t port,
			     struct sockaddr_storage *out)
{
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (six) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		memcpy(&in6->sin6_addr, a->b, 16);
		return sizeof(*in6);
	}
	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	memcpy(&in->sin_addr, a->b + 12, 4);
	return sizeof(*in);
}

void direct_name_copy(struct sockaddr *sa, socklen_t *len, const struct sockaddr_storage *from,
		      socklen_t bytes)
{
	memcpy(sa, from, *len < bytes ? *len : bytes);
	*len = bytes;
}

/* The kernel's answer, with the names that the connection had before it was relayed. */
static int relay_name(struct sock *s, bool peer, struct sockaddr *sa, socklen_t *len)
{
	struct sockaddr_storage full = { 0 };
	socklen_t bytes = sizeof(full), room;
	int err;

	if (!mem_writable(len, sizeof(*len)))
		return -EFAULT;
	room = *len;
	err = (int)sys(peer ? SYS_getpeername : SYS_getsockname, s->fd, sa, len);
	if (err == 0 && sys(SYS_getsockname, s->fd, &full, &bytes) == 0) {
		bytes = direct_relay_name(s, peer, &full);
		direct_name_copy(sa, &room, &full, bytes);
		*len = room;
	}
	return err;
}

int direct_name(struct sock *s, bool peer, struct sockaddr *sa, socklen_t *len)
{
	struct sockaddr_storage full;
	struct direct *d;
	socklen_t bytes;
	int err;

	if (direct_relayed(s))
		return relay_name(s, peer, sa, len);
	d = direct_enter(s, &err);
	if (!d && err == -EBADF && direct_relayed(s))
		return relay_name(s, peer, sa, len);
	if (!d)
		return err == -EBADF ? DIRECT_NOT_OURS : err;
	err = DIRECT_NOT_OURS;
	if (d->conn && peer && (d->stage != DIRECT_CONNECTED || direct_gone(d))) {
		err = -ENOTCONN;
	} else if (d->conn && !mem_writable(len, sizeof(*len))) {
		err = -EFAULT;
	} else if (d->conn && (int)*len < 0) {
		err = -EINVAL;
	} else if (d->conn && !mem_writable(sa, *len < sizeof(full) ? *len : sizeof(full))) {
		err = -EFAULT;
	} else if (d->conn) {
		bytes = peer ? direct_sockaddr_of(d->six, &d->flow.remote, d->flow.rport, &full)
			     : direct_sockaddr_of(d->six, &d->flow.local, d->flow.lport, &full);
		direct_name_copy(sa, len, &full, bytes);
		err = 0;
	}
	net_leave();
	return err;
}

void direct_freebind(int fd, bool six, int on)
{
	if (six)
		sys(SYS_setsockopt, fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on));
	else
		sys(SYS_setsockopt, fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
}

void direct_bind_failed(int fd, const struct sockaddr *to)
{
	direct_freebind(fd, to->sa_family == AF_INET6, 0);
}

bool direct_bind(struct sock *s, int fd, const struct sockaddr *to, socklen_t len)
{
	const struct policy_ifaces *all;
	struct policy_addr a;
	enum reason why;

	if (s->row || len < sizeof(struct sockaddr_in) || !mem_readable(to, len) ||
	    (to->sa_family == AF_INET6 && len < sizeof(struct sockaddr_in6)))
		return false;
	all = net_ifaces(&why);
	policy_addr_set(&a, to);
	if (!all->count || policy_iface_of(all, &a) < 0)
		return false;
	direct_freebind(fd, to->sa_family == AF_INET6, 1);
	return true;
}
