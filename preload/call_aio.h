/* call_aio.h - io_submit(2) for syscall(2): call_aio.c does it, call_proc.c's table names it */
#ifndef PRELOAD_CALL_AIO_H
#define PRELOAD_CALL_AIO_H

/* @a: the three arguments. Sockets among the requests go to the kernel first. Return: as syscall(2). */
long call_io_submit(const long *a);

#endif
