/* base_reason.c - names and sentences of reasons */
#include "stack/base/base_reason.h"

static const char *const names[REASON_COUNT] = {
#define REASON(number, name, sentence) [number] = #name,
#include "stack/base/reasons.def"
#undef REASON
};

static const char *const sentences[REASON_COUNT] = {
#define REASON(number, name, sentence) [number] = sentence,
#include "stack/base/reasons.def"
#undef REASON
};

const char *reason_name(unsigned reason)
{
	return reason < REASON_COUNT && names[reason] ? names[reason] : "?";
}

const char *reason_sentence(unsigned reason)
{
	return reason < REASON_COUNT && sentences[reason] ? sentences[reason] : "unknown reason";
}
