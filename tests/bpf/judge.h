/* judge.h - the packet that judge.bpf.c reads and writes */
#ifndef TESTS_JUDGE_H
#define TESTS_JUDGE_H

#include "daemon/bpf/selector_maps.h"

struct policy_eval_end_packet {
	uint64_t hi;
	uint64_t lo;
	uint32_t port;
	uint32_t family;
};

/** struct judge_packet - question and answer; the head makes it an Ethernet frame */
struct judge_packet {
	uint8_t head[16];
	struct sel_proc proc;
#ifdef __bpf__
	struct policy_query query;
#else
	/* the same as struct policy_query, which has no meaning without a form */
	struct {
		struct policy_eval_end_packet local;
		struct policy_eval_end_packet remote;
		uint32_t role;
		uint32_t bpf;
		uint32_t asked;
		uint32_t spare;
	} query;
#endif
	struct sel_verdict verdict;
};

#endif
