/* shm_sys.h - system calls that never pass through libc, for shm and preload: see stack/base/base_sys.h */
#ifndef SHM_SYS_H
#define SHM_SYS_H

#include "stack/base/base_sys.h"

#endif
