/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of buffers: the oldest, which is the next to leave, is unmapped and made anew, right
 * after a page of another one came back. Who is being woken for that page is not asleep. */
#include "job.h"

#include <sys/mman.h>

#define BUFFERS 48
#define ROUNDS	1

static struct buffer {
	char *p;
	uint64_t gen;
} ring[BUFFERS];

int main(int argc, char **argv)
{
	size_t nr, room;

	job_init(argc, argv);
	nr = job_bytes / BUFFERS / PG;
	room = 2 * nr * PG; /* others begin within its chunk */
	for (size_t i = 0; i < BUFFERS * (ROUNDS + 1) && !job_failures(); i++) {
		struct buffer *old = &ring[i % BUFFERS],
			      *other = &ring[(i + BUFFERS / 2) % BUFFERS];

		if (other->p)
			pages_check(other->p, 0, nr, other->gen);
		if (old->p)
			CHECK(munmap(old->p, room) == 0);
		*old = (struct buffer){.p = job_map(room), .gen = i + 1};
		pages_write(old->p, 0, nr, old->gen);
	}
	for (size_t i = 0; i < BUFFERS && !job_failures(); i++)
		pages_check(ring[i].p, 0, nr, ring[i].gen);
	return job_done();
}
