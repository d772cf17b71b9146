/* parity_priv.h - what parity.c and parity_end.c share and no case needs
 *
 * Called on the main thread only.
 */
#ifndef TESTS_PARITY_PARITY_PRIV_H
#define TESTS_PARITY_PARITY_PRIV_H

#include "tests/parity/parity.h"

/** par_conn_make() - the connection of @flavour; warmed up if @warm */
void par_conn_make(struct conn *c, unsigned flavour, bool warm);
/** par_servant() - serve calls read from @in, answer on @out, exit at end of file */
void par_servant(int in, int out) __attribute__((noreturn));
/** par_far_end() - let the servant end; says so if it ended badly */
void par_far_end(void);
/** par_exec_main() - what `prog --exec ...` does; programs that exec themselves define it */
int par_exec_main(int argc, char **argv);

#endif
