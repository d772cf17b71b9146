/* nic.c - load, attach, pin and remove the XDP program of nic.bpf.c
 *
 * Theory of operation: as in selector.c, a folder of bpffs holds the maps and, made last, the link: a folder with a link
 * is whole. The kernel empties a link when its interface goes; the folder is then removed by the next call here. Nothing
 * of ours runs while the program works: a device opens the maps, enters its socket, and names what it wants.
 */
#include "daemon/bpf/nic.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/bpf/pin_dir.h"
#include "nic.skel.h"

enum { ROOT_BYTES = 64, PATH_BYTES = 320, WHY_BYTES = 160 };

static const char *const map_name[] = { "nic_xsks", "nic_flows", "nic_ports", "nic_queues",
					"nic_counts" };
static const char link_name[] = "link";

#define MAPS (sizeof(map_name) / sizeof(map_name[0]))

static int quiet(enum libbpf_print_level level, const char *format, va_list ap)
{
	(void)level;
	(void)format;
	(void)ap;
	return 0;
}

static uint64_t netns_cookie(void)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s < 0)
		return 0;
	if (getsockopt(s, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len))
		cookie = 0;
	close(s);
	return cookie;
}

/* The folder of folders, as seen from here. Return: whether it stays when the caller ends. */
static bool root_name(char dir[ROOT_BYTES])
{
	char at[PIN_DIR_AT];
	bool stays = pin_dir_usual(at);

	snprintf(dir, ROOT_BYTES, "%s" NIC_PIN_DIR, at);
	return stays;
}

static void dir_of(char dir[PATH_BYTES], uint64_t netns, uint32_t ifindex)
{
	char root[ROOT_BYTES];

	root_name(root);
	snprintf(dir, PATH_BYTES, NIC_PIN_NAME, root, (unsigned long long)netns, ifindex);
}

static int pin_open(const char *dir, const char *name)
{
	char path[PATH_BYTES + 32];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

static int pin_make(const char *dir, const char *name, int fd)
{
	char path[PATH_BYTES + 32];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return bpf_obj_pin(fd, path) ? -errno : 0;
}

/* The folder of folders; locked until it is closed. */
static int root_open(bool make)
{
	char dir[ROOT_BYTES];
	int fd;

	if (!root_name(dir) && make)
		return -EXDEV;
	fd = make ? pin_dir_make(dir) : pin_dir_find(dir);
	if (fd < 0)
		return fd;
	if (flock(fd, LOCK_EX)) {
		close(fd);
		return -EIO;
	}
	return fd;
}

/* The link goes first, and is detached at once, so that no program runs on maps that are half gone. */
static int dir_remove(const char *dir)
{
	char path[PATH_BYTES + 32];
	int fd = pin_open(dir, link_name);

	if (fd >= 0) {
		bpf_link_detach(fd);
		close(fd);
	}
	snprintf(path, sizeof(path), "%s/%s", dir, link_name);
	unlink(path);
	for (unsigned i = 0; i < MAPS; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, map_name[i]);
		unlink(path);
	}
	return rmdir(dir) ? -errno : 0;
}

/* Return: its interface's index, 0 when that is gone, -errno without a link. */
static int link_ifindex(const char *dir)
{
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof(info);
	int fd = pin_open(dir, link_name), rc;

	if (fd < 0)
		return fd;
	rc = bpf_obj_get_info_by_fd(fd, &info, &len);
	close(fd);
	return rc ? -errno : (int)info.xdp.ifindex;
}

/* ---- attach */

static int link_make(int prog, uint32_t ifindex, bool generic)
{
	const struct bpf_link_create_opts opts = {
		.sz = sizeof(opts),
		.flags = generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE,
	};
	int rc = bpf_link_create(prog, (int)ifindex, BPF_XDP, &opts);

	if (rc >= 0)
		return rc;
	return errno == EEXIST ? -EBUSY : -errno;
}

static int pins_make(const struct nic_bpf *skel, const char *dir, int link)
{
	int rc = mkdir(dir, 0700) ? -errno : 0;

	for (unsigned i = 0; !rc && i < MAPS; i++)
		rc = pin_make(dir, map_name[i],
			      bpf_object__find_map_fd_by_name(skel->obj, map_name[i]));
	return rc ? rc : pin_make(dir, link_name, link);
}

static int attach(const char *dir, uint32_t ifindex, bool generic, const char **step)
{
	struct nic_bpf *skel = nic_bpf__open();
	int rc = skel ? 0 : -errno, link;

	*step = "load the program";
	if (!rc)
		rc = nic_bpf__load(skel);
	if (!rc) {
		*step = "attach it";
		link = link_make(bpf_program__fd(skel->progs.ztcp_nic), ifindex, generic);
		rc = link < 0 ? link : 0;
	}
	if (!rc) {
		*step = "pin it";
		rc = pins_make(skel, dir, link);
		close(link);
	}
	if (rc)
		dir_remove(dir);
	nic_bpf__destroy(skel);
	return rc;
}

