/* selector.c - load, pin, take up and remove the eBPF programs
 *
 * Theory of operation: maps, programs and links are pinned in one folder of bpffs, links last. A folder with the
 * answering link in it is whole: it is taken up by opening its pins; anything else there is left over from a
 * process that died half way, and removed. Each part is a program; when the whole does not load, the programs are
 * tried one after the other, so that what a kernel lacks is known by name and the rest serves.
 */
#include "daemon/bpf/selector.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/bpf/pin_dir.h"
#include "daemon/bpf/selector_int.h"
#include "selector.skel.h"

enum { EVENTS_TURN = 64 /* in one selector_poll() */ };

static const char *const map_name[SEL_MAPS] = {
	"forms",   "slots",   "procs",  "socks",  "tokens",  "tuples",
	"ends",    "conf",    "agents", "chans",  "matches", "ztcp_asked",
	"answers", "attests", "seen",   "events", "wrongs",
};

static const char *const prog_name[SEL_PROGS] = { "ztcp_answer", "ztcp_claim", "ztcp_attest",
						  "ztcp_kind" };
static const char *const link_name[SEL_PROGS] = { "link_answer", "link_claim", "link_attest",
						  NULL };
static const enum selector_part prog_part[SEL_PROGS] = { SELECTOR_PART_ANSWER, SELECTOR_PART_CLAIM,
							 SELECTOR_PART_ATTEST,
							 SELECTOR_PART_KINDS };

/* What libbpf last complained of: the verifier's last words are the ones that say why. */
static __thread char complaint[160];

static int complaint_keep(enum libbpf_print_level level, const char *format, va_list ap)
{
	char line[sizeof(complaint)];

	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(line, sizeof(line), format, ap);
	line[strcspn(line, "\n")] = '\0';
	snprintf(complaint, sizeof(complaint), "%s", line);
	return 0;
}

const char *selector_part_name(enum selector_part part)
{
	static const char *const names[SELECTOR_PARTS] = { "answer", "claim", "attest", "kinds",
							   "pin" };

	return (unsigned)part < SELECTOR_PARTS ? names[part] : "?";
}

static void lack(struct selector_report *rep, enum selector_part part, int err, const char *why)
{
	unsigned i = rep->lacks;

	if (i == SELECTOR_PARTS)
		return;
	rep->lacks++;
	rep->lack[i].part = part;
	rep->lack[i].err = err;
	snprintf(rep->lack[i].why, sizeof(rep->lack[i].why), "%s", *why ? why : strerror(-err));
}

void sel_lock(const struct selector *sel)
{
	if (sel->lock >= 0)
		flock(sel->lock, LOCK_EX);
}

void sel_unlock(const struct selector *sel)
{
	if (sel->lock >= 0)
		flock(sel->lock, LOCK_UN);
}

int sel_fd_open(const char *dir, const char *name)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

static struct selector *selector_new(const char *dir)
{
	struct selector *sel = calloc(1, sizeof(*sel));

	if (!sel)
		return NULL;
	snprintf(sel->dir, sizeof(sel->dir), "%s", dir);
	sel->lock = -1;
	for (unsigned i = 0; i < SEL_MAPS; i++)
		sel->map[i] = -1;
	for (unsigned i = 0; i < SEL_PROGS; i++)
		sel->prog[i] = sel->link[i] = -1;
	for (unsigned i = 0; i < SEL_SLOTS; i++)
		sel->slot[i].map = -1;
	return sel;
}

static void fd_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

void selector_close(struct selector *sel)
{
	if (!sel)
		return;
	ring_buffer__free(sel->ring);
	for (unsigned i = 0; i < SEL_SLOTS; i++)
		sel_slot_free(&sel->slot[i]);
	sel_kinds_free(sel);
	free(sel->netns);
	for (unsigned i = 0; i < SEL_MAPS; i++)
		fd_close(sel->map[i]);
	for (unsigned i = 0; i < SEL_PROGS; i++) {
		fd_close(sel->link[i]);
		fd_close(sel->prog[i]);
	}
	fd_close(sel->lock);
	free(sel);
}

/* ---- the folder ---- */

