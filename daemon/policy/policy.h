/* policy.h - the policy: which connections may leave the kernel, by rules in text
 *
 * What: parser and matcher of the policy text (docs/policy.md). One rule a line, the first rule that
 * matches wins; no rule matches, or no rule at all: lift. Pure: no system call, no clock, no malloc.
 * Who calls: the preload library (a policy without a daemon), ztcpd (compiles rules into eBPF maps),
 * ztcp_run and `ztcp policy` (check, explain). Most callers want policy_load.h, which opens files.
 * Memory: the caller gives it (policy_size()); inside are offsets and no pointers, so that a policy
 * may be copied, mapped elsewhere, or handed to another process.
 * Threads: writing (policy_init(), policy_parse()) by one thread; afterwards the policy is constant and
 * any number of threads may match. A reload builds a new policy aside and swaps a pointer: a bad file
 * never replaces a good one.
 *
 * The library's use, whole:
 *
 *	struct policy *p;
 *	struct policy_error err;
 *	struct policy_self self;                          // policy_load.h; reads only what rules need
 *
 *	if (policy_load("/etc/ztcp/policy", &p, &err))    // mmap, raw system calls; never malloc
 *		p = NULL or the policy before;            // policy_error_format() says what is wrong
 *	policy_self_read(&self, policy_needs(p));         // once a process, again after fork or exec
	policy_class_read(p, &self.proc, &cls);           // the same
 *	if (!policy_process_may_lift(p, &self.proc))
 *		return;                                   // no rule names this process: stay out
 *
 *	struct policy_conn c = { .proc = &self.proc, .role = POLICY_ROLE_CONNECT };
 *	policy_addr_set(&c.local, local_sockaddr);        // getsockname
 *	policy_addr_set(&c.remote, remote_sockaddr);      // getpeername
 *	struct policy_answer a = policy_match(p, &cls, &c); // p may be NULL: lift, all paths
 *	if (a.verdict == POLICY_LIFT && (a.paths & POLICY_PATH_SHM))
 *		lift after (a.threshold >= 0 ? a.threshold : the library's own default) calls;
 */
#ifndef ZTCP_POLICY_H
#define ZTCP_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Limits: all memory is sized from these; beyond one of them the file is refused with an error. */
#define POLICY_RULES_MAX     16384u  /* rules in one policy, includes counted */
#define POLICY_FILES_MAX     256u    /* files in one policy */
#define POLICY_DEPTH_MAX     8u      /* include within include */
#define POLICY_LINE_MAX      1024u   /* bytes in one line */
#define POLICY_VALUES_MAX    32u     /* values of one match: user=a,b,c */
#define POLICY_TEXT_MAX      255u    /* bytes of one program, cgroup, netns or bpf value */
#define POLICY_FILE_NAME_MAX 255u    /* bytes of a policy file's name */
#define POLICY_THRESHOLD_MAX 1000000 /* calls */

enum policy_verdict {
	POLICY_KERNEL, /* stays on the kernel */
	POLICY_LIFT,   /* may be lifted to one of the paths of the answer */
	POLICY_DIRECT, /* made on a fast path from the first packet */
	POLICY_COUNT,  /* stays on the kernel and is counted */
	POLICY_VERDICTS
};

enum policy_role {
	POLICY_ROLE_LISTEN = 1,  /* accepted here, or a listening socket */
	POLICY_ROLE_CONNECT = 2, /* made from here */
	POLICY_ROLE_BOTH = 3,    /* in rules only */
};

enum policy_path {
	POLICY_PATH_SHM = 1,
	POLICY_PATH_STACK = 2,
	POLICY_PATH_ALL = 3,
};

/** What a rule can match on, in the order of matching; also the bits (1u << kind) of policy_needs(). */
enum policy_match_kind {
	POLICY_M_USER,
	POLICY_M_GROUP,
	POLICY_M_NETNS,
	POLICY_M_PORT, /* the listening side's: local for ROLE_LISTEN, else remote */
	POLICY_M_LOCAL_PORT,
	POLICY_M_REMOTE_PORT,
	POLICY_M_LOCAL,
	POLICY_M_REMOTE,
	POLICY_M_CGROUP, /* this cgroup and those below */
	POLICY_M_PROGRAM,
	POLICY_M_BPF,
	POLICY_M_KINDS
};

/** struct policy_addr - an address and port; IPv4-mapped IPv6 is held as IPv4
 * @family: 4, 6, or 0: not known (matches no prefix)
 * @port:   host byte order
 * @ip:     network byte order; IPv4 in the first four bytes
 */
