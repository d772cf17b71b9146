/* pd_so.h - the table that the packetdrill tool asks a stack in a shared object to fill
 *
 * What it does: states the order and the types of the functions, as the tool's --so_filename
 * option documents them. Each takes the userdata first, returns as its system call does, and sets
 * errno. Called by the tool from two threads: one for calls that may wait, one for all else.
 */
#ifndef ZTCP_TESTS_PD_SO_H
#define ZTCP_TESTS_PD_SO_H

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>

typedef void *pd_self;

struct packetdrill_interface {
	pd_self userdata;
	void (*free)(pd_self);
	int (*socket)(pd_self, int domain, int type, int protocol);
	int (*bind)(pd_self, int fd, const struct sockaddr *, socklen_t);
	int (*listen)(pd_self, int fd, int backlog);
	int (*accept)(pd_self, int fd, struct sockaddr *, socklen_t *);
	int (*connect)(pd_self, int fd, const struct sockaddr *, socklen_t);
	ssize_t (*read)(pd_self, int fd, void *, size_t);
	ssize_t (*readv)(pd_self, int fd, const struct iovec *, int);
	ssize_t (*recv)(pd_self, int fd, void *, size_t, int flags);
	ssize_t (*recvfrom)(pd_self, int fd, void *, size_t, int flags, struct sockaddr *,
			    socklen_t *);
	ssize_t (*recvmsg)(pd_self, int fd, struct msghdr *, int flags);
	ssize_t (*write)(pd_self, int fd, const void *, size_t);
	ssize_t (*writev)(pd_self, int fd, const struct iovec *, int);
	ssize_t (*send)(pd_self, int fd, const void *, size_t, int flags);
	ssize_t (*sendto)(pd_self, int fd, const void *, size_t, int flags, const struct sockaddr *,
			  socklen_t);
	ssize_t (*sendmsg)(pd_self, int fd, const struct msghdr *, int flags);
	int (*fcntl)(pd_self, int fd, int cmd, ...);
	int (*ioctl)(pd_self, int fd, unsigned long request, ...);
	int (*close)(pd_self, int fd);
	int (*shutdown)(pd_self, int fd, int how);
	int (*getsockopt)(pd_self, int fd, int level, int name, void *, socklen_t *);
	int (*setsockopt)(pd_self, int fd, int level, int name, const void *, socklen_t);
	int (*poll)(pd_self, struct pollfd *, nfds_t, int timeout);
	int (*netdev_send)(pd_self, const void *packet, size_t len); /* towards the stack */
	int (*netdev_receive)(pd_self, void *packet, size_t *len, long long *usecs); /* from it */
	int (*usleep)(pd_self, useconds_t);
	int (*gettimeofday)(pd_self, struct timeval *, struct timezone *);
	int (*epoll_create)(pd_self, int size);
	int (*epoll_ctl)(pd_self, int epfd, int op, int fd, struct epoll_event *);
	int (*epoll_wait)(pd_self, int epfd, struct epoll_event *, int max, int timeout);
	int (*pipe)(pd_self, int fds[2]);
	ssize_t (*splice)(pd_self, int in, loff_t *, int out, loff_t *, size_t, unsigned int flags);
};

/**
 * packetdrill_interface_init() - make a host and fill @ifc
 * @flags: settings as in pd_host.c ("cc=reno ecn=1"), or NULL; a word that is not known ends the
 *         program
 */
void packetdrill_interface_init(const char *flags, struct packetdrill_interface *ifc);

#endif
