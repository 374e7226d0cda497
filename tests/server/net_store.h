/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of all stores in a network do with them. */
#ifndef RMEM_TESTS_SERVER_NET_STORE_H
#define RMEM_TESTS_SERVER_NET_STORE_H

#include "tests/server/harness.h"

#define NET_BUFS 1024U

/* Page @i of NET_BUFS. */
char *net_buf(uint32_t i);

/* For cmocka: a server's folder, to start it in, and the buffers. */
extern struct rmemd r;
int net_prepare(void **state);
int net_cleanup(void **state);

/* Opens @type at @rest, with timeout=@timeout unless NULL, within @ms. As its open(). */
int net_open(const struct store_type *type, const char *rest, const char *timeout, uint64_t bytes,
	     unsigned int ms, struct store **out);

/* Fails the test unless that fails with @code and a text that has @says in it. */
void net_expect_no(const struct store_type *type, const char *rest, uint64_t bytes, int code,
		   const char *says);

/* Waits as the pager does. */
int net_reap(struct store *s, struct store_done *out, unsigned int max);

/* @rounds of random reads and writes of random slots, all checked. */
void net_load(struct store *s, unsigned int rounds);

/* Writes of every other slot, as many as it takes of @nr: returned. */
unsigned int net_submit_writes(struct store *s, unsigned int nr);

/* Waits for its loss, which is told with @says, and closes it. */
void net_expect_lost(struct store *s, const char *says);

#endif