struct policy_addr {
	uint8_t family;
	uint16_t port;
	uint8_t ip[16];
};

/** struct policy_proc - what rules ask of the process; the strings are borrowed
 * @program:   the executable's path; "" or NULL: not known, matches no program=
 * @cgroup:    its cgroup v2 path ("/system.slice/x.service"); "" or NULL: not known
 * @netns:     the name under /run/netns; "" or NULL: none
 * @netns_ino: inode of /proc/self/ns/net; 0: not known
 * @uid:       effective user id
 * @gid:       effective group id
 */
struct policy_proc {
	const char *program;
	const char *cgroup;
	const char *netns;
	uint64_t netns_ino;
	uint32_t uid;
	uint32_t gid;
};

/** struct policy_conn - one connection to be judged; all memory is borrowed for the call
 * @proc:    process that owns the socket; never NULL
 * @role:    POLICY_ROLE_LISTEN or POLICY_ROLE_CONNECT
 * @local:   this end
 * @remote:  the other end; family 0 for a listening socket
 * @bpf:     answers a named eBPF match; NULL: none is loaded and bpf= matches nothing
 * @bpf_arg: handed to @bpf
 */
struct policy_conn {
	const struct policy_proc *proc;
	enum policy_role role;
	struct policy_addr local;
	struct policy_addr remote;
	bool (*bpf)(void *arg, const char *name);
	void *bpf_arg;
};

/** struct policy_answer - what the policy says of a connection
 * @verdict:   one of the four
 * @paths:     POLICY_PATH_* bits; 0 for POLICY_KERNEL and POLICY_COUNT
 * @threshold: calls to see on the connection before it is lifted; -1: the rule does not say
 * @rule:      index of the rule that decided, from 0; -1: none did, the default is lift
 * @line:      its line, from 1; 0 with @rule -1
 * @file:      its file, borrowed from the policy; NULL with @rule -1
 */
struct policy_answer {
	enum policy_verdict verdict;
	unsigned paths;
	int threshold;
	int rule;
	unsigned line;
	const char *file;
};

/** struct policy_error - the first thing wrong with a policy
 * @file:     name of the file, cut to fit
 * @line:     from 1; 0: the error is of the whole file
 * @col:      from 1, in bytes; 0: the error is of the whole line
 * @errnum:   negative errno: -EINVAL for text, what the system said for files
 * @expected: what should have been there, or what is wrong with the file
 * @found:    what is there, cut and made printable; "" if that says nothing
 */
struct policy_error {
	char file[POLICY_FILE_NAME_MAX + 1];
	unsigned line;
	unsigned col;
	int errnum;
	char expected[128];
	char found[48];
};

struct policy;      /* in memory of the caller; see policy_size() */
struct policy_line; /* policy_form.h */

/** struct policy_val - one value of one match, as ztcpd reads it to fill its maps
 * @kind:   enum policy_match_kind
 * @family: prefixes: 4 or 6; POLICY_M_NETNS: 0 a name, 1 an inode
 * @bits:   prefixes: length
 * @lo:     first port
 * @hi:     last port, never below @lo
 * @ip:     prefix, network byte order, host bits zero
 * @num:    user, group, inode
 * @text:   offset for policy_text()
 */
struct policy_val {
	uint8_t kind;
	uint8_t family;
	uint8_t bits;
	uint8_t pad;
	uint16_t lo;
	uint16_t hi;
	union {
		uint8_t ip[16];
		uint64_t num;
		uint32_t text;
	};
};

/** struct policy_rule - one rule; its values are sorted by kind
 * @verdict:   enum policy_verdict
 * @role:      enum policy_role
 * @paths:     POLICY_PATH_* bits
 * @file:      index for policy_file_name()
 * @kinds:     bits (1u << kind) of the matches it has
 * @line:      from 1
 * @threshold: -1: not given
 * @val_first: index of its first value, for policy_val_get()
 * @val_count: number of its values
 */
struct policy_rule {
	uint8_t verdict;
	uint8_t role;
	uint8_t paths;
	uint8_t pad;
	uint16_t file;
	uint16_t kinds;
	uint32_t line;
	int32_t threshold;
	uint32_t val_first;
	uint32_t val_count;
};

