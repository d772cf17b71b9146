/* dev_link.c - a kernel interface, and the maps of the selector that is on it */
#include "stack/dev/dev_link.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "stack/base/base_nic.h"
#include "stack/base/base_sys.h"

static int ask(int s, unsigned long what, const char *name, struct ifreq *req)
{
	memcpy(req->ifr_name, name, DEV_NAME_MAX);
	return (int)sys(SYS_ioctl, s, what, req);
}

/* An interface without a driver that answers is none of those that dev_link_virtual() knows. */
static void driver_get(int s, struct dev_link *link)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq req = { .ifr_data = (char *)&info };

	if (!ask(s, SIOCETHTOOL, link->name, &req))
		snprintf(link->driver, sizeof(link->driver), "%.31s", info.driver);
}

static int link_fill(int s, struct dev_link *link)
{
	struct ifreq req = { 0 };
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);
	int rc;

	rc = ask(s, SIOCGIFINDEX, link->name, &req);
	link->ifindex = (uint32_t)req.ifr_ifindex;
	if (!rc)
		rc = ask(s, SIOCGIFMTU, link->name, &req);
	link->mtu = (uint32_t)req.ifr_mtu;
	if (!rc)
		rc = ask(s, SIOCGIFHWADDR, link->name, &req);
	if (!rc && req.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return -EPROTOTYPE;
	memcpy(link->mac.b, req.ifr_hwaddr.sa_data, WIRE_MAC_LEN);
	if (!rc)
		rc = ask(s, SIOCGIFFLAGS, link->name, &req);
	link->up = req.ifr_flags & IFF_UP;
	driver_get(s, link);
	if (!rc)
		rc = (int)sys(SYS_getsockopt, s, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len);
	link->netns = cookie;
	return rc;
}

int dev_link_get(const char *name, struct dev_link *link, struct dev_error *err)
{
	int s = (int)sys(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = s;

	memset(link, 0, sizeof(*link));
	snprintf(link->name, sizeof(link->name), "%s", name);
	if (s >= 0) {
		rc = link_fill(s, link);
		sys(SYS_close, s);
	}
	if (rc == -ENODEV)
		return dev_fail(err, rc, "%s: no such interface in this network namespace", name);
	if (rc == -EPROTOTYPE)
		return dev_fail(err, rc, "%s: not an Ethernet", name);
	return rc < 0 ? dev_fail(err, rc, "%s: %s", name, strerror(-rc)) : 0;
}

bool dev_link_virtual(const struct dev_link *link)
{
	static const char *const drivers[] = { "veth", "virtio_net", "tun" };

	for (unsigned int i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		if (!strcmp(link->driver, drivers[i]))
			return true;
	return false;
}

static int map_open(const struct dev_link *link, const char *dir, const char *map)
{
	char path[128];
	union bpf_attr attr = { .pathname = (uint64_t)(uintptr_t)path };

	snprintf(path, sizeof(path), NIC_PIN_NAME "/%s", dir, (unsigned long long)link->netns,
		 link->ifindex, map);
	return (int)sys(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr));
}

int dev_link_map(const struct dev_link *link, const char *map)
{
	int fd = map_open(link, NIC_PIN_DIR, map), there;

	if (fd != -ENOENT)
		return fd;
	there = map_open(link, NIC_PIN_AT NIC_PIN_DIR, map);
	return there < 0 ? fd : there;
}

static int element(int cmd, int map, const void *key, const void *value)
{
	union bpf_attr attr = {
		.map_fd = (uint32_t)map,
		.key = (uint64_t)(uintptr_t)key,
		.value = (uint64_t)(uintptr_t)value,
	};

	return (int)sys(SYS_bpf, cmd, &attr, sizeof(attr));
}

int dev_map_set(int map, const void *key, const void *value)
{
	return element(BPF_MAP_UPDATE_ELEM, map, key, value);
}

int dev_map_get(int map, const void *key, void *value)
{
	return element(BPF_MAP_LOOKUP_ELEM, map, key, value);
}

int dev_map_drop(int map, const void *key)
{
	return element(BPF_MAP_DELETE_ELEM, map, key, NULL);
}

int dev_map_next(int map, const void *key, void *next)
{
	return element(BPF_MAP_GET_NEXT_KEY, map, key, next);
}
