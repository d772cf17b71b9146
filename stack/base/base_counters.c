/* base_counters.c - names and sentences of counters.def */
#include "stack/base/base_counters.h"

static const char *const counter_names[] = {
#define COUNTER(name, text) #name,
#include "stack/base/counters.def"
#undef COUNTER
};

static const char *const counter_texts[] = {
#define COUNTER(name, text) text,
#include "stack/base/counters.def"
#undef COUNTER
};

const char *base_counter_name(enum counter what)
{
	return (unsigned int)what < CNT_COUNT ? counter_names[what] : "?";
}

const char *base_counter_text(enum counter what)
{
	return (unsigned int)what < CNT_COUNT ? counter_texts[what] : "?";
}
