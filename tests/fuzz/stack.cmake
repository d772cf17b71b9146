ztcp_fuzzer(wire_fuzz SOURCES wire_fuzz.c LINK ztcp_wire ztcp_base CORPUS corpus/wire)
ztcp_fuzzer(nl_fuzz SOURCES nl_fuzz.c LINK ztcp_nl ztcp_wire ztcp_base CORPUS corpus/nl)
set(lib ${CMAKE_SOURCE_DIR}/tests/lib)
ztcp_fuzzer(inst_fuzz SOURCES inst_fuzz.c ${lib}/fuzz_inst.c ${lib}/inst_pair.c
	LINK ztcp_dev ztcp_inst ztcp_ip ztcp_tcp ztcp_cc ztcp_wire ztcp_base CORPUS corpus/inst)
set(sim ${CMAKE_SOURCE_DIR}/tests/sim)
ztcp_fuzzer(tcp_fuzz SOURCES tcp_fuzz.c ${sim}/sim_check.c LINK ztcp_tcp ztcp_cc ztcp_wire ztcp_base CORPUS corpus/tcp)
ztcp_fuzzer(sim_fuzz SOURCES sim_fuzz.c ${sim}/sim_app.c ${sim}/sim_check.c ${sim}/sim_forge.c ${sim}/sim_host.c ${sim}/sim_move.c ${sim}/sim_net.c
	${sim}/sim_world.c LINK ztcp_tcp ztcp_cc ztcp_wire ztcp_base CORPUS corpus/sim)
foreach(layer options ip neigh icmp frag)
	ztcp_fuzzer(${layer}_fuzz SOURCES layer_fuzz.c ${lib}/fuzz_inst.c ${lib}/inst_pair.c
		LINK ztcp_dev ztcp_inst ztcp_ip ztcp_tcp ztcp_cc ztcp_wire ztcp_base CORPUS corpus/${layer})
	if(TARGET ${layer}_fuzz)
		string(TOUPPER ${layer} name)
		target_compile_definitions(${layer}_fuzz PRIVATE LAYER=LAYER_${name})
	endif()
endforeach()
