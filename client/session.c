/* SPDX-License-Identifier: Apache-2.0 */
#include "client/session.h"

#include <errno.h>
#include <string.h>

#include "client/policy/streams.h"
#include "client/store/pool.h"
#include "common/base/err.h"
#include "common/spec.h"

#define OPEN_TIMEOUT_MS 5000

const struct store_type *const *session_stores(void)
{
	static const struct store_type *const types[] = {&store_ram_type, &store_shm_type,
							 &store_tcp_type, &store_file_type, NULL};

	return types;
}

static const struct store_type *type_of(const char *scheme)
{
	for (const struct store_type *const *t = session_stores(); *t; t++)
		if (!strcmp((*t)->scheme, scheme))
			return *t;
	return NULL;
}

static int open_spec(const char *text, uint64_t bytes, struct store **out)
{
	struct store_open_args args = {
		.bytes = bytes, .sock_fd = -1, .timeout_ms = OPEN_TIMEOUT_MS};
	const struct store_type *type;
	struct spec *spec = NULL;
	int err = spec_parse(text, &spec);

	if (err)
		return err;
	type = type_of(spec->scheme);
	err = type ? type->open(spec, &args, out)
		   : err_set(-EINVAL, "server %s: no such kind of server: %s", text, spec->scheme);
	spec_free(spec);
	return err;
}

int session_open_store(const struct run_config *cfg, int sock_fd, struct store **out)
{
	struct store_open_args args = {
		.bytes = cfg->remote_bytes, .sock_fd = sock_fd, .timeout_ms = OPEN_TIMEOUT_MS};
	struct store *part[RUN_MAX_SERVERS];
	uint64_t share;
	int err = 0;
	unsigned int n = 0;

	if (!cfg->nr_servers)
		return store_shm_type.open(NULL, &args, out);
	if (cfg->nr_servers == 1)
		return open_spec(cfg->server[0], cfg->remote_bytes, out);
	share = (cfg->remote_bytes / cfg->nr_servers + PAGE_BYTES - 1) & PAGE_MASK;
	for (; n < cfg->nr_servers && !err; n++)
		err = open_spec(cfg->server[n], share, &part[n]);
	if (!err)
		return store_pool_open(part, n, out);
	for (n--; n--;)
		part[n]->ops->close(part[n]);
	return err;
}

const struct policy_ops *session_policy(void **ctx)
{
	static struct streams streams;

	*ctx = &streams;
	return &policy_streams;
}
