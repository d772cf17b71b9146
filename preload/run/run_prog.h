/* run_prog.h - will the loader put a library into this program, and if not, why
 *
 * Finds the program as execvp() would, follows "#!", and looks at file mode, capabilities and ELF
 * headers. Called by ztcp_run before it becomes the program; one thread. Guesses are never needed to run
 * the program: execvp() decides, and what is found here is only said.
 */
#ifndef ZTCP_RUN_PROG_H
#define ZTCP_RUN_PROG_H

#include <limits.h>
#include <stdbool.h>

enum run_why {
	RUN_WHY_FINE,   /* the library will be loaded, or nothing is known against it */
	RUN_WHY_STATIC, /* no dynamic loader */
	RUN_WHY_GO,     /* system calls without libc */
	RUN_WHY_SETUID, /* the loader ignores LD_PRELOAD */
	RUN_WHY_SETGID,
	RUN_WHY_CAPS,
	RUN_WHY_MACHINE, /* another architecture */
	RUN_WHY_LIBC,    /* another C library's loader */
};

/** struct run_prog - the file that will run
 * @why:     the verdict
 * @preload: LD_PRELOAD may be set: it does no harm in this program, and its children may gain by it
 * @path:    the file looked at (of a script: its interpreter)
 * @detail:  architecture or loader, for the message
 */
struct run_prog {
	enum run_why why;
	bool preload;
	char path[PATH_MAX];
	char detail[PATH_MAX];
};

/**
 * run_prog_inspect() - find a program and look at it
 * @prog: filled; RUN_WHY_FINE if the file cannot be found or read
 * @name: as given to execvp()
 */
void run_prog_inspect(struct run_prog *prog, const char *name);

/**
 * run_prog_sentence() - why, in words
 * @prog: inspected, @why not RUN_WHY_FINE
 * @buf:  filled, cut if need be
 * @size: of @buf
 *
 * Return: @buf.
 */
char *run_prog_sentence(const struct run_prog *prog, char *buf, unsigned size);

#endif
