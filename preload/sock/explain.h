/* explain.h - ztcp_run --explain: at exit, a line for each connection
 *
 * Lines go to a file that is opened for each line, or to stderr. Any thread.
 */
#ifndef SOCK_EXPLAIN_H
#define SOCK_EXPLAIN_H

struct sock;

/* A connection's last descriptor in its last process is about to be closed. */
void explain_closed(const struct sock *s);

/* The process becomes another program, which goes on with some of them, unseen: those that no other process has. */
void explain_exec(void);

/* The process ends: those still open. */
void explain_exit(void);

#endif
