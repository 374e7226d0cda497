/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds every thread of some processes that could change what is mapped: those that
 * run or fault are stopped by ptrace. One that sleeps inside a call is left alone,
 * since a stop would cut its call short and begin its time-out anew; one that sleeps
 * inside a call that changes mappings is waited for by trying again later.
 */
#ifndef RMEM_CAPTURE_HOLD_H
#define RMEM_CAPTURE_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "client/capture/ptrace.h"

struct hold {
	struct tracee *t;
	size_t nr, max;
	unsigned int tasks; /* threads that there are, held or not */
	bool alone;	    /* one thread lives there: it is not held */
	bool stuck;	    /* one may stop later: the calling thread has to end */
};

/* 0; -EAGAIN: not now. hold_release() in either case, on the same thread. */
int hold_threads(struct hold *h, const pid_t *pid, size_t nr) __attribute__((warn_unused_result));
void hold_release(struct hold *h);

#endif
