/* stress_util.h - what the stress programs share: random numbers, the checked pattern, loopback, clock
 *
 * Everything is static inline; any thread. A stress program ends with status 1 and a line that has the
 * seed when a byte is wrong, missing or doubled.
 */
#ifndef TESTS_STRESS_STRESS_UTIL_H
#define TESTS_STRESS_STRESS_UTIL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline uint64_t stress_mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	return x ^ x >> 32;
}

/** stress_random() - next number of the sequence @state */
static inline uint64_t stress_random(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15ull;
	return stress_mix(*state);
}

/** stress_fill() - @n bytes of stream @key from offset @off on */
static inline void stress_fill(uint64_t key, uint64_t off, unsigned char *b, size_t n)
{
	uint64_t word = stress_mix(key + off / 8);

	for (size_t i = 0; i < n;) {
		if (off % 8 == 0 && n - i >= 8) {
			word = stress_mix(key + off / 8);
			memcpy(b + i, &word, 8);
			i += 8;
			off += 8;
			continue;
		}
		if (off % 8 == 0)
			word = stress_mix(key + off / 8);
		b[i++] = (unsigned char)(word >> off % 8 * 8);
		off++;
	}
}

/** stress_wrong() - Return: index of the first of @n bytes that is not the stream's, or -1 */
static inline long stress_wrong(uint64_t key, uint64_t off, const unsigned char *b, size_t n)
{
	unsigned char want[4096];

	for (size_t done = 0; done < n; done += sizeof(want)) {
		size_t part = n - done < sizeof(want) ? n - done : sizeof(want);

		stress_fill(key, off + done, want, part);
		if (!memcmp(want, b + done, part))
			continue;
		for (size_t i = 0; i < part; i++)
			if (want[i] != b[done + i])
				return (long)(done + i);
	}
	return -1;
}

static inline int64_t stress_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static inline void stress_die(const char *what)
{
	fprintf(stderr, "stress: %s: %s\n", what, strerror(errno));
	exit(1);
}

/** stress_listen() - a listener on a free loopback port; Return: its fd, *@port in host order */
static inline int stress_listen(uint16_t *port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, len) || listen(fd, 64) ||
	    getsockname(fd, (struct sockaddr *)&sa, &len))
		stress_die("listen");
	*port = ntohs(sa.sin_port);
	return fd;
}

/** stress_connect() - Return: a connection to loopback @port */
static inline int stress_connect(uint16_t port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		stress_die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

#endif
