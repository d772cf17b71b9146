/* match_yes.bpf.c - a match that holds for connections made from here to 127.0.0.1 */
#include <daemon/bpf/ztcp_match.h>

#include <bpf/bpf_endian.h>

ZTCP_LICENSE("GPL");

ZTCP_MATCH(conn)
{
	return conn->role == 1 && conn->family == 4 && conn->remote[0] == bpf_htonl(0x7f000001) &&
	       conn->local_port && conn->netns && conn->exe_ino;
}