/* Whether a folder is the selector's, or nobody's: what is pinned first and removed last is there, or nothing is. */
static bool dir_is_ours(const char *dir)
{
	char path[PATH_MAX];
	bool ours = true;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", dir, map_name[0]);
	if (!access(path, F_OK))
		return true;
	d = opendir(dir);
	while (d && ours && (e = readdir(d)))
		ours = e->d_name[0] == '.';
	if (d)
		closedir(d);
	return ours;
}

/* Return: its descriptor, or -errno. Nobody else is to read it: who can may lock it. */
static int dir_make(const char *dir)
{
	int fd = pin_dir_make(dir), rc = 0;

	if (fd < 0)
		return fd;
	if (!dir_is_ours(dir))
		rc = -ENOTEMPTY;
	else if (fchmod(fd, 0700))
		rc = -errno;
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

/* Detached at once: without that the kernel would let it go some time after the last reference. */
static void link_remove(const char *dir, const char *name)
{
	char path[PATH_MAX];
	int fd = sel_fd_open(dir, name);

	if (fd >= 0) {
		bpf_link_detach(fd);
		close(fd);
	}
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
}

/* Remove what lies in a folder; links first, so that no program runs on maps that are half gone. */
static void dir_empty(const char *dir)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *d;

	for (unsigned i = 0; i < SEL_PROGS; i++)
		if (link_name[i])
			link_remove(dir, link_name[i]);
	d = opendir(dir);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.' || !strcmp(e->d_name, map_name[0]))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		unlink(path);
	}
	if (d)
		closedir(d);
	snprintf(path, sizeof(path), "%s/%s", dir, map_name[0]);
	unlink(path);
}

int selector_detach(const char *pin_dir)
{
	const char *dir = pin_dir ? pin_dir : SELECTOR_PIN_DIR;
	int fd = pin_dir_find(dir);
	int rc;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	flock(fd, LOCK_EX);
	rc = dir_is_ours(dir) ? 0 : -ENOTEMPTY;
	if (!rc)
		dir_empty(dir);
	close(fd);
	return rc ? rc : rmdir(dir) ? -errno : 0;
}

/* ---- taking up ---- */

static int version_check(const struct selector *sel)
{
	struct sel_conf conf;
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(sel->map[SEL_MAP_CONF], &zero, &conf))
		return -errno;
	return conf.version == SEL_VERSION ? 0 : -EPROTO;
}

static int pins_open(struct selector *sel)
{
	for (unsigned i = 0; i < SEL_PROGS; i++) {
		sel->prog[i] = sel_fd_open(sel->dir, prog_name[i]);
		if (link_name[i])
			sel->link[i] = sel_fd_open(sel->dir, link_name[i]);
	}
	if (sel->link[SEL_PROG_ANSWER] < 0)
		return sel->link[SEL_PROG_ANSWER];
	for (unsigned i = 0; i < SEL_MAPS; i++) {
		sel->map[i] = sel_fd_open(sel->dir, map_name[i]);
		if (sel->map[i] < 0)
			return -EPROTO;
	}
	return version_check(sel);
}

/* A process asks as fast as it likes, and each question about an unknown kind is an event: what is known is passed over soon. */
static int event_learn(void *arg, void *data, size_t size)
{
	const struct sel_event *e = data;
	struct selector *sel = arg;

	if (size < sizeof(*e))
		return 0;
	if (!sel_kind_is_known(sel, &e->proc))
		selector_process_add(sel, (int)e->tgid);
	if (sel->met)
		sel->met(sel->met_arg, (int)e->tgid);
	return ++sel->events < EVENTS_TURN ? 0 : -EAGAIN;
}

int selector_attach(struct selector **out, const char *pin_dir)
{
	struct selector *sel = selector_new(pin_dir ? pin_dir : SELECTOR_PIN_DIR);
	int rc;

	if (!sel)
		return -ENOMEM;
	libbpf_set_print(complaint_keep);
	sel->lock = pin_dir_seek(sel->dir, sizeof(sel->dir));
	rc = sel->lock < 0 ? sel->lock : 0;
	sel_lock(sel);
	if (!rc)
		rc = pins_open(sel);
	if (!rc)
		rc = sel_slots_read(sel);
	sel_unlock(sel);
	if (rc) {
		selector_close(sel);
		return rc;
	}
	*out = sel;
	return 0;
}

/* ---- loading ---- */

