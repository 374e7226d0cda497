/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --record FILE and --replay FILE: the faults of a run, in order. The file is for this
 * machine and this version: a header, then the differences between one fault and the
 * next, 7 bits a byte, and a sum over them. It holds addresses and no byte of memory.
 *
 * While it is recorded it is kept in memory, some 3 bytes a fault, and written when the
 * job has ended: whoever waits for a page never waits for a disk.
 */
#ifndef RMEM_CLIENT_RECORD_H
#define RMEM_CLIENT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_MAX_BYTES  (256UL << 20) /* then it ends, and the job goes on */
#define RECORD_MAX_FAULTS (64UL << 20)

struct record;

/* Nothing is written yet, but it is known that it can be. 0 and returns owned; -errno
 * with err text that names the file. */
int record_create(const char *path, struct record **out) __attribute__((warn_unused_result));

/* One more fault; a replay_key() or any other number. Never blocks. */
void record_add(struct record *r, uint64_t key);

/* Not all of them are there. */
bool record_is_cut(const struct record *r);

/* To a file beside it, which takes the place of what was there. 0; -errno with err text. */
int record_write(struct record *r) __attribute__((warn_unused_result));

/* Accepts NULL. Without record_write() nothing is left. */
void record_close(struct record *r);

/* The faults in @path, owned (free()). 0; -errno with err text that names the file and
 * says what is wrong with it. */
int record_load(const char *path, uint64_t **key, uint32_t *nr) __attribute__((warn_unused_result));

#endif
