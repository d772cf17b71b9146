/* run_elf.h - what an ELF file's bytes say about loading a library into it
 *
 * Called by run_prog.c, on the one thread of ztcp_run; pure. The bytes are somebody's file and may be
 * anything: every offset in them is checked.
 */
#ifndef ZTCP_RUN_ELF_H
#define ZTCP_RUN_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** struct run_elf - what was found
 * @class64: a 64-bit file
 * @little:  little-endian
 * @machine: EM_*
 * @go:      it carries the notes or sections of the Go linker
 * @loader:  a shared object with a name of its own and no interpreter: the dynamic loader itself
 * @interp:  the interpreter it asks for, "" for none; borrowed from the bytes, ended by NUL
 */
struct run_elf {
	bool class64;
	bool little;
	uint16_t machine;
	bool go;
	bool loader;
	const char *interp;
};

/**
 * run_elf_read() - look at an ELF file
 * @e:     filled on success; of files that are not 64-bit little-endian only the first three
 * @bytes: the whole file, borrowed as long as @e is used
 * @len:   its length
 *
 * Return: 0; -ENOEXEC: not ELF, or cut off before its program headers end.
 */
int run_elf_read(struct run_elf *e, const void *bytes, size_t len);

/** run_elf_machine_name() - Return: a common name of EM_*, or NULL. */
const char *run_elf_machine_name(uint16_t machine, bool class64);

#endif
