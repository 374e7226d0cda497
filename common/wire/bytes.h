/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Little-endian bytes in and out of a bounded buffer. A reader that ran out
 * stays "bad" and gives zeros, so that a decoder checks once, at its end.
 */
#ifndef RMEM_WIRE_BYTES_H
#define RMEM_WIRE_BYTES_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct reader {
	const uint8_t *at;
	size_t left;
	bool bad;
};

struct writer {
	uint8_t *at;
	size_t left;
};

static inline bool reader_done(const struct reader *r)
{
	return !r->bad && r->left == 0;
}

static inline const uint8_t *read_bytes(struct reader *r, size_t bytes)
{
	const uint8_t *from = r->at;

	if (r->bad || bytes > r->left) {
		r->bad = true;
		return NULL;
	}
	r->at += bytes;
	r->left -= bytes;
	return from;
}

static inline uint64_t read_le(struct reader *r, size_t bytes)
{
	const uint8_t *from = read_bytes(r, bytes);
	uint64_t value = 0;

	for (size_t i = 0; from && i < bytes; i++)
		value |= (uint64_t)from[i] << (8 * i);
	return value;
}

static inline uint16_t read_u16(struct reader *r)
{
	return (uint16_t)read_le(r, 2);
}

static inline uint32_t read_u32(struct reader *r)
{
	return (uint32_t)read_le(r, 4);
}

static inline uint64_t read_u64(struct reader *r)
{
	return read_le(r, 8);
}

/* Bytes that must be zero until a later version gives them a meaning. */
static inline void read_reserved(struct reader *r, size_t bytes)
{
	if (read_le(r, bytes) != 0)
		r->bad = true;
}

static inline void write_bytes(struct writer *w, const void *from, size_t bytes)
{
	assert(bytes <= w->left);
	if (bytes)
		memcpy(w->at, from, bytes);
	w->at += bytes;
	w->left -= bytes;
}

static inline void write_le(struct writer *w, uint64_t value, size_t bytes)
{
	uint8_t le[8];

	for (size_t i = 0; i < bytes; i++)
		le[i] = (uint8_t)(value >> (8 * i));
	write_bytes(w, le, bytes);
}

#endif
