ztcp_fuzzer(tool_stats_fuzz
	SOURCES tool_stats_fuzz.c ../../daemon/tool/tool.c ../../daemon/tool/tool_proc.c ../../daemon/tool/tool_stats.c
	LINK ztcp_policy CORPUS corpus/tool_stats SECONDS 10
)
ztcp_fuzzer(tool_tap_fuzz
	SOURCES tool_tap_fuzz.c ../../daemon/tool/tool_ring.c ../../daemon/tool/tool_frame.c
	CORPUS corpus/tool_tap SECONDS 10
)
