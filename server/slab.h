/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slab: contiguous memory that can be handed to one client. A sealed memfd,
 * a new one each time: zeroed by the kernel, never given to two, and neither
 * side can change its size under the other. Knows no client.
 */
#ifndef RMEMD_SLAB_H
#define RMEMD_SLAB_H

#include <stdbool.h>
#include <stdint.h>

#define SLAB_BYTES (64ULL << 20) /* the last one of a lease may be smaller */

#define SLAB_NODE_ANY -1

struct slab {
	int fd;
	bool huge;
	uint64_t bytes;
	uint64_t id; /* never the same twice in a server's life */
	char *map;   /* NULL: not mapped here */
};

/*
 * @bytes are a multiple of the page size. From huge pages where some are
 * free; on NUMA node @node, or the one with most free memory where there are
 * several. 0 or -errno with err text.
 */
int slab_open(uint64_t bytes, int node, struct slab *out) __attribute__((warn_unused_result));

/* For clients that reach it by messages. 0 or -errno with err text. */
int slab_map(struct slab *s) __attribute__((warn_unused_result));

/* The memory is free again, also where somebody still maps it. */
void slab_close(struct slab *s);

/* Is @node one of this machine's? */
bool slab_has_node(int node);

#endif
