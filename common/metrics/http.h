/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /metrics over HTTP, from a process of its own: what parses the words of
 * strangers holds no descriptor of the job's or of a client's, no right of
 * root's, and dies alone. It ends with its parent.
 */
#ifndef RMEM_METRICS_HTTP_H
#define RMEM_METRICS_HTTP_H

#include <stdint.h>
#include <sys/types.h>

#include "common/metrics/text.h"

/* "9464", "127.0.0.1:9464", "[::1]:9464", "host:9464"; without a host only
 * this machine may ask; port 0: any that is free. 0 or -EINVAL with err text. */
int metrics_check_address(const char *text) __attribute__((warn_unused_result));

/* A socket that listens there, and its address for people ("127.0.0.1:9464").
 * -errno with err text. */
int metrics_listen(const char *text, char *shown, size_t shown_bytes)
	__attribute__((warn_unused_result));

struct metrics_server {
	int listen_fd; /* borrowed */
	int fd;	       /* stays open in the new process as well; borrowed; -1: none */
	/* In the new process, before it serves: let go of what it must not have. */
	void (*detach)(void *ctx);
	/* A whole answer. @fd is what the fd above is called there. 0 or -errno. */
	int (*write)(void *ctx, int fd, struct metrics_text *out);
	void *ctx;
};

/* Its pid, or -errno with err text. */
pid_t metrics_start(const struct metrics_server *server) __attribute__((warn_unused_result));

#endif
