/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of store file: what file.c opens and file_io.c works with.
 *
 *	requests --sorted by slot--> runs --one SQE each--> ring --> disk
 *	completions <--one a page-- ended run <--CQE, eventfd--+
 */
#ifndef RMEM_STORE_FILE_IO_H
#define RMEM_STORE_FILE_IO_H

#include <liburing.h>

#include "client/core/store.h"
#include "client/store/file_disk.h"

#define FILE_RUN_PAGES	 64U  /* of one run */
#define FILE_BULK_PAGES	 128U /* in flight, reads and writes each */
#define FILE_URGENT_RUNS 64U
#define FILE_NR_RUNS	 (2 * FILE_BULK_PAGES + FILE_URGENT_RUNS)

/* Requests of one kind for neighbouring slots: one readv or writev. */
struct file_run {
	struct file_run *next_free;
	uint64_t slot; /* of its first page */
	unsigned int nr, nr_iov;
	enum store_op op;
	bool urgent, is_beyond; /* beyond the last slot: refused */
	struct iovec iov[FILE_RUN_PAGES];
	uint32_t tag[FILE_RUN_PAGES];
};

struct file_store {
	struct store store;
	struct file_disk disk;
	struct io_uring ring;
	bool has_ring;
	bool has_said;			   /* a failure was reported */
	int event_fd;			   /* signalled by the ring */
	int err;			   /* lost for good */
	unsigned int alone;		   /* so many requests more are not merged */
	unsigned int in_bulk[2];	   /* pages in flight, by enum store_op */
	unsigned int nr_urgent, nr_flying; /* runs */
	struct file_run *free;
	unsigned int nr_free;
	struct file_run *ended; /* not all of its completions are told yet */
	int ended_res;
	unsigned int ended_at;
	struct file_run run[FILE_NR_RUNS];
	char path[]; /* for texts */
};

/* As store_ops has them. */
int file_submit(struct store *s, const struct store_req *req, unsigned int nr);
int file_reap(struct store *s, struct store_done *out, unsigned int max);

#endif
