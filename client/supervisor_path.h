/* SPDX-License-Identifier: Apache-2.0 */
/* Finding programs before anything is started. */
#ifndef RMEM_CLIENT_SUPERVISOR_PATH_H
#define RMEM_CLIENT_SUPERVISOR_PATH_H

#include <stddef.h>

/* Would execvp(@name) find something it can execute? 0; -ENOENT; -EACCES
 * found but not executable. Sets err text with the remedy. */
int path_lookup(const char *name) __attribute__((warn_unused_result));

/* rmemd beside rmem itself, else in PATH. 0; -ENOENT with err text. */
int path_of_rmemd(char *buf, size_t buf_bytes) __attribute__((warn_unused_result));

#endif
