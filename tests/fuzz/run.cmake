ztcp_fuzzer(run_elf_fuzz SOURCES run_elf_fuzz.c LINK ztcp_run_elf CORPUS corpus/run_elf SECONDS 10)
