/* sim_fuzz.c - the simulator with the fuzzer as its chance: who loses, delays, damages and pauses
 *
 * The first eight bytes are the seed that draws a run; the rest decides what happens in it, two bytes a question, until
 * they are used up and the seed goes on. Every property of a run must hold, as for any seed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sim sim;
	uint64_t seed = 0;

	if (size < sizeof(seed))
		return 0;
	memcpy(&seed, data, sizeof(seed));
	sim.rng.p = data + sizeof(seed);
	sim.rng.end = data + size;
	if (!sim_run(&sim, seed)) {
		fprintf(stderr, "%s\n", sim.why);
		abort();
	}
	return 0;
}
