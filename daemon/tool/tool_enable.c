/* tool_enable.c - ztcp enable, ztcp disable: a namespace or a service as a whole, with no ztcp_run before each program
 *
 * A network namespace of `ip netns`: a line in /etc/netns/NAME/ld.so.preload, which `ip netns exec` puts in the place of
 * /etc/ld.so.preload (there must be one, if only an empty one). A service of systemd, named by its cgroup: a drop-in that
 * sets LD_PRELOAD. Any other cgroup, and every one where systemd is not: a line in /etc/ztcp/cgroups, and in
 * /etc/ld.so.preload the library by its other name, by which it leaves programs alone whose cgroup is not in that list
 * (preload/sock/conf.c). All act on programs that start from then on. What others have written stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/bpf/selector.h"
#include "daemon/tool/tool.h"
#include "daemon/tool/tool_json.h"

#define NETNS_RUN    "/run/netns"
#define NETNS_ETC    "/etc/netns"
#define PRELOAD_FILE "/etc/ld.so.preload"
#define UNITS        "/etc/systemd/system"
#define ZTCP_ETC     "/etc/ztcp"

/* CONF_CGROUPS and CONF_LIBRARY_EVERYWHERE of preload/sock/conf.h, which is of another layer */
#define CGROUPS            ZTCP_ETC "/cgroups"
#define LIBRARY_EVERYWHERE "libztcp_enabled.so"

enum { FILE_MAX = 65535, CGROUP_MAX = 512 };

struct enable {
	bool on, json;
	const char *netns, *cgroup;
	char library[PATH_MAX];
	char file[PATH_MAX + 64];
};

/* The library beside this program: ../lib/libztcp_preload.so, as ztcp_run finds it. */
static bool library_find(struct enable *e)
{
	char self[PATH_MAX], path[PATH_MAX + 64];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	snprintf(path, sizeof(path), "%s/../lib/libztcp_preload.so", self);
	if (realpath(path, e->library))
		return true;
	tool_say("%s: %s", path, strerror(errno));
	return false;
}

/* A file's text, "" when there is none. Return: 0 or -errno. */
static int text_read(const char *file, char *text)
{
	FILE *f = fopen(file, "re");
	size_t n;

	text[0] = '\0';
	if (!f)
		return errno == ENOENT ? 0 : -errno;
	n = fread(text, 1, FILE_MAX, f);
	fclose(f);
	if (n == FILE_MAX)
		return -EFBIG;
	text[n] = '\0';
	return 0;
}

/* In the file's place at once; an empty one goes, but for the one that `ip netns exec` mounts over. Return: 0 or -errno. */
static int text_write(const char *file, const char *text)
{
	char next[PATH_MAX + 80];
	FILE *f;
	int err = 0;

	if (!*text && strcmp(file, PRELOAD_FILE))
		return unlink(file) && errno != ENOENT ? -errno : 0;
	snprintf(next, sizeof(next), "%s.ztcp", file);
	f = fopen(next, "we");
	if (!f)
		return -errno;
	if (fputs(text, f) < 0)
		err = -errno;
	if (fclose(f) && !err)
		err = -errno;
	if (!err && rename(next, file))
		err = -errno;
	if (err)
		unlink(next);
	return err;
}

/* The text without our line. */
static void line_drop(char *text, const char *line)
{
	size_t len = strlen(line);

	for (char *at = text; *at;) {
		char *end = strchrnul(at, '\n');
		char *next = *end ? end + 1 : end;

		if ((size_t)(end - at) == len && !memcmp(at, line, len))
			memmove(at, next, strlen(next) + 1);
		else
			at = next;
	}
}

/* There is room: a file of FILE_MAX bytes leaves some for lines of ours. */
static void line_add(char *text, const char *line)
{
	size_t used = strlen(text);

	sprintf(text + used, "%s%s\n", used && text[used - 1] != '\n' ? "\n" : "", line);
}

static int folder_make(const char *folder)
{
	return mkdir(folder, 0755) && errno != EEXIST ? -errno : 0;
}

/* ---- a network namespace ---- */

