/* dev_link.h - a kernel interface, and the maps of the selector that is on it
 *
 * What it does: asks the kernel what an interface is, and opens and writes maps by bare system calls, so
 * that libztcp_stack.so needs no library for it. Called by devices when they open, and by dev_steer(); any thread.
 * Memory: the caller's; descriptors are close-on-exec and the caller's.
 */
#ifndef ZTCP_DEV_LINK_H
#define ZTCP_DEV_LINK_H

#include "stack/dev/dev_open.h"

/** struct dev_link - what the kernel says of an interface */
struct dev_link {
	char name[DEV_NAME_MAX];
	char driver[32]; /* "" where it has none */
	uint64_t netns;  /* cookie of its namespace, which is the caller's */
	uint32_t ifindex;
	uint32_t mtu;
	struct wire_mac mac;
	bool up;
};

/** dev_link_get() - ask for @name, an Ethernet. Return: 0, or -errno and @err. */
int dev_link_get(const char *name, struct dev_link *link, struct dev_error *err);

/** dev_link_virtual() - Return: true when senders may leave checksums unfilled on it (dev_xdp.h). */
bool dev_link_virtual(const struct dev_link *link);

/** dev_link_map() - open map @map of the selector on @link. Return: descriptor, -ENOENT, -errno. */
int dev_link_map(const struct dev_link *link, const char *map);

/** dev_map_set() - write one element. Return: 0 or -errno. */
int dev_map_set(int map, const void *key, const void *value);

/** dev_map_get() - read one. Return: 0, -ENOENT, -errno. */
int dev_map_get(int map, const void *key, void *value);

/** dev_map_drop() - remove one. Return: 0, -ENOENT, -errno. */
int dev_map_drop(int map, const void *key);

/** dev_map_next() - Return: 0 and @next, the key after @key (NULL: the first); -ENOENT at the end. */
int dev_map_next(int map, const void *key, void *next);

#endif
