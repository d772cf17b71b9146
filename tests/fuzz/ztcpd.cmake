ztcp_fuzzer(pair_fuzz SOURCES pair_fuzz.c LINK ztcpd_pair ztcp_base CORPUS corpus/pair)
ztcp_fuzzer(lease_fuzz SOURCES lease_fuzz.c LINK ztcpd_pair ztcp_base CORPUS corpus/lease)