static int netns_switch(struct enable *e)
{
	char text[FILE_MAX + PATH_MAX + 2], folder[PATH_MAX];
	int err, fd;

	snprintf(folder, sizeof(folder), NETNS_ETC "/%s", e->netns);
	snprintf(e->file, sizeof(e->file), "%s/ld.so.preload", folder);
	err = text_read(e->file, text);
	if (err)
		return err;
	line_drop(text, e->library);
	if (e->on) {
		err = folder_make(NETNS_ETC);
		err = err ? err : folder_make(folder);
		if (err)
			return err;
		/* what `ip netns exec` mounts over must be there */
		fd = open(PRELOAD_FILE, O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
		if (fd < 0)
			return -errno;
		close(fd);
		line_add(text, e->library);
	}
	err = text_write(e->file, text);
	if (!err && !e->on)
		rmdir(folder); /* unless others have something in it */
	return err;
}

static bool netns_is_right(const struct enable *e)
{
	if (*e->netns && !strchr(e->netns, '/') && e->netns[0] != '.' &&
	    strlen(e->netns) <= NAME_MAX)
		return true;
	tool_say("--netns '%s': expected the name of a network namespace", e->netns);
	return false;
}

static bool netns_is_there(const struct enable *e)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), NETNS_RUN "/%s", e->netns);
	if (!access(path, F_OK))
		return true;
	tool_say("--netns %s: %s: %s", e->netns, path, strerror(errno));
	return false;
}

/* ---- a service ---- */

/* The unit is the last part of the cgroup's path; NULL: it is no service, or systemd is not here. */
static const char *unit_of(const char *cgroup)
{
	const char *unit = strrchr(cgroup, '/');
	size_t len;

	unit = unit ? unit + 1 : cgroup;
	len = strlen(unit);
	return len > 8 && !strcmp(unit + len - 8, ".service") && !access(UNITS, F_OK) ? unit : NULL;
}

static int service_switch(struct enable *e)
{
	char text[PATH_MAX + 64] = "", folder[PATH_MAX];
	int err;

	snprintf(folder, sizeof(folder), UNITS "/%s.d", unit_of(e->cgroup));
	snprintf(e->file, sizeof(e->file), "%s/50-ztcp.conf", folder);
	if (e->on) {
		err = folder_make(folder);
		if (err)
			return err;
		snprintf(text, sizeof(text), "[Service]\nEnvironment=LD_PRELOAD=%s\n", e->library);
	}
	err = text_write(e->file, text);
	if (!err && !e->on)
		rmdir(folder); /* unless others have something in it */
	return err;
}

/* A unit that does not run has no cgroup yet, and a file in one of these; that of name@instance is name@. */
static bool unit_is_there(const char *unit)
{
	static const char *const folders[] = { UNITS,
					       "/run/systemd/system",
					       "/run/systemd/generator",
					       "/usr/local/lib/systemd/system",
					       "/usr/lib/systemd/system",
					       "/lib/systemd/system" };
	const char *at = strchr(unit, '@');
	char file[PATH_MAX];

	for (unsigned i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(file, sizeof(file), "%s/%s", folders[i], unit);
		if (!access(file, F_OK))
			return true;
		if (at)
			snprintf(file, sizeof(file), "%s/%.*s@.service", folders[i],
				 (int)(at - unit), unit);
		if (at && !access(file, F_OK))
			return true;
	}
	return false;
}

/* As /proc/PID/cgroup shows one: from the root, with no detours; a slash at the end is forgiven. */
static bool cgroup_is_path(const char *cgroup)
{
	if (cgroup[0] != '/' || strpbrk(cgroup, "\n\r") || strlen(cgroup) >= CGROUP_MAX)
		return false;
	for (const char *at = cgroup + 1; *at;) {
		size_t len = strcspn(at, "/");

		if (!len || (len == 1 && *at == '.') || (len == 2 && !memcmp(at, "..", 2)))
			return false;
		at += len + (at[len] == '/');
	}
	return true;
}

static bool cgroup_is_right(const struct enable *e)
{
	if (cgroup_is_path(e->cgroup))
		return true;
	tool_say("--cgroup '%s': expected a path of cgroup v2, from /", e->cgroup);
	return false;
}

