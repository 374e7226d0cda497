/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a page is known by when it comes back: XXH3 of 64 bits, under a secret that is drawn for
 * each run, so that no server can make up a page which has it. A wrong page passes by
 * chance once in 2^64; each single flipped bit is noticed (unit.test_sum).
 */
#ifndef RMEM_CLIENT_SUM_H
#define RMEM_CLIENT_SUM_H

#include <stdint.h>

#define SUM_SECRET_BYTES 192U /* of XXH3's own size */

struct sum_secret {
	uint8_t bytes[SUM_SECRET_BYTES];
};

/* 0; -EIO with err text when there is no randomness. */
int sum_draw(struct sum_secret *s) __attribute__((warn_unused_result));

/* Of PAGE_BYTES at @page. Any thread. */
uint64_t sum_page(const struct sum_secret *s, const void *page);

#endif
