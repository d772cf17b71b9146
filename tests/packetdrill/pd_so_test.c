/* pd_so_test.c - loads the shared object as the packetdrill tool does and plays a connection
 * through its table
 *
 * usage: pd_so_test LIBRARY
 * Exit: 0 when each call does what the tool relies on; 1 with the line that does not.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "pd_so.h"
#include "pd_wire.h"

#define CHECK(cond)                                                       \
	do {                                                              \
		if (!(cond)) {                                            \
			printf("%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			return 1;                                         \
		}                                                         \
	} while (0)

static struct packetdrill_interface ifc;
static struct pd_peer peer;

static void send_segment(uint8_t flags, uint32_t seq, uint32_t ack, uint32_t len)
{
	struct pd_tcp t = { .has_ack = flags & TCP_ACK };
	static uint8_t packet[65600];

	t.seg = (struct wire_tcp){
		.flags = flags, .seq = seq, .ack = ack, .len = len, .wnd = 60000
	};
	ifc.netdev_send(ifc.userdata, packet, pd_peer_build(&peer, &t, packet));
}

static const char *receive(struct pd_tcp *t, long long *usecs)
{
	uint8_t packet[2048];
	size_t len = sizeof(packet);

	if (ifc.netdev_receive(ifc.userdata, packet, &len, usecs) != 0 || !len)
		return "nothing";
	return pd_peer_read(&peer, packet, len, NULL, t);
}

static void *acceptor(void *arg)
{
	*(int *)arg = ifc.accept(ifc.userdata, 503, NULL, NULL);
	return NULL;
}

static int handshake(int *fd)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(8080) };
	pthread_t thread;
	struct pd_tcp t;
	long long at;

	CHECK(ifc.socket(ifc.userdata, AF_INET, SOCK_STREAM, IPPROTO_TCP) == 503);
	CHECK(ifc.bind(ifc.userdata, 503, (void *)&a, sizeof(a)) == 0);
	CHECK(ifc.listen(ifc.userdata, 503, 5) == 0);
	/* accept() waits in a thread of its own, as in the tool. */
	CHECK(pthread_create(&thread, NULL, acceptor, fd) == 0);
	send_segment(TCP_SYN, 0, 0, 0);
	CHECK(receive(&t, &at) == NULL && t.seg.flags == (TCP_SYN | TCP_ACK) && t.seg.ack == 1);
	send_segment(TCP_ACK, 1, 1, 0);
	pthread_join(thread, NULL);
	CHECK(*fd == 504);
	return 0;
}

static int bytes(int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd }, got;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[100];
	struct pd_tcp t;
	long long at, again;
	struct timeval tv;
	int ep = ifc.epoll_create(ifc.userdata, 1);

	CHECK(ep >= 0 && ifc.epoll_ctl(ifc.userdata, ep, EPOLL_CTL_ADD, fd, &ev) == 0);
	CHECK(ifc.poll(ifc.userdata, &p, 1, 0) == 0);
	CHECK(ifc.epoll_wait(ifc.userdata, ep, &got, 1, 0) == 0);
	send_segment(TCP_ACK | TCP_PSH, 1, 1, 50);
	CHECK(ifc.epoll_wait(ifc.userdata, ep, &got, 1, 0) == 1 && got.data.fd == fd);
	CHECK(ifc.poll(ifc.userdata, &p, 1, 0) == 1 && p.revents == POLLIN);
	CHECK(ifc.read(ifc.userdata, fd, buf, sizeof(buf)) == 50);
	CHECK(receive(&t, &at) == NULL && t.seg.ack == 51);
	/* A segment that is not acknowledged comes again, in virtual time. */
	CHECK(ifc.write(ifc.userdata, fd, "hello", 5) == 5);
	CHECK(receive(&t, &at) == NULL && t.seg.len == 5);
	CHECK(receive(&t, &again) == NULL && t.seg.len == 5);
	CHECK(again - at >= 200000 && again - at < 3000000);
	CHECK(ifc.gettimeofday(ifc.userdata, &tv, NULL) == 0);
	CHECK(tv.tv_sec * 1000000ll + tv.tv_usec >= again);
	CHECK(ifc.usleep(ifc.userdata, 1000) == 0);
	return 0;
}

static int errors(int fd)
{
	struct pd_tcp t;
	long long at;

	send_segment(TCP_ACK, 51, 6, 0);
	CHECK(ifc.close(ifc.userdata, fd) == 0);
	CHECK(ifc.close(ifc.userdata, fd) == -1 && errno == EBADF);
	CHECK(ifc.read(ifc.userdata, fd, NULL, 0) == -1 && errno == EBADF);
	CHECK(receive(&t, &at) == NULL && t.seg.flags & TCP_FIN);
	CHECK(ifc.pipe(ifc.userdata, NULL) == -1 && errno == ENOSYS);
	ifc.free(ifc.userdata);
	return 0;
}

int main(int argc, char **argv)
{
	void (*init)(const char *, struct packetdrill_interface *);
	void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
	int fd = -1;

	if (!library) {
		printf("usage: pd_so_test LIBRARY: %s\n", dlerror());
		return 1;
	}
	*(void **)&init = dlsym(library, "packetdrill_interface_init");
	CHECK(init);
	init("cc=reno rto_min_ms=200", &ifc);
	pd_peer_init(&peer, false);
	peer.live = true;
	return handshake(&fd) || bytes(fd) || errors(fd);
}