static bool cgroup_is_there(const struct enable *e)
{
	int root, fd, err;

	if (unit_of(e->cgroup) && unit_is_there(unit_of(e->cgroup)))
		return true;
	root = selector_cgroup_open(NULL);
	if (root < 0) {
		tool_say("--cgroup %s: no cgroup v2 is mounted here", e->cgroup);
		return false;
	}
	fd = openat(root, e->cgroup[1] ? e->cgroup + 1 : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	err = fd < 0 ? errno : 0;
	close(fd);
	close(root);
	if (err)
		tool_say("--cgroup %s: there is no such %s: %s", e->cgroup,
			 unit_of(e->cgroup) ? "service or cgroup" : "cgroup", strerror(err));
	return !err;
}

/* ---- any other cgroup ---- */

/* A line more or less in a file. @text: what it is afterwards. Return: 0 or -errno. */
static int line_switch(const char *file, const char *line, bool on, char *text)
{
	int err = text_read(file, text);

	if (err)
		return err;
	line_drop(text, line);
	if (on)
		line_add(text, line);
	return text_write(file, text);
}

/* Never a program that finds the library without the list. */
static int cgroup_switch(struct enable *e)
{
	char text[FILE_MAX + 2 * PATH_MAX], path[CGROUP_MAX], everywhere[PATH_MAX + 32];
	size_t len = strlen(e->cgroup);
	int err;

	while (len > 1 && e->cgroup[len - 1] == '/')
		len--;
	snprintf(path, sizeof(path), "%.*s", (int)len, e->cgroup);
	snprintf(everywhere, sizeof(everywhere), "%.*s" LIBRARY_EVERYWHERE,
		 (int)(strrchr(e->library, '/') + 1 - e->library), e->library);
	snprintf(e->file, sizeof(e->file), CGROUPS);
	*text = '\0';
	err = e->on ? folder_make(ZTCP_ETC) : 0;
	if (!err)
		err = line_switch(e->file, path, e->on, text);
	if (!err && e->on && access(everywhere, F_OK))
		err = -errno;
	if (err || (!e->on && *text))
		return err;
	snprintf(e->file, sizeof(e->file), PRELOAD_FILE);
	return line_switch(e->file, everywhere, e->on, text);
}

/* ---- the command ---- */

static void report(const struct enable *e)
{
	if (e->json) {
		tool_json_open(NULL, '{');
		tool_json_bool("enabled", e->on);
		tool_json_text("file", e->file);
		tool_json_text("library", e->library);
		tool_json_close('}');
		putchar('\n');
		return;
	}
	printf("%s: programs that start %s %s are %s\n", e->file,
	       e->netns ? "by ip netns exec in" : "in", e->netns ? e->netns : e->cgroup,
	       e->on ? "under ztcp" : "not under ztcp");
	if (e->cgroup && unit_of(e->cgroup))
		printf("systemctl daemon-reload; systemctl restart %s\n", unit_of(e->cgroup));
}

static bool options_read(struct enable *e, int argc, char **argv)
{
	static const struct option options[] = { { "netns", required_argument, NULL, 'n' },
						 { "cgroup", required_argument, NULL, 'c' },
						 { "json", no_argument, NULL, 'j' },
						 { NULL, 0, NULL, 0 } };
	int opt;

	optind = 1;
	while ((opt = getopt_long(argc, argv, "+j", options, NULL)) != -1) {
		switch (opt) {
		case 'n': e->netns = optarg; break;
		case 'c': e->cgroup = optarg; break;
		case 'j': e->json = true; break;
		default: return false;
		}
	}
	if (optind < argc || !e->netns == !e->cgroup) {
		tool_say("%s: expected --netns NAME or --cgroup PATH", argv[0]);
		return false;
	}
	return e->netns ? netns_is_right(e) : cgroup_is_right(e);
}

static int run(bool on, int argc, char **argv)
{
	struct enable e = { .on = on };
	int err;

	if (!options_read(&e, argc, argv))
		return TOOL_USAGE;
	/* what has gone can be disabled all the same */
	if (!library_find(&e) || (on && !(e.netns ? netns_is_there(&e) : cgroup_is_there(&e))))
		return TOOL_FAILED;
	err = e.netns             ? netns_switch(&e)
	      : unit_of(e.cgroup) ? service_switch(&e)
				  : cgroup_switch(&e);
	if (err) {
		tool_say("%s: %s", e.file, strerror(-err));
		return TOOL_FAILED;
	}
	report(&e);
	return TOOL_OK;
}

int tool_enable(int argc, char **argv)
{
	return run(true, argc, argv);
}

int tool_disable(int argc, char **argv)
{
	return run(false, argc, argv);
}
