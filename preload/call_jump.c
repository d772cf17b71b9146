/* call_jump.c - overrides of jumps out of calls
 *
 * A signal handler may leave a call of ours by siglongjmp(). What the thread was counted into, or sat in, is given
 * back here, while the frames that are cut off are still there. The target's stack pointer is read from the
 * buffer as glibc keeps it: rotated, and masked with the thread's pointer guard. What cannot be given back in the middle, the
 * work inside a stack, runs to its end first where the program is one that jumps out of handlers (thread_jumps): such a
 * program saves the signal mask with its targets.
 */
#include "preload/call.h"
#include "preload/sock/hold.h"
#include "preload/sock/net.h"
#include "preload/sock/thread.h"

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

#if defined(__x86_64__)
/* Return: libc's own function. */
static __attribute__((used)) void *jump_saving(int mask)
{
	static _Atomic bool found;

	if (mask)
		thread_jumps = true;
	if (unlikely(!found)) {
		real_init(); /* its stub could not stand in */
		found = true;
	}
	return (void *)real.__sigsetjmp;
}

/* It returns twice: no frame of ours may stand between the program and libc. */
EXPORT __attribute__((naked)) int __sigsetjmp(struct __jmp_buf_tag env[1] __attribute__((unused)),
					      int save __attribute__((unused)))
{
	__asm__("pushq %rdi\n\t"
		"pushq %rsi\n\t"
		"subq $8, %rsp\n\t"
		"movl %esi, %edi\n\t"
		"call jump_saving\n\t"
		"addq $8, %rsp\n\t"
		"popq %rsi\n\t"
		"popq %rdi\n\t"
		"jmp *%rax");
}
#endif

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
