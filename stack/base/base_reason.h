/* base_reason.h - the reasons of reasons.def as an enum, and their names
 *
 * Pure; any thread.
 */
#ifndef BASE_REASON_H
#define BASE_REASON_H

enum reason {
#define REASON(number, name, sentence) REASON_##name = number,
#include "stack/base/reasons.def"
#undef REASON
	REASON_COUNT
};

/* "PEER_PLAIN"; "?" for a number that is none. */
const char *reason_name(unsigned reason);

/* What it means, in a sentence without a full stop. */
const char *reason_sentence(unsigned reason);

#endif
