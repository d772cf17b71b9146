/* random_director.h - what the parts of the random tester's director share: its model and its calls
 *
 * rd_*: random_model.c keeps what must be true of every description and connection, asks actors to make calls (rd_call()
 * leaves the answer in rd_rep) and waits until the kernel says what the model says (rd_settle()). op_*: one call, or a few
 * that belong together, with arguments that are drawn here, printed with its result, and entered into the model; one that
 * could wait, or whose answer is not the kernel's to promise, is not made. One thread; all memory is static.
 */
#ifndef TESTS_PARITY_RANDOM_DIRECTOR_H
#define TESTS_PARITY_RANDOM_DIRECTOR_H

#include "tests/parity/random_calls.h"

#include <stdbool.h>
#include <sys/types.h>

enum {
	FDS = 48,
	DESCS = 256,
	CONNS = 64,
	QUEUE = 4,
	UNREAD_MAX = 40000,
	CHUNKS_MAX = 24,
	RD_MORE_FROM = 1000, /* the first seed that draws all there is */
	LIVE_MAX = 10
};

enum kind { K_NONE, K_FRESH, K_LISTEN, K_CONN, K_EPOLL };

/* Masks of kinds. */
enum { M_SOCK = 1 << K_FRESH | 1 << K_LISTEN | 1 << K_CONN, M_ALL = M_SOCK | 1 << K_EPOLL };

/* An open file description of the subject's. */
struct desc {
	enum kind kind;
	int refs; /* numbers in all actors */
	bool nonblock;
	bool out_awaited; /* a set of epoll has it for EPOLLOUT */
	int family;
	int lowat; /* SO_RCVLOWAT */
	int rcvtimeo;
	bool handed; /* to another program: what the kernel has not carried is not counted there */
	int conn, side;
	int queue[QUEUE]; /* of a listener: connections not accepted yet */
	int queued;
	struct sockaddr_storage sa;
	socklen_t sa_len;
};

struct side {
	bool shut_rd, shut_wr, closed, reset, linger0;
	long unread;
	int chunks; /* writes that may be unread: small ones take room, too */
	uint64_t tx, rx;
};

struct conn {
	struct side s[2];
};

struct proc {
	bool alive;
	pid_t pid;
	int rpc;
	int fd[FDS]; /* description, or -1 */
	bool cloexec[FDS];
};

extern struct desc rd_descs[DESCS];
extern struct conn rd_conns[CONNS];
extern struct proc rd_procs[RC_PROCS];
extern int rd_ndescs, rd_nconns;
extern int rd_now; /* number of the call */
extern bool rd_more;
extern struct rc_rep rd_rep;

/* random_model.c */

/** rd_seed() - what is drawn from here on follows from @seed and the call's @number alone */
void rd_seed(uint64_t seed, int number);
int rd_rnd(int n);
bool rd_one_in(int n);
/** rd_fail() - the tester itself failed, or the subject hangs: say so and exit 99 */
void rd_fail(const char *what) __attribute__((noreturn));

/** rd_answer() - wait for what actor @p has to say, into rd_rep */
void rd_answer(int p);
/** rd_tell() - have actor @p make a call; what it has to say is not waited for */
void rd_tell(int p, const struct rc_req *q);
/** rd_call() - have actor @p make a call; Return: its result */
long rd_call(int p, const struct rc_req *q);
/** rd_say() - print the call that was made with its result */
void rd_say(int p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct desc *rd_desc(int p, int fd);
int rd_desc_new(enum kind kind);
void rd_desc_put(int d);
void rd_fd_set(int p, long fd, int d, bool cloexec);
void rd_fd_drop(int p, int fd);
void rd_proc_gone(int p);
void rd_wrote(struct desc *x, long n);
void rd_took(struct desc *x, long n, unsigned flags);
/** rd_holder() - whoever has a number of the description, from actor *@p on; Return: false if nobody */
bool rd_holder(int d, int *p, int *fd);
void rd_settle(void);

int rd_any_proc(void);
/** rd_any_fd() - a number of @p's that is of one of the kinds (a mask); -1 if there is none */
int rd_any_fd(int p, unsigned kinds);
int rd_live(unsigned kinds);
int rd_numbers(int p);
struct side *rd_side(struct desc *x);
/** rd_key() - of the stream that @x sends, or receives */
uint64_t rd_key(const struct desc *x, bool out);

/* random_conns.c */
int op_socket(int p, int family);
void op_bind(int p, int fd);
void op_listen(int p, int fd);
int op_any_listener(void);
void op_connect(int p, int fd, int to);
int op_accept(int p, int fd);
long op_setopt(int p, int fd, int level, int opt, int value);
void op_new_connection(void);
void op_listener(int family);

/* random_bytes.c */
long op_read(int p, int fd, bool all);
long op_some_bytes(void);
long op_write(int p, int fd, long n, enum rc_op op);
void op_more(int p, int fd);
void op_splice_out(int p, int fd);
void op_chat(void);

/* random_numbers.c */
void op_dup(int p, int fd);
void op_flags(int p, int fd);
void op_option(int p, int fd);
void op_linger(int p, int fd);
void op_name(int p, int fd);
void op_shutdown(int p, int fd);
void op_close(int p, int fd);

/* random_more.c */
void op_later(int p, int what);

/* random_sets.c */
void op_poll(int p);
void op_ep_new(int p);
void op_ep_ctl(int p);
void op_ep_wait(int p, int fd);

/* random_procs.c */

/** rd_start() - the first two actors, which live as long as the run */
void rd_start(void);
void op_fork(int p);
void op_exit(int p);
void op_exec(int p);
void op_pass(int p, int fd);

#endif
