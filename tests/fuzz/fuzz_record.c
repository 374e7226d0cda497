/* SPDX-License-Identifier: Apache-2.0 */
/* Recordings of faults: as they are, and with a sum that is right for what follows. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/record.c" /* for its head */

static void load(int fd, const struct head *head, const unsigned char *data, size_t bytes)
{
	char path[32];
	uint64_t *key = NULL;
	uint32_t nr = 0, *order;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (ftruncate(fd, 0) || (head && pwrite(fd, head, sizeof(*head), 0) < 0) ||
	    pwrite(fd, data, bytes, head ? sizeof(*head) : 0) < 0)
		abort();
	if (record_load(path, &key, &nr))
		return;
	order = record_sort(key, nr);
	for (uint32_t i = 1; order && i < nr; i++)
		if (key[order[i]] < key[order[i - 1]] || order[i] >= nr)
			abort();
	free(order);
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
