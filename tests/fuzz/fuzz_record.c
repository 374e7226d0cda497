/* SPDX-License-Identifier: Apache-2.0 */
/* Recordings of faults: as they are, and with a sum that is right for what follows. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/policy/places.h"
#include "client/record.c" /* for its head */

#define MASK ((1U << 18) - 1) /* of places: an input names at most 65535 keys */

static void load(int fd, const struct head *head, const unsigned char *data, size_t bytes)
{
	char path[32];
	uint64_t *key = NULL;
	struct places p;
	uint32_t nr = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (ftruncate(fd, 0) || (head && pwrite(fd, head, sizeof(*head), 0) < 0) ||
	    pwrite(fd, data, bytes, head ? sizeof(*head) : 0) < 0)
		abort();
	if (record_load(path, &key, &nr))
		return;
	p = (struct places){.index = malloc(nr * sizeof(*p.index) + 1),
			    .table = calloc(MASK + 1, sizeof(*p.table)),
			    .mask = MASK};
	if (!p.index || !p.table || !places_make(&p, key, nr))
		abort();
	for (uint32_t i = 0; i < nr; i++)
		if (places_find(&p, key[i], i) != i)
			abort();
	free(p.table);
	free(p.index);
	free(key);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t bytes)
{
	static int fd = -1;
	struct head head = {.magic = MAGIC};

	if (fd < 0)
		fd = memfd_create("fuzz", 0);
	load(fd, NULL, data, bytes);
	if (bytes < 2)
		return 0;
	head.nr = (uint64_t)data[0] | (uint64_t)data[1] << 8;
	head.bytes = bytes - 2;
	head.sum = XXH3_64bits(data + 2, bytes - 2);
	load(fd, &head, data + 2, bytes - 2);
	return 0;
}
