/* run_elf_fuzz.c - any bytes as a program's file
 *
 * What must hold: no byte outside is read, and the interpreter is a string inside the file.
 */
#include <stdlib.h>
#include <string.h>

#include "preload/run/run_elf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run_elf e;
	const char *at = (const char *)data;

	if (run_elf_read(&e, data, size))
		return 0;
	if (*e.interp && (e.interp < at || e.interp + strlen(e.interp) >= at + size))
		abort();
	if (e.loader && *e.interp)
		abort();
	return 0;
}
