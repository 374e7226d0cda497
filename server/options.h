/* SPDX-License-Identifier: Apache-2.0 */
/* What rmemd was asked for on its command line, checked. */
#ifndef RMEMD_OPTIONS_H
#define RMEMD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/conn/tcp.h"

#define OPTIONS_MAX_LISTEN 16

enum options_next { OPTIONS_RUN, OPTIONS_EXIT };

struct options {
	char *listen_path[OPTIONS_MAX_LISTEN];
	unsigned int nr_listen;
	struct tcp_addr tcp[OPTIONS_MAX_LISTEN];
	unsigned int nr_tcp;
	int client_fd; /* of a private server; -1 */
	uint64_t capacity_bytes;
	bool capacity_is_default;
	bool once;
	int node; /* SLAB_NODE_ANY */
	unsigned int drain_timeout_ms;
	const char *metrics; /* borrowed from argv; NULL: not served */
};

/* 0 with @next; -errno with err text. Returns owned; options_fini() it in any case. */
int options_parse(int argc, char **argv, struct options *out, enum options_next *next)
	__attribute__((warn_unused_result));
void options_fini(struct options *o);

#endif
