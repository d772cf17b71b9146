/* shm_fd_test.c - descriptors out of the program's way */
#include "shm/shm_fd.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int lowest_free(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static void limits(rlim_t soft)
{
	struct rlimit r;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &r), 0);
	cr_assert_geq(r.rlim_max, soft);
	r.rlim_cur = soft;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &r), 0);
}

static void limits_both(rlim_t n)
{
	struct rlimit r = { n, n };

	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &r), 0);
}

Test(shm_fd, shm_fd_hide__above_the_soft_limit_when_there_is_room)
{
	struct rlimit r;
	int low, fd;

	limits(256);
	low = lowest_free();
	fd = shm_fd_hide(eventfd(3, EFD_NONBLOCK));
	cr_expect_geq(fd, 256, "the program could meet it");
	cr_expect_eq(lowest_free(), low);
	cr_expect(shm_fd_hidden(fd));
	cr_expect_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	eventfd_t v;

	cr_expect_eq(eventfd_read(fd, &v), 0);
	cr_expect_eq(v, 3, "it is not the same description");
	getrlimit(RLIMIT_NOFILE, &r);
	cr_expect_eq(r.rlim_cur, 256, "the program's limit must be as it was");
}

Test(shm_fd, shm_fd_hide__below_the_limit_when_there_is_none_above)
{
	static const rlim_t at[] = { 300, 1024, 4096 };

	for (int i = 2; i >= 0; i--) { /* limits only go down */
		int low, fd;

		limits_both(at[i]);
		low = lowest_free();
		fd = shm_fd_hide(eventfd(0, 0));
		cr_assert_geq(fd, 0);
		cr_expect_lt(fd, (int)at[i]);
		cr_expect_geq(fd, (int)at[i] / 2);
		cr_expect_eq(lowest_free(), low);
		shm_fd_close(fd);
	}
}

Test(shm_fd, shm_fd_hide__a_small_limit_is_the_programs_alone)
{
	int fd = eventfd(0, 0);

	limits_both(40);
	cr_expect_eq(shm_fd_hide(fd), -EMFILE);
	cr_expect_eq(lowest_free(), fd, "what it was given is closed");
}

Test(shm_fd, shm_fd_hide__no_room_closes_what_it_was_given)
{
	int fd, got, last = -1;

	limits_both(32);
	while ((fd = dup(0)) >= 0)
		last = fd;
	got = shm_fd_hide(last);
	cr_expect_lt(got, 0);
	cr_expect_eq(fcntl(last, F_GETFD), -1, "taken over means closed on failure");
	cr_expect_eq(shm_fd_next_hidden(0), -1);
}

Test(shm_fd, shm_fd_hide__hands_errors_through)
{
	cr_expect_eq(shm_fd_hide(-EMFILE), -EMFILE);
	cr_expect_lt(shm_fd_hide(999), 0);
	cr_expect_eq(shm_fd_next_hidden(0), -1);
}

Test(shm_fd, shm_fd_next_hidden__steps_over_word_borders)
{
	int fd[3];

	cr_expect_eq(shm_fd_next_hidden(0), -1);
	for (unsigned i = 0; i < 3; i++)
		fd[i] = shm_fd_hide(eventfd(0, 0));
	cr_expect_eq(shm_fd_next_hidden(-5), fd[0]);
	cr_expect_eq(shm_fd_next_hidden(fd[0]), fd[0]);
	cr_expect_eq(shm_fd_next_hidden(fd[0] + 1), fd[1]);
	cr_expect_eq(shm_fd_next_hidden(fd[2] + 1), -1);
	shm_fd_close(fd[1]);
	cr_expect_not(shm_fd_hidden(fd[1]));
	cr_expect_eq(fcntl(fd[1], F_GETFD), -1);
	cr_expect_eq(shm_fd_next_hidden(fd[0] + 1), fd[2]);
}

Test(shm_fd, shm_fd_hidden__any_number_may_be_asked)
{
	cr_expect_not(shm_fd_hidden(-1));
	cr_expect_not(shm_fd_hidden(0));
	cr_expect_not(shm_fd_hidden(1 << 20));
	cr_expect_not(shm_fd_hidden(INT32_MAX));
	cr_expect_not(shm_fd_hidden(INT32_MIN));
	cr_expect_eq(shm_fd_next_hidden(INT32_MAX), -1);
	shm_fd_close(-1);
}

/* A message of @len bytes with the first @n of @fds. */
static void post(int sock, const void *msg, size_t len, const int *fds, size_t n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(2 * sizeof(int))];
	} control = { .align = { .cmsg_len = CMSG_LEN(n * sizeof(int)),
				 .cmsg_level = SOL_SOCKET,
				 .cmsg_type = SCM_RIGHTS } };
	struct iovec iov = { (void *)msg, len };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = n ? &control : NULL,
			     .msg_controllen = n ? CMSG_SPACE(n * sizeof(int)) : 0 };

	if (n)
		memcpy(CMSG_DATA(&control.align), fds, n * sizeof(int));
	cr_assert_eq(sendmsg(sock, &mh, 0), (ssize_t)len);
}

Test(shm_fd, shm_fd_receive__takes_whole_messages_and_keeps_nothing_else)
{
	int pair[2], fds[2] = { 0, 1 }, fd, low;
	char got[8];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	low = lowest_free();
	cr_expect_eq(shm_fd_receive(pair[1], got, sizeof(got), &fd), 0);
	cr_expect_eq(fd, -1);
	post(pair[0], "messages", 8, fds, 1);
	cr_expect_eq(shm_fd_receive(pair[1], got, sizeof(got), &fd), 1);
	cr_expect(memcmp(got, "messages", 8) == 0 && fd == low, "%d", fd);
	cr_expect_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	post(pair[0], "messages", 8, fds, 0);
	cr_expect_eq(shm_fd_receive(pair[1], got, sizeof(got), &fd), 1);
	cr_expect_eq(fd, -1);
	/* too short, too long, two descriptors */
	post(pair[0], "messag", 6, fds, 1);
	post(pair[0], "messages!", 9, fds, 1);
	post(pair[0], "messages", 8, fds, 2);
	for (int i = 0; i < 3; i++) {
		cr_expect_eq(shm_fd_receive(pair[1], got, sizeof(got), &fd), -EPROTO, "%d", i);
		cr_expect_eq(fd, -1);
	}
	/* an empty one is taken for the end */
	post(pair[0], "", 0, fds, 1);
	cr_expect_eq(shm_fd_receive(pair[1], got, sizeof(got), &fd), -ENOTCONN);
	cr_expect_eq(fd, -1);
	cr_expect_eq(lowest_free(), low, "a descriptor stayed");
	close(pair[0]);
	cr_expect_eq(shm_fd_receive(pair[1], got, sizeof(got), &fd), -ENOTCONN);
}

/* Who closes with mail unread resets; what it had sent is still there. */
Test(shm_fd, shm_fd_receive__after_a_reset_what_was_sent_before)
{
	int pair[2], fd;
	char got[8];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	post(pair[0], "messages", 8, NULL, 0);
	post(pair[1], "unread", 6, NULL, 0);
	close(pair[0]);
	cr_expect_eq(shm_fd_receive(pair[1], got, sizeof(got), &fd), 1);
	cr_expect_eq(shm_fd_receive(pair[1], got, sizeof(got), &fd), -ENOTCONN);
}