/** struct policy_env - what a pure parser must ask its caller
 * @arg:     handed to all three
 * @include: parse what @pattern names, by calling policy_parse() with the same policy and @depth.
 *           @from is the file that holds the line. Return 0; or -errno with @err filled in (line 0: the
 *           place of the include line is put in). NULL: an include line is an error.
 * @user:    user id of a name into @id; return 0 or -ENOENT. NULL: numbers only.
 * @group:   the same for groups.
 */
struct policy_env {
	void *arg;
	int (*include)(void *arg, struct policy *p, const char *from, const char *pattern,
		       unsigned depth, struct policy_error *err);
	int (*user)(void *arg, const char *name, uint32_t *id);
	int (*group)(void *arg, const char *name, uint32_t *id);
};

/**
 * policy_size() - bytes a policy of up to @rules rules needs
 * @rules: 1..POLICY_RULES_MAX; the values and texts of rules share room that is ample for common rules
 *
 * Return: bytes, a multiple of 8.
 */
size_t policy_size(unsigned rules);

/**
 * policy_init() - an empty policy in memory of the caller
 * @mem:   aligned to 8 bytes; stays the caller's; the policy is at its start
 * @bytes: at least policy_size(1); more of it holds more rules
 *
 * Return: the policy (== @mem), or NULL if @mem is too small.
 */
struct policy *policy_init(void *mem, size_t bytes);

/**
 * policy_parse() - append the rules of a text
 * @p:     policy; after an error it is to be thrown away
 * @env:   borrowed for the call
 * @file:  name for errors and answers; copied
 * @text:  need not end in NUL; borrowed for the call
 * @len:   bytes
 * @depth: 0; in an include callback the number it was given
 * @err:   filled on error
 *
 * Return: 0; -EINVAL: the text is wrong; -ENOSPC: @p is full (the text may be right); -errno of a callback.
 */
int policy_parse(struct policy *p, const struct policy_env *env, const char *file, const char *text,
		 size_t len, unsigned depth, struct policy_error *err);

/**
 * policy_finish_scratch() - bytes of memory policy_finish() needs for its work
 * @p: policy
 */
size_t policy_finish_scratch(const struct policy *p);

/**
 * policy_finish() - a copy with the compiled form (policy_form.h), that can be matched
 * @mem:     NULL to ask for the size; else aligned to 8 bytes
 * @bytes:   of @mem
 * @p:       policy; it may be thrown away afterwards
 * @scratch: policy_finish_scratch() bytes, aligned to 8
 *
 * Return: bytes the copy takes, and nothing is written unless @bytes is as large; 0: rules overlap so much that the
 * form would be larger than 64 MiB. The copy takes no more rules.
 */
size_t policy_finish(void *mem, size_t bytes, const struct policy *p, void *scratch);

/**
 * policy_bare() - a copy of a finished policy without its compiled form, to be read and not matched
 * @mem:   NULL to ask for the size; else aligned to 8 bytes
 * @bytes: of @mem
 * @p:     finished policy
 *
 * Return: bytes the copy takes; nothing is written unless @bytes is as large.
 */
size_t policy_bare(void *mem, size_t bytes, const struct policy *p);

/** policy_bytes() - Return: bytes of a finished policy; 0 for one that is not. */
size_t policy_bytes(const struct policy *p);

/** policy_form() - Return: the compiled form of a finished policy, borrowed; NULL if it is not finished. */
const struct policy_line *policy_form(const struct policy *p);

/**
 * struct policy_class - the rules whose matches on the process hold: what is the same for all its connections
 * @set:     a bit for each rule
 * @summary: a bit for each 512 rules: not all zero
 */
struct policy_class {
	uint64_t set[POLICY_RULES_MAX / 64];
	uint32_t summary;
};

/**
 * policy_class_read() - match a process, once
 * @p:    policy; NULL: none
 * @proc: process
 * @out:  filled
 */
void policy_class_read(const struct policy *p, const struct policy_proc *proc,
		       struct policy_class *out);

/**
 * policy_match() - the verdict on a connection
 * @p:   finished policy; NULL: no policy, everything may be lifted
 * @cls: of the process that owns the socket; NULL with @p NULL
 * @c:   connection; its process is not looked at
 *
 * Takes about a microsecond with ten thousand rules.
 * Return: the answer of the first rule that matches, else lift by all paths with rule -1.
 */
struct policy_answer policy_match(const struct policy *p, const struct policy_class *cls,
				  const struct policy_conn *c);

/**
 * policy_process_may_lift() - can any connection of this process be anything but kernel?
 * @p:    policy; NULL: yes
 * @proc: process
 *
 * Return: false only if every connection and every socket of it gets POLICY_KERNEL.
 */
