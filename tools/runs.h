/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runs of rmem on this machine: every supervisor holds a memfd by the
 * name "rmem-state". Only those are found whose descriptors we may see (our
 * own; as root all).
 */
#ifndef RMEM_TOOLS_RUNS_H
#define RMEM_TOOLS_RUNS_H

#include <stddef.h>
#include <sys/types.h>

#include "client/run.h"

/* Opens the state of @pid; @access is O_RDONLY or O_RDWR. Descriptor; -ESRCH when
 * it is no supervisor; -errno. */
int runs_open(pid_t pid, int access);

/* Maps the header of run @pid for writing; munmap(*out, sizeof(**out)) it. 0, or -errno with
 * err text. */
int runs_map(pid_t pid, struct run_header **out) __attribute__((warn_unused_result));

/* All supervisors. Returns owned array (free()). 0 or -errno. */
int runs_find(pid_t **out, size_t *nr) __attribute__((warn_unused_result));

/* Which supervisor manages @pid already, or is @pid, or its pager? 0: none. */
pid_t runs_managing(pid_t pid);

#endif