/* Load the programs of a set, one bit each. */
static int skel_load(struct selector_bpf **out, unsigned set)
{
	struct selector_bpf *skel = selector_bpf__open();
	int rc;

	*complaint = '\0';
	if (!skel)
		return -errno;
	for (unsigned i = 0; i < SEL_PROGS; i++)
		bpf_program__set_autoload(bpf_object__find_program_by_name(skel->obj, prog_name[i]),
					  set >> i & 1);
	rc = selector_bpf__load(skel);
	if (rc) {
		selector_bpf__destroy(skel);
		return rc;
	}
	*out = skel;
	return 0;
}

/* Load all that this kernel takes. */
static int skel_load_most(struct selector_bpf **out, struct selector_report *rep)
{
	unsigned all = (1u << SEL_PROGS) - 1, good = 0;

	if (!skel_load(out, all))
		return 0;
	for (unsigned i = 0; i < SEL_PROGS; i++) {
		int rc = skel_load(out, good | 1u << i);

		if (rc) {
			lack(rep, prog_part[i], rc, complaint);
			if (i == SEL_PROG_ANSWER)
				return rc;
			continue;
		}
		good |= 1u << i;
		selector_bpf__destroy(*out);
	}
	return skel_load(out, good);
}

int selector_cgroup_open(const char *cgroup)
{
	char line[4096], root[4096] = "", type[64], where[2048];
	FILE *f;
	int fd;

	if (!cgroup) {
		f = fopen("/proc/self/mounts", "re");
		while (f && !*root && fgets(line, sizeof(line), f))
			if (sscanf(line, "%*s %2047s %63s", where, type) == 2 &&
			    !strcmp(type, "cgroup2"))
				snprintf(root, sizeof(root), "%s", where);
		if (f)
			fclose(f);
		cgroup = root;
	}
	fd = *cgroup ? open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	return fd >= 0 ? fd : *cgroup ? -errno : -ENOENT;
}

static int dup_high(int fd)
{
	int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy;
}

static int fds_take(struct selector *sel, const struct selector_bpf *skel)
{
	for (unsigned i = 0; i < SEL_MAPS; i++) {
		sel->map[i] = dup_high(bpf_object__find_map_fd_by_name(skel->obj, map_name[i]));
		if (sel->map[i] < 0)
			return -EMFILE;
	}
	for (unsigned i = 0; i < SEL_PROGS; i++)
		sel->prog[i] = dup_high(
			bpf_program__fd(bpf_object__find_program_by_name(skel->obj, prog_name[i])));
	return 0;
}

static int conf_begin(const struct selector *sel)
{
	struct sel_conf conf = { .version = SEL_VERSION };
	uint32_t zero = 0, closed = SEL_CLOSED;
	uint64_t all = 0;

	if (getrandom(conf.key, sizeof(conf.key), 0) != sizeof(conf.key))
		return -EIO;
	/* what connects before the first policy is in force must not go by none */
	return bpf_map_update_elem(sel->map[SEL_MAP_CONF], &zero, &conf, BPF_ANY) ||
			       bpf_map_update_elem(sel->map[SEL_MAP_SLOTS], &all, &closed, BPF_ANY)
		       ? -errno
		       : 0;
}

static int links_make(struct selector *sel, int cgroup, struct selector_report *rep)
{
	static const enum bpf_attach_type type[SEL_PROGS] = { BPF_CGROUP_GETSOCKOPT,
							      BPF_CGROUP_SETSOCKOPT,
							      BPF_CGROUP_SOCK_OPS, 0 };

	for (unsigned i = 0; i < SEL_PROGS; i++) {
		if (!link_name[i] || sel->prog[i] < 0)
			continue;
		sel->link[i] = bpf_link_create(sel->prog[i], cgroup, type[i], NULL);
		if (sel->link[i] >= 0)
			continue;
		sel->link[i] = -1;
		lack(rep, prog_part[i], -errno, "it cannot be attached to the cgroup");
		if (i == SEL_PROG_ANSWER)
			return rep->lack[rep->lacks - 1].err;
	}
	return 0;
}

static int pin(const struct selector *sel, int fd, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", sel->dir, name);
	return fd < 0 || !bpf_obj_pin(fd, path) ? 0 : -errno;
}

