/* SPDX-License-Identifier: Apache-2.0 */
/* The host's memory, as /proc/meminfo tells it. */
#ifndef RMEM_CLIENT_MEMINFO_H
#define RMEM_CLIENT_MEMINFO_H

#include <stdint.h>

struct meminfo {
	uint64_t total_bytes, available_bytes, swap_bytes;
};

/* 0 or -errno with err text. */
int meminfo_read(struct meminfo *out) __attribute__((warn_unused_result));

#endif
