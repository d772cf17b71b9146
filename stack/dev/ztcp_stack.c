/* ztcp_stack.c - the one symbol of libztcp_stack.so */
#include "stack/include/ztcp_stack.h"

__attribute__((visibility("default"))) const struct ztcp_stack ztcp_stack = {
	.version = ZTCP_STACK_VERSION,
#define STACK_CALL(name) .name = (name),
#include "stack/include/ztcp_stack.def"
#undef STACK_CALL
};
