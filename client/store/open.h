/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a store implementation presents itself to client/session.c, the one
 * place that lists them.
 */
#ifndef RMEM_STORE_OPEN_H
#define RMEM_STORE_OPEN_H

#include "client/core/store.h"
#include "client/store/handover.h"
#include "common/spec.h"

struct store_open_args;

/* Opens a store by its spec, whatever its kind: for those that stand before others. */
typedef int store_open_fn(const struct spec *spec, const struct store_open_args *args,
			  struct store **out);

/* Does its server answer, within @timeout_ms? 0 also for those that have none. Any thread. */
typedef int store_probe_fn(const struct spec *spec, unsigned int timeout_ms);

struct store_open_args {
	uint64_t bytes;		 /* wanted, a multiple of PAGE_BYTES */
	int sock_fd;		 /* shm: an already connected socket (taken, also on error), or -1;
				  * the spec is then "shm", or NULL */
	unsigned int timeout_ms; /* for connecting and leasing */
	unsigned int wait_s;	 /* for a server that is silent: patience.h */
	struct handover
		*handover; /* NULL: nobody goes on with it. If handover_get() finds something
				  * there, go on with that */
	store_open_fn *open_kid;
	store_probe_fn *probe_kid;
};

struct store_type {
	const char *scheme;
	const char *usage; /* one line for help */

	bool survives; /* open() keeps what the next process needs, and goes on with it */

	/* Opens and leases @args->bytes, all or nothing. 0 and returns owned;
	 * -errno with err text that names the server and the remedy. */
	store_open_fn *open;

	/* Asks without leasing how much there is; errors as open. NULL where
	 * there is nobody to ask. */
	int (*probe)(const struct spec *spec, unsigned int timeout_ms, uint64_t *free_bytes,
		     uint64_t *capacity_bytes);
};

extern const struct store_type store_ram_type;
extern const struct store_type store_shm_type;
extern const struct store_type store_tcp_type;
extern const struct store_type store_rdma_type;
extern const struct store_type store_file_type;
extern const struct store_type store_fault_type;
extern const struct store_type store_mirror_type;

#endif
