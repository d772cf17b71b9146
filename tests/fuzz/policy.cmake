ztcp_fuzzer(policy_fuzz SOURCES policy_fuzz.c LINK ztcp_policy CORPUS corpus/policy)
ztcp_fuzzer(iface_fuzz SOURCES iface_fuzz.c LINK ztcp_policy CORPUS corpus/iface)
