/* bpf_kernel.bpf.h - the few kernel types that our programs look into
 *
 * Written by hand and not generated from the build machine's kernel: the build then needs no BTF and gives the same
 * object everywhere. preserve_access_index makes libbpf put in the offsets of the kernel it is loaded into.
 */
#ifndef ZTCP_BPF_KERNEL_H
#define ZTCP_BPF_KERNEL_H

#include <stdint.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct qstr {
	uint64_t hash_len;
};

struct super_block {
	uint32_t s_dev;
};

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
};

struct dentry {
	struct qstr d_name;
	struct inode *d_inode;
};

struct path {
	struct dentry *dentry;
};

struct file {
	struct path f_path;
};

struct mm_struct {
	struct file *exe_file;
};

typedef struct {
	uint32_t val;
} kuid_t;

typedef struct {
	uint32_t val;
} kgid_t;

struct cred {
	kuid_t euid;
	kgid_t egid;
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
	uint64_t net_cookie;
};

struct nsproxy {
	struct net *net_ns;
};

struct kernfs_node {
	uint64_t id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct task_struct {
	int tgid;
	struct task_struct *group_leader;
	struct mm_struct *mm;
	const struct cred *cred;
	struct nsproxy *nsproxy;
	struct css_set *cgroups;
};

struct sock {
	kuid_t sk_uid; /* who made it */
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	uint64_t session_id;
	uint64_t seq_num;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#pragma clang attribute pop

#endif
