/* call_jump.c - overrides of jumps out of calls
 *
 * A signal handler may leave a call of ours by siglongjmp(). What the thread was counted into, or sat in, is given
 * back here, while the frames that are cut off are still there. The target's stack pointer is read from the
 * buffer as glibc keeps it: rotated, and masked with the thread's pointer guard.
 */
#include "preload/call.h"
#include "preload/sock/hold.h"
#include "preload/sock/net.h"

enum { JUMP_SP = 6 }; /* of __jmpbuf */

static const void *jump_target(const struct __jmp_buf_tag *env)
{
#if defined(__x86_64__)
	uintptr_t sp = (uintptr_t)env->__jmpbuf[JUMP_SP];

	__asm__("rorq $17, %0\n\txorq %%fs:0x30, %0" : "+r"(sp));
	return (const void *)sp;
#else
	(void)env;
	return NULL; /* not known: what is held stays so until a call further out returns */
#endif
}

static void leave(const struct __jmp_buf_tag *env)
{
	if (unlikely(hold_may_cut()))
		hold_cut(jump_target(env), env->__mask_was_saved);
	if (unlikely(net_any()))
		net_cut(jump_target(env));
}

EXPORT void longjmp(struct __jmp_buf_tag env[1], int val)
{
	leave(env);
	real.longjmp(env, val);
	__builtin_unreachable();
}

EXPORT void __longjmp_chk(struct __jmp_buf_tag env[1], int val)
{
	leave(env);
	real.__longjmp_chk(env, val);
	__builtin_unreachable();
}

EXPORT void _longjmp(struct __jmp_buf_tag env[1], int val) __attribute__((alias("longjmp")));
EXPORT void siglongjmp(struct __jmp_buf_tag env[1], int val) __attribute__((alias("longjmp")));
