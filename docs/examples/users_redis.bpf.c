/* users_redis.bpf.c - a match of one's own: connections that ordinary users make to redis
 *
 *	clang -g -O2 -target bpf -I/usr/include/$(uname -m)-linux-gnu -c users_redis.bpf.c -o users_redis.bpf.o
 *	ztcp rule load users_redis.bpf.o
 *
 * and in /etc/ztcp/policy, before a rule that matches everything; redis, if it is another user's, is the other end and needs a rule too:
 *
 *	lift path=shm bpf=users_redis
 *	lift path=shm role=listen port=6379
 */
#include <ztcp_match.h>

ZTCP_LICENSE("GPL");

ZTCP_MATCH(conn)
{
	return conn->role == 1 && conn->uid >= 1000 && conn->remote_port == 6379;
}
