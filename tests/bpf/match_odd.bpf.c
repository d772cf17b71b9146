/* match_odd.bpf.c - no ztcp_match in it */
__attribute__((section("freplace/other"), used)) int other(const void *ctx)
{
	return !ctx;
}
