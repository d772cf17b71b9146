# ZtcpTest.cmake - the kinds of tests. Test programs are kept in tests/bin of the build folder, apart from the product.
set(ztcp_test_bin ${CMAKE_BINARY_DIR}/tests/bin)
set(ZTCP_FUZZ_SECONDS 30 CACHE STRING "how long ctest runs each fuzzer")

# What the preset fuzz builds: only what runs in it.
add_custom_target(fuzzers)

# What every test finds in its environment. A leak or a race must never pass unseen.
set(ztcp_test_environment
	ZTCP_SOURCE=${CMAKE_SOURCE_DIR} ZTCP_BUILD=${CMAKE_BINARY_DIR} ZTCP_SANITIZE=${ZTCP_SANITIZE}
	LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/lib/lsan.supp:print_suppressions=0
	UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1)
set(ztcp_test_never "LeakSanitizer|AddressSanitizer|ThreadSanitizer|runtime error:")

# ztcp_test_program(NAME SOURCES ... [LINK ...]): a plain program that tests use; not a test by itself.
function(ztcp_test_program name)
	cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
	ztcp_arguments_check(${name} "${A_UNPARSED_ARGUMENTS}")
	add_executable(${name} ${A_SOURCES})
	ztcp_defaults(${name})
	target_compile_options(${name} PRIVATE -UNDEBUG)
	target_link_libraries(${name} PRIVATE ${A_LINK})
	set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${ztcp_test_bin})
endfunction()

function(ztcp_test_add name)
	cmake_parse_arguments(A "SERIAL" "TIMEOUT" "COMMAND;LABELS;ENVIRONMENT" ${ARGN})
	ztcp_arguments_check(${name} "${A_UNPARSED_ARGUMENTS}")
	if(NOT A_TIMEOUT)
		set(A_TIMEOUT 300)
	endif()
	add_test(NAME ${name} COMMAND ${A_COMMAND} WORKING_DIRECTORY ${CMAKE_BINARY_DIR})
	set_tests_properties(${name} PROPERTIES TIMEOUT ${A_TIMEOUT} SKIP_RETURN_CODE 77 LABELS "${A_LABELS}"
		FAIL_REGULAR_EXPRESSION "${ztcp_test_never}" ENVIRONMENT "${ztcp_test_environment};${A_ENVIRONMENT}")
	if(A_SERIAL)
		set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
	endif()
endfunction()

# ztcp_unit_test(NAME SOURCES ... [LINK ...] [TIMEOUT n]): a Criterion program, label unit. Criterion cannot start
# under TSan: code that races is tested by ztcp_race_test.
function(ztcp_unit_test name)
	cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;LINK" ${ARGN})
	ztcp_arguments_check(${name} "${A_UNPARSED_ARGUMENTS}")
	if(ZTCP_SANITIZE MATCHES "thread|fuzzer")
		return()
	endif()
	if(NOT TARGET PkgConfig::CRITERION)
		ztcp_package(CRITERION criterion libcriterion-dev)
	endif()
	ztcp_test_program(${name} SOURCES ${A_SOURCES} LINK ${A_LINK} PkgConfig::CRITERION)
	ztcp_test_add(${name} COMMAND ${CMAKE_SOURCE_DIR}/tests/lib/criterion.sh $<TARGET_FILE:${name}> LABELS unit TIMEOUT ${A_TIMEOUT})
endfunction()

# ztcp_race_test(NAME SOURCES ... [LINK ...] [ARGS ...] [TIMEOUT n]): a plain main() with threads, label race; what
# the tsan preset runs.
function(ztcp_race_test name)
	cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;LINK;ARGS" ${ARGN})
	ztcp_arguments_check(${name} "${A_UNPARSED_ARGUMENTS}")
	ztcp_test_program(${name} SOURCES ${A_SOURCES} LINK ${A_LINK})
	ztcp_test_add(${name} COMMAND ${ztcp_test_launcher} $<TARGET_FILE:${name}> ${A_ARGS} LABELS race TIMEOUT ${A_TIMEOUT})
endfunction()

# ztcp_script_test(NAME COMMAND ... [LABELS ...] [TIMEOUT n] [SERIAL] [ENVIRONMENT ...]): exit status 0 passes, 77 skips.
# SERIAL: nothing else runs beside it. Scripts run programs that are not ours and may leak, and load the library before the
# sanitizer's run-time.
function(ztcp_script_test name)
	cmake_parse_arguments(A "SERIAL" "TIMEOUT" "COMMAND;LABELS;ENVIRONMENT" ${ARGN})
	ztcp_arguments_check(${name} "${A_UNPARSED_ARGUMENTS}")
	set(serial "")
	if(A_SERIAL)
		set(serial SERIAL)
	endif()
	list(POP_FRONT A_COMMAND program)
	if(TARGET ${program})
		set(program $<TARGET_FILE:${program}>)
	endif()
	ztcp_test_add(${name} ${serial} COMMAND ${ztcp_test_launcher} ${program} ${A_COMMAND} LABELS ${A_LABELS}
		TIMEOUT ${A_TIMEOUT} ENVIRONMENT ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0 ${A_ENVIRONMENT})
endfunction()

# ztcp_fuzzer(NAME SOURCES ... [LINK ...] [CORPUS dir] [SECONDS n]): a libFuzzer target, built by the fuzz preset only; ctest
# (label fuzz) runs it on a copy of its corpus.
function(ztcp_fuzzer name)
	cmake_parse_arguments(A "" "CORPUS;SECONDS" "SOURCES;LINK" ${ARGN})
	ztcp_arguments_check(${name} "${A_UNPARSED_ARGUMENTS}")
	if(NOT ZTCP_SANITIZE STREQUAL "fuzzer")
		return()
	endif()
	if(NOT A_SECONDS)
		set(A_SECONDS ${ZTCP_FUZZ_SECONDS})
	endif()
	ztcp_test_program(${name} SOURCES ${A_SOURCES} LINK ${A_LINK})
	add_dependencies(fuzzers ${name})
	target_link_options(${name} PRIVATE -fsanitize=fuzzer)
	set(work ${CMAKE_BINARY_DIR}/fuzz/${name})
	file(MAKE_DIRECTORY ${work}/corpus)
	set(seeds "")
	if(A_CORPUS)
		cmake_path(ABSOLUTE_PATH A_CORPUS BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} OUTPUT_VARIABLE seeds)
	endif()
	math(EXPR timeout "${A_SECONDS} + 60")
	# libFuzzer's own exit status for a finding is 77, which is a skipped test here.
	ztcp_test_add(${name} LABELS fuzz TIMEOUT ${timeout} COMMAND ${name} -max_total_time=${A_SECONDS} -timeout=10 -error_exitcode=1
		-rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix=${work}/ ${work}/corpus ${seeds})
endfunction()

# TSan's shadow does not fit where recent kernels put mappings by default.
set(ztcp_test_launcher "")
if(ZTCP_SANITIZE STREQUAL "thread")
	set(ztcp_test_launcher setarch -R)
endif()