bool policy_process_may_lift(const struct policy *p, const struct policy_proc *proc);

/**
 * policy_rule_match() - does one rule match, the others aside
 * @p: policy
 * @i: below policy_rules()
 * @c: connection
 *
 * Return: POLICY_M_KINDS + 1 if it matches; POLICY_M_KINDS if the role differs; else the first kind of
 * match (enum policy_match_kind) that fails.
 */
unsigned policy_rule_match(const struct policy *p, unsigned i, const struct policy_conn *c);

/** policy_needs() - Return: bits (1u << enum policy_match_kind) of all matches in use; 0 for NULL. */
unsigned policy_needs(const struct policy *p);

/**
 * policy_threshold_min() - the earliest call at which a rule may want a connection lifted
 * @p: policy
 *
 * A caller that judges a connection only when it is to be lifted looks first at the smaller of this and its
 * own default, and again at the threshold of the answer.
 * Return: smallest threshold= of all rules, 0 if there is a rule for POLICY_DIRECT; -1: no rule gives one.
 */
int policy_threshold_min(const struct policy *p);

/** policy_rules() - Return: number of rules; 0 for NULL. */
unsigned policy_rules(const struct policy *p);

/** policy_rule_get() - Return: rule @i, below policy_rules(); borrowed from the policy. */
const struct policy_rule *policy_rule_get(const struct policy *p, unsigned i);

/** policy_val_get() - Return: value @i of the policy, see policy_rule.val_first; borrowed. */
const struct policy_val *policy_val_get(const struct policy *p, unsigned i);

/** policy_text() - Return: the string at an offset of a policy_val; borrowed. */
const char *policy_text(const struct policy *p, uint32_t offset);

/** policy_bpf_count() - Return: different names of eBPF matches in use; 0 for NULL. */
unsigned policy_bpf_count(const struct policy *p);

/** policy_bpf_name() - Return: name @i of them; borrowed. policy_val.lo of a POLICY_M_BPF value is its number. */
const char *policy_bpf_name(const struct policy *p, unsigned i);

/** policy_file_name() - Return: name of file @i, see policy_rule.file; borrowed. */
const char *policy_file_name(const struct policy *p, unsigned i);

/**
 * policy_addr_set() - an address from a struct sockaddr
 * @a:  filled; family 0 if @sa is neither AF_INET nor AF_INET6
 * @sa: struct sockaddr_in or sockaddr_in6
 */
void policy_addr_set(struct policy_addr *a, const void *sa);

/**
 * policy_addr_parse() - an address with or without a port: 10.0.0.1, 10.0.0.1:80, ::1, [::1]:80
 * @a:    filled only on success; port 0 if there is none
 * @text: need not end in NUL
 * @len:  bytes
 *
 * Return: 0 or -EINVAL.
 */
int policy_addr_parse(struct policy_addr *a, const char *text, size_t len);

/**
 * policy_glob_match() - match a path against a pattern
 * @pat:  ? and [a-z] and [!a-z] match one byte but '/', * any number of them, ** any bytes, \ escapes.
 *        A pattern without '/' is matched against the last part of @path. Not valid: matches nothing.
 * @path: absolute path
 *
 * Does not recurse; time grows with length(@pat) * length(@path), squared in @path if @pat mixes ** and *.
 * Return: whether the whole of it matches.
 */
bool policy_glob_match(const char *pat, const char *path);

/**
 * policy_rule_format() - a rule as text that the parser reads as the same rule
 * @p:   policy
 * @i:   below policy_rules()
 * @buf: filled, always ended by NUL, cut if need be
 * @len: bytes of @buf, at least 1
 *
 * Return: @buf.
 */
char *policy_rule_format(const struct policy *p, unsigned i, char *buf, size_t len);

/** policy_verdict_name() - Return: the word of the grammar; "?" for nonsense. */
const char *policy_verdict_name(enum policy_verdict v);

/** policy_match_name() - Return: the key of the grammar ("local-port"); "?" for nonsense. */
const char *policy_match_name(enum policy_match_kind k);

/**
 * policy_error_format() - "FILE:LINE:COL: expected X, found Y"
 * @err: error
 * @buf: filled, always ended by NUL, cut if need be
 * @len: bytes of @buf, at least 1
 *
 * Return: @buf.
 */
char *policy_error_format(const struct policy_error *err, char *buf, size_t len);

#endif
