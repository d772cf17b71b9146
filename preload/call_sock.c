/* call_sock.c - overrides that make sockets, set options, shut down */
#include "preload/call.h"
#include "preload/sock/conf.h"
#include "preload/sock/direct.h"
#include "preload/sock/mem.h"
#include "preload/sock/opt.h"
#include "preload/sock/span.h"

#include <errno.h>
#include <netinet/in.h>

static bool is_tcp(int domain, int type, int protocol)
{
	return (domain == AF_INET || domain == AF_INET6) &&
	       (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_STREAM &&
	       (protocol == 0 || protocol == IPPROTO_TCP);
}

/* What an override of direct.h has answered, as libc does. */
static int answer(int err)
{
	if (err >= 0)
		return err;
	errno = -err;
	return -1;
}

EXPORT int socket(int domain, int type, int protocol)
{
	struct sock *s;
	int fd;

	if (unlikely(conf.direct) && is_tcp(domain, type, protocol) && !call_is_foreign()) {
		fd = direct_socket(domain == AF_INET6, type & (SOCK_NONBLOCK | SOCK_CLOEXEC));
		if (fd != DIRECT_NOT_OURS)
			return answer(fd);
	}
	fd = real.socket(domain, type, protocol);
	if (fd >= 0 && sock_of(fd) && !call_is_foreign())
		sock_close(fd); /* closed behind our back */
	if (fd >= 0 && is_tcp(domain, type, protocol) && !call_is_foreign()) {
		s = sock_open(fd);
		if (s)
			SHM_WRITE(s->fresh,
				  SOCK_FRESH_OPTIONS | SOCK_FRESH_NAME | SOCK_FRESH_AS_MADE);
	}
	return fd;
}

EXPORT int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct sock *s = sock_of(fd);
	int ret;

	if (likely(!s))
		return real.connect(fd, addr, len);
	ret = direct_has(s) ? direct_connect_more(s, addr, len) : DIRECT_NOT_OURS;
	if (ret != DIRECT_NOT_OURS)
		return answer(ret);
	if (unlikely(conf.direct) && !sock_row(s) && !call_is_foreign()) {
		ret = direct_connect(s, fd, addr, len);
		if (ret != DIRECT_NOT_OURS)
			return answer(ret);
	}
	if (sock_row(s)) { /* connect(AF_UNSPEC), or asking how a first one went */
		if (len >= sizeof(addr->sa_family) && mem_readable(addr, sizeof(addr->sa_family)) &&
		    addr->sa_family == AF_UNSPEC)
			sock_settle(s, REASON_CLOSED_EARLY);
		return real.connect(fd, addr, len);
	}
	direct_soil(s);
	ret = real.connect(fd, addr, len);
	if (ret == 0 || errno == EINPROGRESS || errno == EINTR) {
		int saved = errno;

		if (addr && (addr->sa_family == AF_INET || addr->sa_family == AF_INET6))
			sock_connected(s, STATS_CONNECT, NULL);
		errno = saved;
	}
	return ret;
}

EXPORT int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct sock *s = sock_of(fd);
	bool ours = false;
	int ret, saved;

	if (s && direct_has(s))
		return answer(-EINVAL);
	direct_soil(s);
	if (unlikely(s && conf.direct))
		ours = direct_bind(s, fd, addr, len);
	if (s && !sock_row(s))
		SHM_WRITE(s->fresh, s->fresh & ~SOCK_FRESH_NAME);
	ret = real.bind(fd, addr, len);
	if (unlikely(ours && ret < 0)) {
		saved = errno;
		direct_bind_failed(fd, addr);
		errno = saved;
	}
	return ret;
}

EXPORT int listen(int fd, int backlog)
{
	struct sock *s = sock_of(fd);
	int ret;

	if (s && direct_has(s))
		return answer(-EINVAL);
	direct_soil(s);
	ret = real.listen(fd, backlog);
	if (unlikely(s && conf.direct) && ret == 0 && !call_is_foreign())
		direct_listen(s, fd, backlog, false);
	return ret;
}

EXPORT int getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct sock *s = sock_of(fd);
	int ret = s && (direct_at(s) || direct_relayed(s)) ? direct_name(s, false, addr, len)
							   : DIRECT_NOT_OURS;

	return likely(ret == DIRECT_NOT_OURS) ? real.getsockname(fd, addr, len) : answer(ret);
}

EXPORT int getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct sock *s = sock_of(fd);
	int ret = s && (direct_at(s) || direct_relayed(s)) ? direct_name(s, true, addr, len)
							   : DIRECT_NOT_OURS;

	return likely(ret == DIRECT_NOT_OURS) ? real.getpeername(fd, addr, len) : answer(ret);
}

static void accepted(int listener, int fd, const struct sockaddr *remote, enum reason why)
{
	struct sock *s;

	if (call_is_foreign())
		return;
	if (remote->sa_family != AF_INET && remote->sa_family != AF_INET6) {
		if (sock_of(fd))
			sock_close(fd);
		return;
	}
	s = sock_open(fd);
	if (!s)
		return;
	s->listener = listener;
	s->why = (uint16_t)why;
	sock_connected(s, STATS_ACCEPT, remote);
}