/* Links last, the answering one at the very end: it says that all is there. */
static int pins_make(const struct selector *sel)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < SEL_MAPS; i++)
		rc = pin(sel, sel->map[i], map_name[i]);
	for (unsigned i = 0; !rc && i < SEL_PROGS; i++)
		rc = pin(sel, sel->prog[i], prog_name[i]);
	for (unsigned left = SEL_PROGS; !rc && left; left--)
		if (link_name[left - 1])
			rc = pin(sel, sel->link[left - 1], link_name[left - 1]);
	return rc;
}

/* Change what is given of the one element of map agents. Under the lock. */
static int agent_change(const struct selector *sel, const uint64_t *agent, const bool *attests)
{
	struct sel_agent a;
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(sel->map[SEL_MAP_AGENTS], &zero, &a))
		return -errno;
	if (agent)
		a.agent = *agent;
	if (attests)
		a.attests = *attests;
	return bpf_map_update_elem(sel->map[SEL_MAP_AGENTS], &zero, &a, BPF_EXIST) ? -errno : 0;
}

static int fresh(struct selector *sel, const char *cgroup, struct selector_report *rep)
{
	struct selector_bpf *skel = NULL;
	int group = selector_cgroup_open(cgroup);
	bool attests;
	int rc;

	if (group < 0) {
		lack(rep, SELECTOR_PART_ANSWER, group, "no cgroup v2 hierarchy is mounted");
		return group;
	}
	rc = skel_load_most(&skel, rep);
	if (!rc)
		rc = fds_take(sel, skel);
	if (!rc)
		rc = conf_begin(sel);
	if (!rc)
		rc = links_make(sel, group, rep);
	attests = sel->link[SEL_PROG_ATTEST] >= 0;
	if (!rc)
		rc = agent_change(sel, NULL, &attests);
	if (!rc && *sel->dir) {
		int err = pins_make(sel);

		if (err) {
			lack(rep, SELECTOR_PART_PIN, err, "");
			dir_empty(sel->dir);
		}
	}
	if (skel)
		selector_bpf__destroy(skel);
	close(group);
	return rc;
}

/* Namespaces are told of again: this process has not heard of them. */
static void seen_forget(const struct selector *sel)
{
	uint64_t netns;

	while (!bpf_map_get_next_key(sel->map[SEL_MAP_SEEN], NULL, &netns) &&
	       !bpf_map_delete_elem(sel->map[SEL_MAP_SEEN], &netns))
		;
}

/* A link outlives its cgroup, and serves nobody then; and it may be another that is wanted now. */
static bool link_serves(const struct selector *sel, const char *cgroup)
{
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof(info);
	int fd = selector_cgroup_open(cgroup);
	struct stat st;
	bool serves = fd < 0 || fstat(fd, &st) ||
		      bpf_obj_get_info_by_fd(sel->link[SEL_PROG_ANSWER], &info, &len) ||
		      info.cgroup.cgroup_id == st.st_ino;

	fd_close(fd);
	return serves;
}

/* Take up what is pinned; -ENOENT: nothing that is whole. */
static int adopt(struct selector *sel, const char *cgroup, struct selector_report *rep)
{
	int rc = pins_open(sel);

	if (rc == -EPROTO)
		rep->anew = "it is of another version";
	if (!rc && !link_serves(sel, cgroup)) {
		rep->anew = "its cgroup is another one, or has gone";
		rc = -EPROTO;
	}
	if (rc)
		return rc;
	for (unsigned i = 0; i < SEL_PROGS; i++)
		if (sel->prog[i] < 0 || (link_name[i] && sel->link[i] < 0))
			lack(rep, prog_part[i], -ENOENT, "lacking when it was loaded");
	rep->adopted = true;
	seen_forget(sel);
	return sel_slots_read(sel);
}

static bool lacking(const struct selector_report *rep, enum selector_part part)
{
	for (unsigned i = 0; i < rep->lacks; i++)
		if (rep->lack[i].part == part)
			return true;
	return false;
}

/* The ring is for namespaces too: it is read even where no kind can be. */
static void events_begin(struct selector *sel, struct selector_report *rep)
{
	struct sel_event self;
	int rc;

	sel->ring = ring_buffer__new(sel->map[SEL_MAP_EVENTS], event_learn, sel, NULL);
	rc = sel->ring ? sel_event_read(sel, getpid(), &self) : -errno;
	if (rc && !lacking(rep, SELECTOR_PART_KINDS))
		lack(rep, SELECTOR_PART_KINDS, rc,
		     sel->ring ? "a task cannot be read by iter/task" : "no ring buffer");
}

