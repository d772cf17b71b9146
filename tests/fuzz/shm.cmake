ztcp_fuzzer(shm_fuzz SOURCES shm_fuzz.c LINK ztcp_sock ztcp_real ztcp_shm ztcp_policy_load ztcp_policy ztcp_base
	CORPUS corpus/shm)
