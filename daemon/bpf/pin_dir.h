/* pin_dir.h - folders of bpffs in which programs, maps and links are pinned
 *
 * What it does: makes or finds such a folder, and does not take one that another user has made: where everybody may
 * write to the bpffs, its owner could rename what is pinned, or lock the folder and never let go. Who calls: selector.c, nic.c. Memory: the
 * caller's. Threads: any.
 */
#ifndef ZTCP_PIN_DIR_H
#define ZTCP_PIN_DIR_H

/**
 * pin_dir_find() - open a folder that is there
 *
 * Return: its descriptor; -EMEDIUMTYPE: not in a bpffs; -EKEYREJECTED: another user's, and not root's; another -errno.
 */
int pin_dir_find(const char *dir);

/**
 * pin_dir_make() - open it, and make it if need be
 *
 * In a bpffs; only in the usual place, which is for nothing else, one is mounted.
 * Return: its descriptor; -EMEDIUMTYPE: not in a bpffs; -EKEYREJECTED: another user's; another -errno.
 */
int pin_dir_make(const char *dir);

/** pin_dir_error() - Return: what an error of these, or of selector_detach(), means, in words. */
const char *pin_dir_error(int err);

#endif
