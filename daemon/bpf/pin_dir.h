/* pin_dir.h - folders of bpffs in which programs, maps and links are pinned
 *
 * What it does: makes or finds such a folder, and does not take one that another user has made: where everybody may
 * write to the bpffs, its owner could rename what is pinned, or lock the folder and never let go. Who calls: selector.c, nic.c. Memory: the
 * caller's. Threads: any.
 */
#ifndef ZTCP_PIN_DIR_H
#define ZTCP_PIN_DIR_H

#include <stdbool.h>
#include <stddef.h>

/**
 * pin_dir_find() - open a folder that is there
 *
 * Return: its descriptor; -EMEDIUMTYPE: not in a bpffs; -EKEYREJECTED: another user's, and not root's; another -errno.
 */
int pin_dir_find(const char *dir);

/** PIN_DIR_LOCK - the file that ztcpd locks while it runs; its process id stands in it */
#define PIN_DIR_LOCK "/run/ztcp/ztcpd.lock"

/**
 * pin_dir_seek() - open a folder that is there, here or where ztcpd or the first process sees it
 * @dir:  its name; becomes the name by which it was found, under /proc/PID/root
 * @size: room at @dir
 *
 * For root inside of `ip netns exec`, which puts an empty /sys over the one with the bpffs.
 * Return: as pin_dir_find().
 */
int pin_dir_seek(char *dir, size_t size);

/**
 * pin_dir_make() - open it, and make it if need be
 *
 * In a bpffs; only in the usual place, which is for nothing else, one is mounted.
 * Return: its descriptor; -EMEDIUMTYPE: not in a bpffs; -EKEYREJECTED: another user's; another -errno.
 */
int pin_dir_make(const char *dir);

enum { PIN_DIR_AT = 32 };

/**
 * pin_dir_usual() - where the bpffs is that is usual, as seen from here
 * @at: what to put before "/sys/fs/bpf": "", or "/proc/PID/root" of the first process, of ztcpd or of the caller's parent, as inside of
 *      `ip netns exec`
 *
 * Return: false: nobody has one, and one that were mounted here would go with this mount namespace, which is the caller's alone.
 */
bool pin_dir_usual(char at[PIN_DIR_AT]);

/** pin_dir_error() - Return: what an error of these, or of selector_detach(), means, in words. */
const char *pin_dir_error(int err);

#endif
