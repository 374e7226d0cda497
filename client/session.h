/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place that names implementations and plugs them together: stores
 * by their scheme, the default policy, the real capture.
 */
#ifndef RMEM_CLIENT_SESSION_H
#define RMEM_CLIENT_SESSION_H

#include "client/core/policy.h"
#include "client/core/store.h"
#include "client/run.h"
#include "client/store/open.h"

/* All store types, NULL at the end. */
const struct store_type *const *session_stores(void);

/* All policies that can be asked for by name, NULL at the end; the first is the default. */
const struct policy_ops *const *session_policies(void);

/* What the servers named can hold together; UINT64_MAX unless each has a size=. */
uint64_t session_capacity(const struct run_config *cfg);

/* Opens one store by its SPEC, with those that it stands before. As session_open_store(). */
int session_open_spec(const char *text, uint64_t bytes, unsigned int timeout_ms, struct store **out)
	__attribute__((warn_unused_result));

/* Asks the server of a SPEC, or all that stand behind it, what there is: the least of them.
 * 0; -ENOTSUP where there is nobody to ask; -errno with err text. */
int session_probe(const char *text, unsigned int timeout_ms, uint64_t *free_bytes,
		  uint64_t *capacity_bytes) __attribute__((warn_unused_result));

/* Opens what the configuration names, or the private server behind @sock_fd
 * (taken). @handover: HANDOVER_NODES of them, what stores leave to the next process, or have
 * left. 0 and returns owned; -errno with err text. */
int session_open_store(const struct run_config *cfg, int sock_fd, struct handover *handover,
		       struct store **out) __attribute__((warn_unused_result));

/* Why another process can't go on with what the configuration names; "": it can. */
const char *session_no_takeover(const struct run_config *cfg);

/* What decides, as the configuration says: a policy by its name, and above it recording, or
 * going by a recording. Once. 0; -errno with err text. */
int session_open_policy(const struct run_config *cfg, const struct policy_ops **ops, void **ctx)
	__attribute__((warn_unused_result));

/* The job has ended: what was recorded is written. 0; -errno with err text. */
int session_close_policy(void) __attribute__((warn_unused_result));

#endif
