/* match_no.bpf.c - the next version of the same match: never */
#include <daemon/bpf/ztcp_match.h>

ZTCP_LICENSE("GPL");

ZTCP_MATCH(conn)
{
	return conn->role == 2;
}
