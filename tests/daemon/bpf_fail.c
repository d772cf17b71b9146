/* bpf_fail.c - run a program to whom the kernel refuses some of its bpf() calls
 *
 *	bpf_fail PLAN REPORT PROGRAM ARGUMENT...
 *
 * PLAN is N/ERRNO (the N-th call alone), COMMAND:TYPE/ERRNO (every call of that kind; numbers as in linux/bpf.h; type -1: all), or
 * all/ERRNO. A line goes to the file REPORT for each call that was refused.
 *
 * The program keeps the process id that this one had. A child of ours is asked by the kernel about each of its calls (seccomp's user
 * notification), reads what is asked out of the program's memory, and lets it go on or not; it ends with the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct plan {
	long nth;     /* 0: by kind */
	long command; /* -1: all */
	long type;    /* -1: all */
	int err;
};

static int die(const char *what)
{
	perror(what);
	return 2;
}

static bool plan_read(const char *text, struct plan *p)
{
	char *end;

	*p = (struct plan){ .command = -1, .type = -1 };
	if (!strncmp(text, "all/", 4)) {
		end = (char *)text + 3;
	} else {
		p->nth = strtol(text, &end, 10);
		if (end == text)
			return false;
		if (*end == ':') {
			p->command = p->nth;
			p->nth = 0;
			p->type = strtol(end + 1, &end, 10);
		}
	}
	if (*end != '/')
		return false;
	p->err = atoi(end + 1);
	return p->err > 0;
}

/* The word of the attributes that tells kinds of a command apart. */
static long kind_of(pid_t pid, const struct seccomp_data *call)
{
	union bpf_attr attr = { 0 };
	struct iovec to = { &attr, sizeof(attr) },
		     from = { (void *)(uintptr_t)call->args[1], call->args[2] };

	if (from.iov_len > to.iov_len)
		from.iov_len = to.iov_len;
	to.iov_len = from.iov_len;
	if (process_vm_readv(pid, &to, 1, &from, 1, 0) < 0)
		return -1;
	switch (call->args[0]) {
	case BPF_MAP_CREATE: return attr.map_type;
	case BPF_PROG_LOAD: return attr.prog_type;
	case BPF_LINK_CREATE: return attr.link_create.attach_type;
	default: return -1;
	}
}

static bool refuse(const struct plan *p, const struct seccomp_notif *n, long count)
{
	if (p->nth)
		return p->nth == count;
	return (p->command < 0 || (long)n->data.args[0] == p->command) &&
	       (p->type < 0 || kind_of((pid_t)n->pid, &n->data) == p->type);
}

static void supervise(int listener, const struct plan *p, const char *report)
{
	struct pollfd pfd = { .fd = listener, .events = POLLIN };
	int out = open(report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	long count = 0;

	while (poll(&pfd, 1, -1) >= 0 && pfd.revents & POLLIN) {
		struct seccomp_notif n = { 0 };
		struct seccomp_notif_resp r = { 0 };

		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &n)) {
			if (errno == ENOENT || errno == EINTR)
				continue;
			return;
		}
		r.id = n.id;
		if (refuse(p, &n, ++count)) {
			dprintf(out, "%ld: command %llu\n", count,
				(unsigned long long)n.data.args[0]);
			r.error = -p->err;
		} else {
			r.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		}
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &r);
	}
}

/* Return: the descriptor by which the kernel asks. */
static int filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
			    &prog);
}

static int fd_pass(int sock, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(fd))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(sock, &mh, 0) == 1 ? 0 : -1;
}

static int fd_take(int sock)
{
	char byte, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control) };
	int fd = -1;

	if (recvmsg(sock, &mh, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&mh))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&mh)), sizeof(fd));
	return fd;
}

int main(int argc, char **argv)
{
	struct plan plan;
	int sock[2], fd;

	if (argc < 4 || !plan_read(argv[1], &plan)) {
		fprintf(stderr,
			"usage: bpf_fail N/ERRNO | COMMAND:TYPE/ERRNO | all/ERRNO REPORT PROGRAM...\n");
		return 2;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock))
		return die("socketpair");
	switch (fork()) {
	case -1: return die("fork");
	case 0:
		close(sock[1]);
		fd = fd_take(sock[0]);
		for (int i = 3; i < 1024;
		     i++) /* what the program was given is the program's: somebody may wait for its end */
			if (i != fd)
				close(i);
		if (fd >= 0)
			supervise(fd, &plan, argv[2]);
		_exit(0);
	default: break;
	}
	close(sock[0]);
	fd = filter();
	if (fd < 0 || fd_pass(sock[1], fd))
		return die("seccomp");
	close(fd);
	close(sock[1]);
	execvp(argv[3], argv + 3);
	return die(argv[3]);
}
