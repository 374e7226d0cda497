/* SPDX-License-Identifier: Apache-2.0 */
/*
 * userfaultfd calls on a space from outside of it: fill, wake, poison,
 * register, read. Thin: 0 or -errno, nothing decided. Semantics as measured
 * in docs/design.md; partial fills report what was done.
 */
#ifndef RMEM_CAPTURE_UFFD_H
#define RMEM_CAPTURE_UFFD_H

#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stdint.h>

/* A userfaultfd of this process, which tells of writes to what is guarded; or -errno. */
int uffd_open(void);

/* Results as capture_ops.fill. @guard: and guarded from the first moment on. */
int uffd_fill(int fd, uint64_t va, unsigned int nr, const void *src, bool guard,
	      unsigned int *done);
int uffd_wake(int fd, uint64_t va, uint64_t bytes);
int uffd_poison(int fd, uint64_t va);
int uffd_register(int fd, uint64_t start, uint64_t end);
int uffd_unregister(int fd, uint64_t start, uint64_t end);

/* Writes to what is present in the range raise a message from now on, or no
 * longer (and whoever waits goes on). -EAGAIN while an event is unread. */
int uffd_guard(int fd, uint64_t start, uint64_t end);
int uffd_allow(int fd, uint64_t start, uint64_t end);

/* Is the address space behind it still there? */
bool uffd_alive(int fd);

/* Is the page at @va part of an anonymous mapping that is registered? It is asked by a call
 * that is for files in memory only: the kernel looks for events first, then for the
 * registration, then for the kind (mm/userfaultfd.c, mfill_atomic()). Half a microsecond, where
 * a copy that can't succeed costs 3. 1, 0, -EAGAIN: an event is unread, or -errno. */
int uffd_is_registered(int fd, uint64_t va);

/* Is an event on its way or unread? Then nothing can be filled or moved. */
bool uffd_changing(int fd);

/* Does it have unread messages? */
bool uffd_has_messages(int fd);

/* Up to @max messages; how many, 0 when there are none, or -errno. */
int uffd_read(int fd, struct uffd_msg *out, unsigned int max);

#endif