static void explain(char *why, const char *name, const char *step, int rc)
{
	if (rc == -EBUSY)
		snprintf(why, WHY_BYTES, "%s: another XDP program is on it", name);
	else if (rc == -ERANGE)
		snprintf(why, WHY_BYTES, "%s: %s: its MTU is too large for XDP", name, step);
	else if (rc == -ESRCH) /* what libbpf says of it */
		snprintf(why, WHY_BYTES, "%s: %s: this kernel has no BTF (/sys/kernel/btf/vmlinux)",
			 name, step);
	else if (rc == -EXDEV)
		snprintf(
			why, WHY_BYTES,
			"%s: no bpf file system that would stay: mount -t bpf bpf /sys/fs/bpf, outside of ip netns exec",
			name);
	else if (rc == -EOPNOTSUPP)
		snprintf(why, WHY_BYTES,
			 "%s: its driver does not run XDP programs (-g: the kernel does)", name);
	else
		snprintf(why, WHY_BYTES, "%s: %s%s%s", name, step, *step ? ": " : "",
			 pin_dir_error(rc));
}

int nic_attach(const char *name, bool generic, char *why)
{
	uint32_t ifindex = if_nametoindex(name);
	const char *step = "";
	char dir[PATH_BYTES];
	int root, rc;

	libbpf_set_print(quiet);
	if (!ifindex) {
		explain(why, name, step, -ENODEV);
		return -ENODEV;
	}
	dir_of(dir, netns_cookie(), ifindex);
	root = root_open(true);
	step = "make " NIC_PIN_DIR;
	rc = root < 0 ? root : 0;
	if (!rc && link_ifindex(dir) == (int)ifindex)
		rc = 1;
	if (!rc) {
		dir_remove(
			dir); /* of one that died half way, or of an interface of the same number */
		rc = attach(dir, ifindex, generic, &step);
	}
	if (root >= 0)
		close(root);
	if (rc < 0)
		explain(why, name, step, rc);
	return rc;
}

int nic_detach(const char *name)
{
	uint32_t ifindex = if_nametoindex(name);
	char dir[PATH_BYTES];
	int root, rc;

	libbpf_set_print(quiet);
	if (!ifindex)
		return -ENODEV;
	root = root_open(false);
	if (root < 0)
		return root;
	dir_of(dir, netns_cookie(), ifindex);
	rc = access(dir, F_OK) ? -ENOENT : dir_remove(dir);
	root_name(dir);
	rmdir(dir); /* when this was the last */
	close(root);
	return rc;
}

/* ---- what is named */

/* A map whose values are not ours is an earlier or a later program's, which does not look at what we write. */
static int map_open(const char *dir, const char *name, uint32_t value_bytes)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	int fd = pin_open(dir, name);

	if (fd >= 0 &&
	    (bpf_obj_get_info_by_fd(fd, &info, &len) || info.value_size != value_bytes)) {
		close(fd);
		return -EPROTO;
	}
	return fd;
}

int nic_maps_open(uint64_t netns, uint32_t ifindex, struct nic_maps *m)
{
	char dir[PATH_BYTES];
	int rc;

	dir_of(dir, netns, ifindex);
	m->flows = map_open(dir, "nic_flows", sizeof(struct nic_lease));
	m->ports = map_open(dir, "nic_ports", sizeof(struct nic_lease));
	m->xsks = map_open(dir, "nic_xsks", sizeof(uint32_t));
	m->queues = map_open(dir, "nic_queues", sizeof(struct nic_lease));
	rc = m->flows < 0 ? m->flows : m->ports < 0 ? m->ports : m->xsks < 0 ? m->xsks : m->queues;
	if (rc >= 0)
		return 0;
	nic_maps_close(m);
	return rc;
}

void nic_maps_close(struct nic_maps *m)
{
	const int fds[] = { m->flows, m->ports, m->xsks, m->queues };

	for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	m->flows = m->ports = m->xsks = m->queues = -1;
}

bool nic_map_same(int a, int b)
{
	struct bpf_map_info ia = { 0 }, ib = { 0 };
	uint32_t len = sizeof(ia);
	char key[sizeof(struct nic_flow)];

	if (bpf_obj_get_info_by_fd(a, &ia, &len))
		return false;
	len = sizeof(ib);
	if (bpf_obj_get_info_by_fd(b, &ib, &len) || ia.id != ib.id)
		return false;
	/* A program may have the same number, but no keys. */
	return !bpf_map_get_next_key(a, NULL, key) || errno == ENOENT;
}

static bool is(const struct nic_lease *a, const struct nic_lease *b)
{
	return a->queue == b->queue && a->pid == b->pid;
}

