/* tls_large.c - what makes a small stack too small for a thread: loaded into a program, it has thread-local variables of this size */
_Thread_local char tls_large[512 << 10] = { 1 };
