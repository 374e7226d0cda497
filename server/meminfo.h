/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory this machine has. The only reader of /proc/meminfo here. */
#ifndef RMEMD_MEMINFO_H
#define RMEMD_MEMINFO_H

#include <stdint.h>

/* 0 or -errno with err text. */
int meminfo_read(uint64_t *total_bytes, uint64_t *available_bytes)
	__attribute__((warn_unused_result));

#endif