bool nic_drop(int map, const void *key, const struct nic_lease *whose)
{
	struct nic_lease was;

	if (bpf_map_lookup_elem(map, key, &was) || !is(&was, whose) ||
	    bpf_map_lookup_and_delete_elem(map, key, &was))
		return false;
	if (is(&was, whose))
		return true;
	/* named anew between the two looks */
	bpf_map_update_elem(map, key, &was, BPF_NOEXIST);
	return false;
}

int nic_name(int map, const void *key, const struct nic_lease *whose)
{
	struct nic_lease was;

	if (!bpf_map_update_elem(map, key, whose, BPF_NOEXIST))
		return 0;
	if (errno != EEXIST)
		return -errno;
	if (bpf_map_lookup_elem(map, key, &was))
		return -errno;
	/* Nobody else can have his queue: an entry that names it is his own, or a dead one's. */
	if (was.queue != whose->queue)
		return -EEXIST;
	if (is(&was, whose))
		return 1;
	return bpf_map_update_elem(map, key, whose, BPF_ANY) ? -errno : 0;
}

void nic_clear(int map, const void *key, uint32_t queue)
{
	struct nic_lease was;

	if (!bpf_map_lookup_elem(map, key, &was) && was.queue == queue)
		bpf_map_delete_elem(map, key);
}

int nic_enter(const struct nic_maps *m, const struct nic_lease *whose, int fd)
{
	if (bpf_map_update_elem(m->queues, &whose->queue, whose, BPF_ANY))
		return -errno;
	return bpf_map_update_elem(m->xsks, &whose->queue, &fd, BPF_ANY) ? -errno : 0;
}

bool nic_next(int map, const void *key, void *next)
{
	return !bpf_map_get_next_key(map, key, next);
}

/* ---- show */

static uint32_t entries(int map, size_t key_bytes)
{
	char key[sizeof(struct nic_flow)], next[sizeof(struct nic_flow)];
	uint32_t n = 0;
	int rc = bpf_map_get_next_key(map, NULL, next);

	while (!rc && n < NIC_FLOWS) {
		n++;
		memcpy(key, next, key_bytes);
		rc = bpf_map_get_next_key(map, key, next);
	}
	return n;
}

static uint32_t entries_of(const char *dir, const char *map, size_t key_bytes)
{
	int fd = pin_open(dir, map);
	uint32_t n;

	if (fd < 0)
		return 0;
	n = entries(fd, key_bytes);
	close(fd);
	return n;
}

static void counts_read(const char *dir, uint64_t counts[NIC_COUNTS])
{
	int fd = pin_open(dir, "nic_counts"), cpus = libbpf_num_possible_cpus();
	uint64_t *each = cpus > 0 ? calloc((size_t)cpus, sizeof(*each)) : NULL;

	memset(counts, 0, NIC_COUNTS * sizeof(*counts));
	for (uint32_t i = 0; each && fd >= 0 && i < NIC_COUNTS; i++)
		if (!bpf_map_lookup_elem(fd, &i, each))
			for (int cpu = 0; cpu < cpus; cpu++)
				counts[i] += each[cpu];
	free(each);
	if (fd >= 0)
		close(fd);
}

/* Native or not is told by the interface alone, and asked only in its own namespace. */
static void name_fill(struct nic_state *s)
{
	struct bpf_xdp_query_opts query = { .sz = sizeof(query) };

	if (s->netns != netns_cookie() || !if_indextoname(s->ifindex, s->name))
		return;
	if (!bpf_xdp_query((int)s->ifindex, 0, &query))
		s->native = query.attach_mode == XDP_ATTACHED_DRV;
}

static bool state_read(struct nic_state *s, const char *entry)
{
	char dir[PATH_BYTES];
	unsigned long long netns;
	int ifindex;

	memset(s, 0, sizeof(*s));
	if (sscanf(entry, "%llx-%u", &netns, &s->ifindex) != 2)
		return false;
	s->netns = netns;
	dir_of(dir, s->netns, s->ifindex);
	ifindex = link_ifindex(dir);
	if (ifindex <= 0) {
		dir_remove(dir);
		return false;
	}
	name_fill(s);
	s->flows = entries_of(dir, "nic_flows", sizeof(struct nic_flow));
	s->ports = entries_of(dir, "nic_ports", sizeof(struct nic_port));
	counts_read(dir, s->counts);
	return true;
}

int nic_each(void (*f)(void *arg, const struct nic_state *s), void *arg)
{
	int root = root_open(false), n = 0;
	char dir[ROOT_BYTES];
	struct nic_state s;
	struct dirent *e;
	DIR *d;

	libbpf_set_print(quiet);
	if (root < 0)
		return root == -ENOENT ? 0 : root;
	root_name(dir);
	d = opendir(dir);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.' || !state_read(&s, e->d_name))
			continue;
		f(arg, &s);
		n++;
	}
	if (d)
		closedir(d);
	if (!n)
		rmdir(dir);
	close(root);
	return n;
}
