ztcp_fuzzer(wire_fuzz SOURCES wire_fuzz.c LINK ztcp_wire ztcp_base CORPUS corpus/wire)
ztcp_fuzzer(inst_fuzz SOURCES inst_fuzz.c ${CMAKE_SOURCE_DIR}/tests/lib/inst_pair.c
	LINK ztcp_dev ztcp_inst ztcp_ip ztcp_tcp ztcp_cc ztcp_wire ztcp_base CORPUS corpus/inst)