/* The kernel's answer goes to memory of ours first: the peer's address is wanted whether asked for or not. */
static int accept_any(int listener, struct sockaddr *addr, socklen_t *len, int flags, bool four)
{
	struct sockaddr_storage sa = { .ss_family = AF_UNSPEC };
	socklen_t got = sizeof(sa), room = 0;
	struct sockaddr *p = (struct sockaddr *)&sa;
	struct sock *s = sock_of(listener);
	struct direct_accepting a = { .sa = p, .len = &got, .flags = flags };
	int fd, direct = DIRECT_NOT_OURS;

	if (addr && len && !mem_writable(len, sizeof(*len)))
		len = NULL;
	if (addr && len)
		room = *len;
	/* the kernel's to refuse; it writes an address, however much room there is */
	if (addr &&
	    (!len || (int)room < 0 ||
	     !mem_writable(addr, room < sizeof(struct sockaddr_in) ? room
								   : sizeof(struct sockaddr_in)))) {
		if (unlikely(s && SHM_FOLLOW(s->direct)) && direct_ready(s, POLLIN, true))
			return answer(len && (int)room < 0 ? -EINVAL : -EFAULT);
		return four ? real.accept4(listener, addr, len, flags)
			    : real.accept(listener, addr, len);
	}
	if (unlikely(s && SHM_FOLLOW(s->direct)) && !call_is_foreign())
		direct = direct_accept(s, listener, &a);
	if (unlikely(direct != DIRECT_NOT_OURS))
		fd = answer(direct);
	else
		fd = four ? real.accept4(listener, p, &got, flags) : real.accept(listener, p, &got);
	if (fd < 0)
		return fd;
	if (addr) {
		if (room > got)
			room = got;
		__builtin_memcpy(addr, &sa, room);
		*len = got;
	}
	if (likely(direct == DIRECT_NOT_OURS || a.kernels))
		accepted(listener, fd, p, a.why);
	return fd;
}

EXPORT int accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	return accept_any(fd, addr, len, 0, false);
}

EXPORT int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return accept_any(fd, addr, len, flags, true);
}

EXPORT int shutdown(int fd, int how)
{
	struct sock *s = sock_of(fd);
	int ret = s && direct_has(s) ? direct_shutdown(s, how) : DIRECT_NOT_OURS;

	if (ret != DIRECT_NOT_OURS)
		return answer(ret);
	if (unlikely(s && SHM_FOLLOW(s->direct)) && (how == SHUT_RD || how == SHUT_RDWR))
		direct_listen_stop(s);
	direct_soil(s);
	if (likely(!s || !sock_conn(s)))
		return real.shutdown(fd, how);
	sock_get(s);
	if (how == SHUT_WR || how == SHUT_RDWR) {
		SHM_WRITE(s->pinned, true);
		/* the tail before the FIN: the reader takes the kernel's word that nothing follows it */
		atomic_fetch_or(&s->conn->ctl.flags_tx, SHM_TX_FIN);
		span_shutdown(s);
		span_flush(s);
	}
	how = real.shutdown(fd, how);
	if (how == 0)
		span_stop(s);
	sock_stir(s);
	sock_put(s);
	return how;
}

EXPORT int getsockopt(int fd, int level, int name, void *val, socklen_t *len)
{
	struct sock *s = sock_of(fd);
	const bool stack = s && direct_has(s);
	int ret;

	if (stack) {
		ret = direct_opt_kept(s, level, name, val, len);
		if (ret != DIRECT_NOT_OURS)
			return answer(ret);
	}
	if (unlikely(level == SOL_SOCKET && name == SO_COOKIE))
		direct_soil(s); /* no other is to have the same */
	ret = real.getsockopt(fd, level, name, val, len);
	if (unlikely(s && ret == 0 && level == IPPROTO_TCP && name == 11 /* TCP_INFO */))
		opt_tcp_info(s, val, *len);
	if (unlikely(s && ret == 0 && level == SOL_SOCKET && name == SO_ERROR) &&
	    *len == sizeof(int))
		opt_error(s, val);
	if (stack && ret == 0)
		direct_opt_get(s, level, name, val, len);
	return ret;
}

EXPORT int setsockopt(int fd, int level, int name, const void *val, socklen_t len)
{
	struct sock *s = sock_of(fd);
	int ret;

	if (likely(!s))
		return real.setsockopt(fd, level, name, val, len);
	if (direct_has(s)) {
		bool allowed = direct_opt_allowed(s, level, name);

		if (!allowed && !direct_lower(s, REASON_OPTION_SOCKET))
			return -1;
		ret = allowed ? direct_opt_keep(s, level, name, val, len) : DIRECT_NOT_OURS;
		if (ret != DIRECT_NOT_OURS)
			return answer(ret);
	}
	direct_soil(s);
	opt_before_set(s, level, name);
	ret = real.setsockopt(fd, level, name, val, len);
	if (ret == 0)
		opt_after_set(s, level, name, val, len);
	return ret;
}

EXPORT int __connect(int fd, const struct sockaddr *addr, socklen_t len)
	__attribute__((alias("connect")));
