/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw userfaultfd for the trap programs: they show what the kernel does to
 * whoever ignores it, so that the reasons behind rmem's rules are tests too.
 * Exit status 0: the kernel behaves as the design says; 1: it does not (and
 * the design may be simplified, or is wrong); 77: this kernel can't tell.
 */
#ifndef RMEM_TESTS_TRAP_H
#define RMEM_TESTS_TRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/compat.h"

#define PG 4096UL
#define EVENTS                                                                            \
	(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | \
	 UFFD_FEATURE_EVENT_UNMAP)

/* Non-blocking userfaultfd with these features; skips the test without. */
int trap_uffd(uint64_t features);
int trap_uffd_flags(int flags, uint64_t features);

char *trap_map(size_t pages); /* private anonymous, no huge pages */
void trap_register(int uffd, void *at, size_t pages);

/* 0 or -errno. */
int trap_copy(int uffd, void *at, unsigned char byte);
int trap_move(int uffd, void *to, void *from, size_t pages, uint64_t mode, int64_t *moved);
void trap_wake(int uffd, void *at);

/* The next message within a second; false when there was none. */
bool trap_read(int uffd, struct uffd_msg *msg);

/* A thread that answers every fault on @uffd (and on children's) with pages
 * full of @byte and reads every event, until the process ends. */
void trap_serve(int uffd, unsigned char byte);
unsigned int trap_served(void);

/* Says what was expected; the test fails unless @holds. */
void trap_expect(bool holds, const char *what);
int trap_done(void);
void trap_skip(const char *why) __attribute__((noreturn));

#endif
