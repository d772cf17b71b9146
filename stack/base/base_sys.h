/* base_sys.h - system calls that never pass through libc
 *
 * The intercept library overrides libc's names, and code below it must not call itself; nor may it touch
 * errno or be a cancellation point. These return -errno. Any thread, signal handlers included. A header alone: no
 * function of stack/base calls it.
 */
#ifndef ZTCP_BASE_SYS_H
#define ZTCP_BASE_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
#else
#error "no system call sequence for this architecture"
#endif
}

/* sys(SYS_x, args...): up to six arguments, pointers or integers. */
#define SYS_ARG(x)           (long)(x)
#define SYS_0(n)             sys6(n, 0, 0, 0, 0, 0, 0)
#define SYS_1(n, a)          sys6(n, SYS_ARG(a), 0, 0, 0, 0, 0)
#define SYS_2(n, a, b)       sys6(n, SYS_ARG(a), SYS_ARG(b), 0, 0, 0, 0)
#define SYS_3(n, a, b, c)    sys6(n, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), 0, 0, 0)
#define SYS_4(n, a, b, c, d) sys6(n, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d), 0, 0)
#define SYS_5(n, a, b, c, d, e) \
	sys6(n, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d), SYS_ARG(e), 0)
#define SYS_6(n, a, b, c, d, e, f) \
	sys6(n, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d), SYS_ARG(e), SYS_ARG(f))
#define SYS_PICK(_0, _1, _2, _3, _4, _5, _6, name, ...) name
#define sys(...)                                        SYS_PICK(__VA_ARGS__, SYS_6, SYS_5, SYS_4, SYS_3, SYS_2, SYS_1, SYS_0)(__VA_ARGS__)

#endif
