/* bpf_lib.h - what the tests of the selector share: a bpffs and a cgroup of their own, connections, answers
 *
 * A test opens the selector on a cgroup that it makes and moves itself into, with pins in a bpffs that it mounts:
 * a selector of the machine is not touched. One thread; everything ends with the process (bpf_lib_end()).
 */
#ifndef TESTS_BPF_LIB_H
#define TESTS_BPF_LIB_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/bpf/selector.h"
#include "shm/verdict.h"

#define CHECK(cond, ...)                                                           \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #cond); \
			fprintf(stderr, " " __VA_ARGS__);                          \
			fputc('\n', stderr);                                       \
			bpf_lib_end();                                             \
			exit(1);                                                   \
		}                                                                  \
	} while (0)

struct bpf_lib {
	char pins[128];
	char mount[96];
	char cgroup[160];
	struct selector *sel;
	struct selector_report report;
};

extern struct bpf_lib lib;

/** bpf_lib_begin() - mount, make the cgroup, move in, open. Ends the program with 77 where the kernel has no such thing. */
void bpf_lib_begin(const char *name);

/** bpf_lib_end() - take all of it away. */
void bpf_lib_end(void);

/** bpf_lib_policy() - put the text into force for a namespace (0: all). Return: what selector_policy_set() said. */
int bpf_lib_policy(uint64_t netns, const char *text);

/** bpf_lib_policy_load() - a policy from text, as from a file. The caller unloads it. */
struct policy *bpf_lib_policy_load(const char *text);

/** bpf_lib_answer() - ask for the verdict on a socket; learns kinds of processes until it is not pending. */
struct verdict_answer bpf_lib_answer(int fd);

/** bpf_lib_pair() - a TCP connection over an address of the loopback device: [0] made, [1] accepted. */
void bpf_lib_pair(const char *ip, int fd[2]);

/** bpf_lib_cookie() - SO_COOKIE. */
uint64_t bpf_lib_cookie(int fd);

/** bpf_lib_pids_seen() - Return: whether processes have the ids here that eBPF tells them by; says so if not. */
bool bpf_lib_pids_seen(void);

#endif
