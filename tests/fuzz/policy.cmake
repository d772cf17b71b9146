ztcp_fuzzer(policy_fuzz SOURCES policy_fuzz.c LINK ztcp_policy CORPUS corpus/policy)
