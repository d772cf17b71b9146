# The instance's own costs: instructions a turn by callgrind, bytes an idle connection; and lwIP's beside them.
if(NOT ZTCP_SANITIZE AND CMAKE_BUILD_TYPE MATCHES "Rel")
	ztcp_test_program(bench_inst SOURCES bench_inst.c
		LINK ztcp_dev ztcp_inst ztcp_ip ztcp_tcp ztcp_cc ztcp_zbuf ztcp_wire ztcp_base ${CMAKE_DL_LIBS})
	ztcp_script_test(micro_inst COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/bench_inst.sh $<TARGET_FILE:bench_inst>
		LABELS micro TIMEOUT 900)
	# A shared object: lwIP and stack/ have names of functions in common.
	find_package(PkgConfig QUIET)
	if(PkgConfig_FOUND)
		pkg_check_modules(LWIP QUIET IMPORTED_TARGET lwip)
	endif()
	if(LWIP_FOUND)
		add_library(lwip_side MODULE lwip_side.c)
		ztcp_defaults(lwip_side)
		target_link_libraries(lwip_side PRIVATE PkgConfig::LWIP)
		set_target_properties(lwip_side PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${ztcp_test_bin} PREFIX "")
	endif()
	ztcp_script_test(micro_lwip COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/lwip --counts LABELS micro TIMEOUT 900)
endif()
