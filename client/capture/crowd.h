/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does more want a processor than there are? Then nobody should wait for a page by burning
 * one, nor look for the next fault. Threads of the job that wait for pages, as many as there
 * are processors, may want one beside the pager: while one waits, nobody else would get on.
 */
#ifndef RMEM_CAPTURE_CROWD_H
#define RMEM_CAPTURE_CROWD_H

#include <stdbool.h>
#include <stdint.h>

#define CROWD_LOOKS  4U
#define CROWD_FAULTS 16U

struct crowd {
	unsigned int cpus;
	unsigned int running[CROWD_LOOKS], nr_looks; /* on the whole machine, at the last looks */
	uint32_t tid[2][CROWD_FAULTS], nr_faults[2]; /* whose, of the last messages and posts */
	bool crowded;
};

void crowd_begin(struct crowd *c);

/* @tid has faulted. A post of the fast path may name it by another number than a message
 * does, where there are namespaces. */
void crowd_faulted(struct crowd *c, uint32_t tid, bool posted);

/* So many threads run or want to; decides anew. */
void crowd_look(struct crowd *c, unsigned int running);

#endif
