/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does this kernel give rmem what it needs, and may this user have it? Asked
 * with throw-away descriptors; nothing is left. `rmem run` refuses with these
 * texts, `rmem doctor` shows them.
 */
#ifndef RMEM_CLIENT_SUPERVISOR_PROBE_H
#define RMEM_CLIENT_SUPERVISOR_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#define PROBE_KERNEL_FIX \
	"on Debian 12: apt-get install linux-image-6.12-amd64 (bookworm-security), then reboot"

/* "6.1.0-32-amd64" of uname(2). */
const char *probe_release(void);

/* Opens /dev/userfaultfd. 0; -errno with the remedy in err text. */
int probe_device(int *fd) __attribute__((warn_unused_result));

/* All features userfaultfd has here. 0 or -errno. */
int probe_features(int dev_fd, uint64_t *features) __attribute__((warn_unused_result));

/* How pages can leave: by UFFDIO_MOVE (Linux 6.8), or by write protection, where BPF tells
 * pinned pages (*@moves is false then). 0; -errno with the remedy. */
int probe_evict(int dev_fd, bool *moves) __attribute__((warn_unused_result));

/* Said where *@moves is false. */
#define PROBE_NO_MOVE                                                               \
	"userfaultfd can't move pages here (Linux before 6.8): eviction is slower," \
	" and holds the job's threads for a moment each time"

/* Fork events need CAP_SYS_PTRACE. 0; -EPERM with the remedy. */
int probe_fork_event(int dev_fd) __attribute__((warn_unused_result));

/* PAGEMAP_SCAN (Linux 6.7). 0; -ENOTTY: /proc/PID/pagemap is read instead; -errno with
 * err text. */
int probe_pagemap_scan(void) __attribute__((warn_unused_result));

/* Loads the programs that a run loads, and lets them go: some 100 ms. 0; -errno with err text:
 * accessed bits can't be read, or with *@is_fast false no fault can be fast either. */
int probe_bpf(bool *is_fast) __attribute__((warn_unused_result));

/* All that a run can't do without in turn; a descriptor of /dev/userfaultfd on success. */
int probe_open_device(int *fd) __attribute__((warn_unused_result));

#endif
