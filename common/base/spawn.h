/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that shares this one's descriptors, and nothing else: its memory is a copy, as
 * after fork(), but none of fork()'s handlers run. So it is for processes without threads:
 * a lock that another thread holds would stay held in the copy.
 */
#ifndef RMEM_BASE_SPAWN_H
#define RMEM_BASE_SPAWN_H

#include <sys/types.h>

/* Its status is what @entry returns. @flags: of clone(2), CLONE_PARENT or 0. Its pid, or
 * -errno. */
pid_t spawn_beside(int (*entry)(void *), void *arg, int flags);

#endif
