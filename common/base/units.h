/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes as people write them. K M G T (or KiB MiB ...) are powers of 1024,
 * KB MB GB TB powers of 1000; a plain number is bytes; fractions are allowed
 * with a unit (1.5G). No sign, no exponent, no overflow.
 */
#ifndef RMEM_BASE_UNITS_H
#define RMEM_BASE_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

/* 0; -EINVAL not a size; -ERANGE zero or too large. Sets err text. */
int units_parse_size(const char *text, uint64_t *bytes) __attribute__((warn_unused_result));

/* "50%" of @whole, or a size. Errors as above; a percentage is 1..100. */
int units_parse_share(const char *text, uint64_t whole, uint64_t *bytes)
	__attribute__((warn_unused_result));

/* "10us", "5ms", "2s", "100ns" into nanoseconds; at most an hour. Errors as above, but zero
 * is one. */
int units_parse_duration(const char *text, uint64_t *ns) __attribute__((warn_unused_result));

/* "0.001" or "0.1%" into parts of 2^32. -EINVAL with err text, also above 1. */
int units_parse_chance(const char *text, uint64_t *of_2_32) __attribute__((warn_unused_result));

/* "1.5 GiB" into @buf; returns @buf. */
const char *units_format_size(char *buf, size_t buf_bytes, uint64_t bytes);

#endif
