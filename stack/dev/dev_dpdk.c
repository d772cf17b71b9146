/* dev_dpdk.c - open the plug-in that makes a port of DPDK a device */
#include "stack/dev/dev_dpdk.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct dev_dpdk_host host = { zbuf_region_add, zbuf_region_remove, zbuf_of, zbuf_ref };
static const struct dev_dpdk_plug *plug; /* never closed: EAL cannot be started twice */

/* Beside whatever this code is in; where that is a program in another folder, where libraries are. */
static void *plug_open(void)
{
	char path[PATH_MAX];
	const char *slash = NULL;
	Dl_info me;
	void *so = NULL;

	if (dladdr((void *)(uintptr_t)dev_dpdk_open, &me) && (slash = strrchr(me.dli_fname, '/'))) {
		snprintf(path, sizeof(path), "%.*s" ZTCP_DPDK_LIBRARY,
			 (int)(slash + 1 - me.dli_fname), me.dli_fname);
		so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	}
	/* What is there and lacks a library of DPDK says so in dlerror(). */
	if (!so && (!slash || access(path, F_OK)))
		so = dlopen(ZTCP_DPDK_LIBRARY, RTLD_NOW | RTLD_LOCAL);
	return so;
}

static int plug_get(struct dev_error *err)
{
	const struct dev_dpdk_plug *p;
	void *so = plug_open();

	if (!so)
		return dev_fail(err, -ENOENT, "dpdk: %s (is DPDK installed?)", dlerror());
	p = dlsym(so, ZTCP_DPDK_SYMBOL);
	if (!p || p->bytes != sizeof(*p)) {
		dlclose(so);
		return dev_fail(err, -EPROTO, "dpdk: " ZTCP_DPDK_LIBRARY " is of another build");
	}
	plug = p;
	return 0;
}

int dev_dpdk_open(const char *rest, const struct dev_conf *conf, struct dev **out,
		  struct dev_error *err)
{
	int rc;

	pthread_mutex_lock(&lock);
	rc = plug ? 0 : plug_get(err);
	if (!rc)
		rc = plug->open(rest, conf, &host, out, err);
	pthread_mutex_unlock(&lock);
	return rc;
}