int selector_open(struct selector **out, const char *pin_dir, const char *cgroup,
		  struct selector_report *rep)
{
	const char *dir = pin_dir ? pin_dir : SELECTOR_PIN_DIR;
	struct selector *sel = selector_new(dir);
	int rc, err, lock;

	memset(rep, 0, sizeof(*rep));
	if (!sel)
		return -ENOMEM;
	libbpf_set_print(complaint_keep);
	lock = dir_make(dir);
	err = lock < 0 ? lock : 0;
	sel->lock = lock;
	if (err) {
		lack(rep, SELECTOR_PART_PIN, err, pin_dir_error(err));
		*sel->dir = '\0';
	}
	sel_lock(sel);
	rc = *sel->dir ? adopt(sel, cgroup, rep) : -ENOENT;
	if (rc) {
		sel->lock = -1; /* held on */
		selector_close(sel);
		sel = selector_new(err ? "" : dir);
		if (!sel)
			return -ENOMEM;
		if (!err)
			dir_empty(dir);
		rep->lacks = err ? 1 : 0;
		rep->adopted = false;
		sel->lock = lock;
		rc = fresh(sel, cgroup, rep);
	}
	if (!rc)
		events_begin(sel, rep);
	sel_unlock(sel);
	if (rc) {
		selector_close(sel);
		return rc;
	}
	*out = sel;
	return 0;
}

/* ---- the rest of the kernel's side ---- */

int selector_fd(const struct selector *sel)
{
	return sel && sel->ring ? ring_buffer__epoll_fd(sel->ring) : -ENOENT;
}

int selector_poll(struct selector *sel, void (*met)(void *arg, int pid), void *arg)
{
	int rc;

	if (!sel)
		return -EOPNOTSUPP;
	sel->met = met;
	sel->met_arg = arg;
	sel->events = 0;
	rc = sel->ring ? ring_buffer__consume(sel->ring) : 0;
	return rc < 0 && rc != -EAGAIN ? rc : 0;
}

int selector_agent_set(struct selector *sel, uint64_t agent)
{
	int rc;

	if (!sel)
		return -EOPNOTSUPP;
	sel_lock(sel);
	rc = agent_change(sel, &agent, NULL);
	sel_unlock(sel);
	return rc;
}

static bool allows(const struct sel_verdict *v)
{
	return v->rule && (v->verdict == POLICY_LIFT || v->verdict == POLICY_DIRECT) &&
	       v->paths & POLICY_PATH_SHM;
}

int selector_conn_get(struct selector *sel, uint64_t cookie, struct selector_conn *out)
{
	struct sel_end end, peer;

	if (!sel)
		return -EOPNOTSUPP;
	if (bpf_map_lookup_elem(sel->map[SEL_MAP_ENDS], &cookie, &end))
		return -errno;
	*out = (struct selector_conn){
		.cookie = cookie,
		.peer = end.peer,
		.secret = end.secret,
		.netns = end.netns,
		.tgid = end.tgid,
		.uid = end.uid,
		.role = end.role == 2 ? POLICY_ROLE_CONNECT : POLICY_ROLE_LISTEN,
		.verdict = end.verdict.verdict,
		.paths = end.verdict.paths,
		.by_rule = end.verdict.rule,
	};
	bpf_map_lookup_elem(sel->map[SEL_MAP_CHANS], &cookie, &out->chan);
	out->attested = !bpf_map_lookup_elem(sel->map[SEL_MAP_ENDS], &end.peer, &peer) &&
			peer.peer == cookie && allows(&end.verdict) && allows(&peer.verdict);
	return 0;
}

int selector_chan_set(struct selector *sel, uint64_t cookie, uint64_t chan)
{
	struct sel_end end;

	if (!sel)
		return -EOPNOTSUPP;
	if (bpf_map_update_elem(sel->map[SEL_MAP_CHANS], &cookie, &chan, BPF_ANY))
		return -errno;
	/* looked for afterwards: what closes meanwhile takes the entry away, or we do */
	if (!bpf_map_lookup_elem(sel->map[SEL_MAP_ENDS], &cookie, &end))
		return 0;
	bpf_map_delete_elem(sel->map[SEL_MAP_CHANS], &cookie);
	return -ENOENT;
}
