/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rmemd was asked for on its command line and in its file of settings,
 * checked. One table: a key of the file is an option, and has its setter.
 */
#ifndef RMEMD_OPTIONS_H
#define RMEMD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/conn/tcp.h"

#define OPTIONS_MAX_LISTEN 16

#define OPTIONS_SYSTEM_FILE "/etc/rmem/rmemd.conf"

enum options_next { OPTIONS_RUN, OPTIONS_EXIT };

enum options_id {
	OPTIONS_LISTEN,
	OPTIONS_CAPACITY,
	OPTIONS_NODE,
	OPTIONS_DRAIN_TIMEOUT,
	OPTIONS_METRICS,
	OPTIONS_ONCE,
	OPTIONS_CONFIG,
	OPTIONS_CHECK_CONFIG,
	OPTIONS_NR,
};

struct options {
	char *listen_path[OPTIONS_MAX_LISTEN];
	unsigned int nr_listen;
	struct net_addr tcp[OPTIONS_MAX_LISTEN];
	unsigned int nr_tcp;
	struct net_addr rdma[OPTIONS_MAX_LISTEN];
	unsigned int nr_rdma;
	int client_fd; /* of a private server; -1 */
	uint64_t capacity_bytes;
	bool capacity_is_default;
	bool once;
	int node; /* SLAB_NODE_ANY */
	unsigned int drain_timeout_ms;
	char *metrics;		 /* NULL: not served */
	const char *config_path; /* NULL: the usual one, if it is there */
	bool check_only;
	bool given[OPTIONS_NR]; /* on the command line */
};

struct options_key {
	const char *name;
	bool in_config, repeatable;

	/* 0, or -errno with err text that does not begin with the name. */
	int (*set)(struct options *o, const char *value);
};

extern const struct options_key options_keys[OPTIONS_NR];

/* What the file at @path sets, where the command line does not; all of it is
 * checked. 0; -errno with err text, -ENOENT when there is none. */
int options_load(struct options *o, const char *path) __attribute__((warn_unused_result));

/* 0 with @next; -errno with err text. Returns owned; options_fini() it in any case. */
int options_parse(int argc, char **argv, struct options *out, enum options_next *next)
	__attribute__((warn_unused_result));
void options_fini(struct options *o);

#endif
