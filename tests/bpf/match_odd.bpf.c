/* match_odd.bpf.c - no ZTCP_MATCH() in it */
__attribute__((section("sockops"), used)) int other(const void *ctx)
{
	return !!ctx;
}
