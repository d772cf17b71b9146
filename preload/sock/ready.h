/* ready.h - what poll(2) would say of an attached connection
 *
 * From memory where the bytes go through rings, from the kernel where they do not and for hang-up and error.
 */
#ifndef SOCK_READY_H
#define SOCK_READY_H

#include "preload/sock/sock.h"

/**
 * ready_now() - the POLL* bits of the connection
 * @want: bits asked for; POLLHUP and POLLERR come unasked
 */
short ready_now(struct sock *s, short want);

/* The kernel said this of the descriptor. Hang-up and error stay. */
void ready_heard(struct sock *s, short revents);

/* Ask the kernel, without waiting. Return: bits of @want that it answers, and hang-up and error. */
short ready_ask(struct sock *s, short want);

/* Bytes that a receive would find without waiting, on both sides of a border. One system call. */
uint64_t ready_bytes(const struct sock *s);
/* Of these, what lies in shared memory. */
uint64_t ready_ring_bytes(const struct sock *s);

/* A peer was killed with bytes of ours unread: the kernel's TCP would have answered with a reset. */
bool ready_reset(const struct sock *s);

/* Take the receiving direction off the short ways: until the next receive learns better, or for good. */
void ready_look(struct sock *s);

/* Whether a send would take a byte or more. */
bool ready_room(struct sock *s);

#endif
