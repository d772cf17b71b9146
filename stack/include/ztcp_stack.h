/* ztcp_stack.h - the stack and its devices as a library that is opened when it is first needed
 *
 * What it does: libztcp_stack.so has one symbol, ZTCP_STACK_SYMBOL, a table of functions. The
 * preload library, which itself links libc alone, opens it at the first connection for this path:
 *
 *     void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
 *     const struct ztcp_stack *stack = so ? dlsym(so, ZTCP_STACK_SYMBOL) : NULL;
 *     if (stack && stack->version == ZTCP_STACK_VERSION) ... stack->dev_open(...)
 *
 * It needs libc alone, too; what a device needs besides (DPDK) is opened with that device.
 * Threads and memory: as each function's own header says. The table is constant.
 */
#ifndef ZTCP_STACK_H
#define ZTCP_STACK_H

#include "stack/cc/cc.h"
#include "stack/dev/dev_open.h"
#include "stack/dev/dev_route.h"
#include "stack/include/ztcp.h"

#define ZTCP_STACK_LIBRARY "libztcp_stack.so"
#define ZTCP_STACK_SYMBOL  "ztcp_stack"

/* The library and who opens it come from one build: the number says so, it is no promise. */
#define ZTCP_STACK_VERSION ((uint32_t)(sizeof(struct ztcp_stack) | ZTCP_STACK_MAJOR << 16))
#define ZTCP_STACK_MAJOR   1u

struct ztcp_stack {
	uint32_t version; /* ZTCP_STACK_VERSION */
#define STACK_CALL(name) __typeof__(&(name)) name;
#include "stack/include/ztcp_stack.def"
#undef STACK_CALL
};

#endif
