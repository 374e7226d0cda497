/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a server in a network may be silent: after the time-out of its SPEC it is given
 * up, or, where the job is to wait (--on-loss wait), said to be waited for, once, and
 * given up when what it was asked for in HELLO is over: its lease has ended then.
 */
#ifndef RMEM_STORE_PATIENCE_H
#define RMEM_STORE_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

struct patience {
	const char *server; /* borrowed: "server tcp:host:7770" */
	unsigned int timeout_s;
	unsigned int wait_s; /* 0: it is given up after the time-out */
	bool waits;
};

/* It has been silent for @silent_ns while something was asked of it; 0: it has answered, or
 * nothing is. 0, or -EPIPE with err text: it is given up. */
int patience_look(struct patience *p, uint64_t silent_ns) __attribute__((warn_unused_result));

/* When to look again. */
uint64_t patience_left_ns(const struct patience *p, uint64_t silent_ns);

/* From the first failure until it is given up. */
uint64_t patience_limit_ns(const struct patience *p);

/* The timeout= of a SPEC. 0, or -EINVAL with err text that names the store @scheme. */
int patience_parse(const char *scheme, const char *text, unsigned int *out_s)
	__attribute__((warn_unused_result));

#endif
