/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers and names in few columns. What a job calls itself is clipped and
 * cleaned here: nothing that a terminal would obey, or that has no width of
 * its own, leaves these functions.
 */
#ifndef RMEM_WATCH_TEXT_H
#define RMEM_WATCH_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_BYTES 16 /* holds any number */

/* "61.2M", "0": at most 6 columns. Powers of 1024. */
const char *text_size(char buf[TEXT_BYTES], double bytes);

/* "12.3k", "0.5", "0": at most 6 columns. Powers of 1000. */
const char *text_count(char buf[TEXT_BYTES], double count);

/* "850ns", "18us", "1.2ms": at most 5 columns. */
const char *text_time(char buf[TEXT_BYTES], uint64_t ns);

/* "0:04:11", "3d 04:11": at most 9 columns. */
const char *text_uptime(char buf[TEXT_BYTES], uint64_t ns);

/*
 * @text cleaned, and clipped to @cols columns (marked by a + when it was cut).
 * With @utf8 the locale must be one of UTF-8. Returns the columns used.
 */
unsigned int text_clip(char *buf, size_t buf_bytes, const char *text, unsigned int cols, bool utf8);

/* Columns of text that was cleaned. */
unsigned int text_columns(const char *text, bool utf8);

/* The bytes of its first @cols columns. */
size_t text_bytes(const char *text, unsigned int cols, bool utf8);

#endif
