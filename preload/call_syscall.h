/* call_syscall.h - system call numbers that syscall(2) hands to our overrides
 *
 * Included inside the switch of syscall(); a[] holds the arguments. A table, not a header for others.
 */
PASS(read, read((int)a[0], (void *)a[1], (size_t)a[2]));
PASS(write, write((int)a[0], (void *)a[1], (size_t)a[2]));
PASS(readv, readv((int)a[0], (void *)a[1], (int)a[2]));
PASS(writev, writev((int)a[0], (void *)a[1], (int)a[2]));
PASS(close, close((int)a[0]));
PASS(close_range, close_range((unsigned)a[0], (unsigned)a[1], (int)a[2]));
PASS(dup, dup((int)a[0]));
PASS(dup3, dup3((int)a[0], (int)a[1], (int)a[2]));
PASS(fcntl, fcntl((int)a[0], (int)a[1], a[2]));
PASS(ioctl, ioctl((int)a[0], (unsigned long)a[1], a[2]));
PASS(socket, socket((int)a[0], (int)a[1], (int)a[2]));
PASS(connect, connect((int)a[0], (void *)a[1], (socklen_t)a[2]));
PASS(accept, accept((int)a[0], (void *)a[1], (void *)a[2]));
PASS(accept4, accept4((int)a[0], (void *)a[1], (void *)a[2], (int)a[3]));
PASS(shutdown, shutdown((int)a[0], (int)a[1]));
PASS(getsockopt, getsockopt((int)a[0], (int)a[1], (int)a[2], (void *)a[3], (void *)a[4]));
PASS(setsockopt, setsockopt((int)a[0], (int)a[1], (int)a[2], (void *)a[3], (socklen_t)a[4]));
PASS(recvfrom, recvfrom((int)a[0], (void *)a[1], (size_t)a[2], (int)a[3], (void *)a[4], (void *)a[5]));
PASS(sendto, sendto((int)a[0], (void *)a[1], (size_t)a[2], (int)a[3], (void *)a[4], (socklen_t)a[5]));
PASS(recvmsg, recvmsg((int)a[0], (void *)a[1], (int)a[2]));
PASS(sendmsg, sendmsg((int)a[0], (void *)a[1], (int)a[2]));
PASS(recvmmsg, recvmmsg((int)a[0], (void *)a[1], (unsigned)a[2], (int)a[3], (void *)a[4]));
PASS(sendmmsg, sendmmsg((int)a[0], (void *)a[1], (unsigned)a[2], (int)a[3]));
PASS(sendfile, sendfile64((int)a[0], (int)a[1], (void *)a[2], (size_t)a[3]));
PASS(splice, splice((int)a[0], (void *)a[1], (int)a[2], (void *)a[3], (size_t)a[4], (unsigned)a[5]));
PASS(ppoll, ppoll((void *)a[0], (nfds_t)a[1], (void *)a[2], (void *)a[3]));
PASS(epoll_create1, epoll_create1((int)a[0]));
PASS(epoll_ctl, epoll_ctl((int)a[0], (int)a[1], (int)a[2], (void *)a[3]));
PASS(epoll_pwait, epoll_pwait((int)a[0], (void *)a[1], (int)a[2], (int)a[3], (void *)a[4]));
PASS(epoll_pwait2, epoll_pwait2((int)a[0], (void *)a[1], (int)a[2], (void *)a[3], (void *)a[4]));
PASS(execve, execve((void *)a[0], (void *)a[1], (void *)a[2]));
PASS(execveat, execveat((int)a[0], (void *)a[1], (void *)a[2], (void *)a[3], (int)a[4]));
#ifdef SYS_poll
PASS(poll, poll((void *)a[0], (nfds_t)a[1], (int)a[2]));
PASS(pselect6, call_pselect6(a));
PASS(io_uring_setup, call_uring_setup(a));
PASS(select, select((int)a[0], (void *)a[1], (void *)a[2], (void *)a[3], (void *)a[4]));
PASS(epoll_create, epoll_create((int)a[0]));
PASS(epoll_wait, epoll_wait((int)a[0], (void *)a[1], (int)a[2], (int)a[3]));
PASS(dup2, dup2((int)a[0], (int)a[1]));
#endif
