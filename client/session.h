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

/* The store type of that name, or NULL. */
const struct store_type *session_store(const char *scheme);

/* Whatever its kind: for those that stand before others. */
store_open_fn session_open_any;
store_probe_fn session_probe_any;

/* Opens one store by its SPEC, with those that it stands before. 0 and returns owned; -errno
 * with err text. */
int session_open_spec(const char *text, uint64_t bytes, unsigned int timeout_ms, struct store **out)
	__attribute__((warn_unused_result));

/* Asks the server of a SPEC, or all that stand behind it, what there is: the least of them.
 * 0; -ENOTSUP where there is nobody to ask; -errno with err text. */
int session_probe(const char *text, unsigned int timeout_ms, uint64_t *free_bytes,
		  uint64_t *capacity_bytes) __attribute__((warn_unused_result));

/* What decides, as the configuration says: a policy by its name, and above it recording, or
 * going by a recording. Once. 0; -errno with err text. */
int session_open_policy(const struct run_config *cfg, const struct policy_ops **ops, void **ctx)
	__attribute__((warn_unused_result));

/* The job has ended: what was recorded is written. 0; -errno with err text. */
int session_close_policy(void) __attribute__((warn_unused_result));

#endif
