# ZtcpBpf.cmake - eBPF programs as targets.

# ztcp_bpf_object(NAME SOURCE file.bpf.c): compile the program and generate its skeleton. Link NAME_skel to get
# #include "NAME.skel.h" and libbpf. <ztcp_match.h> is found as if it were installed.
function(ztcp_bpf_object name)
	cmake_parse_arguments(A "" "SOURCE" "DEPENDS" ${ARGN})
	ztcp_arguments_check(${name} "${A_UNPARSED_ARGUMENTS}")
	find_program(ZTCP_CLANG NAMES clang clang-14)
	find_program(ZTCP_BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin)
	foreach(tool ZTCP_CLANG ZTCP_BPFTOOL)
		if(NOT ${tool})
			message(FATAL_ERROR "${name}: clang and bpftool are needed to build eBPF programs: run cmake/deps.sh")
		endif()
	endforeach()
	if(NOT TARGET PkgConfig::LIBBPF)
		ztcp_package(LIBBPF libbpf libbpf-dev)
	endif()
	set(source ${CMAKE_CURRENT_SOURCE_DIR}/${A_SOURCE})
	set(folder ${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf)
	set(object ${folder}/${name}.bpf.o)
	set(skeleton ${folder}/${name}.skel.h)
	file(MAKE_DIRECTORY ${folder})
	add_custom_command(OUTPUT ${object}
		COMMAND ${ZTCP_CLANG} -g -O2 -Wall -Wno-unused-function -Werror -ffreestanding -target bpf -D__TARGET_ARCH_${ztcp_bpf_arch}
			-I${CMAKE_SOURCE_DIR} -I${CMAKE_SOURCE_DIR}/daemon/bpf -isystem /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
			-MD -MF ${object}.d -c ${source} -o ${object}
		DEPENDS ${source} ${A_DEPENDS} DEPFILE ${object}.d VERBATIM)
	add_custom_command(OUTPUT ${skeleton}
		COMMAND sh -c "'${ZTCP_BPFTOOL}' gen skeleton '${object}' name '${name}_bpf' > '${skeleton}'"
		DEPENDS ${object} VERBATIM)
	add_custom_target(${name}_bpf DEPENDS ${skeleton})
	add_library(${name}_skel INTERFACE)
	add_dependencies(${name}_skel ${name}_bpf)
	target_include_directories(${name}_skel SYSTEM INTERFACE ${folder})
	target_link_libraries(${name}_skel INTERFACE PkgConfig::LIBBPF)
endfunction()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
	set(ztcp_bpf_arch arm64)
else()
	set(ztcp_bpf_arch x86)
endif()
