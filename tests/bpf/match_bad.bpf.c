/* match_bad.bpf.c - reads behind the connection: the verifier must refuse it */
#include <daemon/bpf/ztcp_match.h>

ZTCP_LICENSE("GPL");

ZTCP_MATCH(conn)
{
	return ((const volatile char *)conn)[conn->remote_port];
}
