/* apps_inetd.c - a server as inetd makes them: accept, fork, the connection as 0, 1 and 2, exec
 *
 *     apps_inetd PORT fork|vfork|spawn|wait PROGRAM [ARGUMENT...]
 *
 * fork, vfork, spawn: how each accepted connection gets its process.  wait: the program gets the
 * listening socket as 0 and accepts by itself, one program at a time.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int listen_on(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&to, sizeof(to)) || listen(fd, 64)) {
		perror("apps_inetd");
		exit(1);
	}
	return fd;
}

static void become(int fd, char **argv)
{
	dup2(fd, 0);
	dup2(fd, 1);
	dup2(fd, 2);
	if (fd > 2)
		close(fd);
	execvp(argv[0], argv);
	_exit(127);
}

static pid_t spawn(int listener, int fd, char **argv)
{
	posix_spawn_file_actions_t acts;
	pid_t pid = -1;

	posix_spawn_file_actions_init(&acts);
	posix_spawn_file_actions_adddup2(&acts, fd, 0);
	posix_spawn_file_actions_adddup2(&acts, fd, 1);
	posix_spawn_file_actions_adddup2(&acts, fd, 2);
	posix_spawn_file_actions_addclose(&acts, fd);
	posix_spawn_file_actions_addclose(&acts, listener);
	errno = posix_spawnp(&pid, argv[0], &acts, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&acts);
	return errno ? -1 : pid;
}

static void serve(int listener, const char *how, char **argv)
{
	int wait_for = strcmp(how, "wait") == 0;
	int fd = wait_for ? listener : accept(listener, NULL, NULL);
	pid_t pid;

	if (fd < 0)
		return;
	if (strcmp(how, "spawn") == 0)
		pid = spawn(listener, fd, argv);
	else
		pid = strcmp(how, "vfork") == 0 ? vfork() : fork();
	if (pid == 0)
		become(fd, argv);
	if (pid < 0) {
		perror("apps_inetd");
		exit(1);
	}
	if (wait_for)
		waitpid(pid, NULL, 0);
	else
		close(fd);
}

int main(int argc, char **argv)
{
	int listener;

	if (argc < 4) {
		fprintf(stderr,
			"usage: apps_inetd PORT fork|vfork|spawn|wait PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	if (strcmp(argv[2], "wait") != 0)
		signal(SIGCHLD, SIG_IGN);
	listener = listen_on(atoi(argv[1]));
	for (;;)
		serve(listener, argv[2], argv + 3);
}
