# The instance's own costs: instructions a request by callgrind, bytes an idle connection.
if(NOT ZTCP_SANITIZE AND CMAKE_BUILD_TYPE MATCHES "Rel")
	ztcp_test_program(bench_inst SOURCES bench_inst.c
		LINK ztcp_dev ztcp_inst ztcp_ip ztcp_tcp ztcp_cc ztcp_zbuf ztcp_wire ztcp_base)
	ztcp_script_test(micro_inst COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/bench_inst.sh $<TARGET_FILE:bench_inst>
		LABELS micro TIMEOUT 300)
endif()
