/* SPDX-License-Identifier: Apache-2.0 */
/* An ordinary C program, linked statically: a hash table with chains over MIB
 * megabytes of small allocations; inserts, looks up, deletes, prints a sum. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	struct entry *next;
	uint64_t key;
	char text[];
};

static struct entry **buckets;
static size_t nr_buckets;
static uint64_t state = 88172645463325252ULL;

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static struct entry **find(uint64_t key)
{
	struct entry **e = &buckets[key * 0x9e3779b97f4a7c15ULL % nr_buckets];

	while (*e && (*e)->key != key)
		e = &(*e)->next;
	return e;
}

static size_t insert(uint64_t key)
{
	size_t len = 40 + key % 400;
	struct entry **at = find(key);

	if (*at)
		return 0;
	*at = malloc(sizeof(**at) + len + 1);
	if (!*at)
		abort();
	(*at)->next = NULL;
	(*at)->key = key;
	memset((*at)->text, 'a' + (int)(key % 26), len);
	(*at)->text[len] = '\0';
	return len + 32;
}

int main(int argc, char **argv)
{
	size_t budget = (argc > 1 ? strtoul(argv[1], NULL, 10) : 64) << 20, used = 0, nr = 0;
	uint64_t sum = 0;

	nr_buckets = budget / 256;
	buckets = calloc(nr_buckets, sizeof(*buckets));
	if (!buckets)
		return 1;
	while (used + nr_buckets * sizeof(*buckets) < budget) {
		used += insert(next() % (budget / 100));
		nr++;
	}
	state = 1;
	for (size_t i = 0; i < nr; i++) {
		struct entry **e = find(next() % (budget / 100)), *gone = *e;

		if (!gone)
			continue;
		sum = sum * 31 + strlen(gone->text) + (uint64_t)gone->text[3];
		if (i % 4 == 0) {
			*e = gone->next;
			free(gone);
		}
	}
	printf("%zu inserts, sum %016llx\n", nr, (unsigned long long)sum);
	return 0;
}
