/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shm: pages in the slabs of an rmemd on this machine, mapped. One-sided and
 * synchronous: a request is a memcpy. The socket stays open; when it hangs up
 * the server is gone or has taken the lease back, and the store is lost.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/store/mapped.h"
#include "client/store/open.h"
#include "client/store/shm_session.h"
#include "common/base/err.h"
#include "common/base/units.h"

struct shm_store {
	struct store store;
	struct mapped mapped;
	struct shm_session session;
	bool lost;
};

static struct shm_store *to_shm(struct store *s)
{
	return (struct shm_store *)s;
}

static int check_server(struct shm_store *shm)
{
	if (!shm->lost)
		shm->lost = shm_session_check(&shm->session) != 0;
	return shm->lost ? -EPIPE : 0;
}

static int shm_submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	struct shm_store *shm = to_shm(s);
	int rc = check_server(shm);

	if (rc)
		return rc;
	for (unsigned int i = 0; i < nr; i++)
		if (req[i].op == STORE_WRITE && req[i].slot >= shm->mapped.top)
			mapped_make_huge(&shm->mapped, req[i].slot);
	return (int)mapped_submit(&shm->mapped, req, nr);
}

/* What was done stays done: the server is asked about only when nothing is left to tell. */
static int shm_reap(struct store *s, struct store_done *out, unsigned int max)
{
	struct shm_store *shm = to_shm(s);
	unsigned int n = mapped_reap(&shm->mapped, out, max);

	return n ? (int)n : check_server(shm);
}

static int shm_pollfd(struct store *s)
{
	return to_shm(s)->session.fd;
}

static void shm_close(struct store *s)
{
	struct shm_store *shm = to_shm(s);

	if (!shm)
		return;
	mapped_release(&shm->mapped);
	shm_session_close(&shm->session);
	free(shm);
}

static const struct store_ops shm_ops = {
	.scheme = "shm",
	.submit = shm_submit,
	.reap = shm_reap,
	.pollfd = shm_pollfd,
	.close = shm_close,
};

/* Slabs may be of huge pages. */
static int reserve_area(struct shm_store *shm, uint64_t bytes)
{
	char text[32];

	if (mapped_reserve(&shm->mapped))
		return err_set(-ENOMEM, "%s: no address space for %s: lower --remote",
			       shm->session.server, units_format_size(text, sizeof(text), bytes));
	return 0;
}

static int check_spec(const struct spec *spec, int sock_fd)
{
	if (sock_fd >= 0)
		return 0;
	if (!spec || spec->rest[0] != '/' || spec->nr_params || spec->nr_kids)
		return err_set(-EINVAL, "server shm: needs a path and nothing else: write for "
					"example shm:/run/rmem.sock");
	return 0;
}

static int connect_and_map(struct shm_store *shm, const char *path,
			   const struct store_open_args *args)
{
	const struct handed *old = handover_get(args->handover);
	struct handed now = {.used = true, .turn = old ? old->turn + 1 : 0};
	int rc, fd = old ? old->fd[0] : args->sock_fd;

	if (old) { /* before anything is asked */
		shm->mapped.top = shm->mapped.nr_slots;
		handed_add_fd(&now, fd);
		handover_set(args->handover, &now);
	}
	rc = shm_session_open(&shm->session, path, fd, now.turn, args->bytes, args->timeout_ms);
	if (!rc && !old) {
		handed_add_fd(&now, shm->session.fd);
		handover_set(args->handover, &now);
	}
	if (!rc)
		rc = reserve_area(shm, args->bytes);
	if (!rc)
		rc = shm_session_map(&shm->session, shm->mapped.base);
	if (rc)
		handover_forget(args->handover, 1); /* it is closed */
	return rc;
}

static int shm_open_store(const struct spec *spec, const struct store_open_args *args,
			  struct store **out)
{
	struct shm_store *shm;
	int rc = check_spec(spec, args->sock_fd);

	if (rc)
		return rc;
	shm = calloc(1, sizeof(*shm));
	if (!shm) {
		if (args->sock_fd >= 0)
			close(args->sock_fd);
		return err_set(-ENOMEM, "store shm: out of memory");
	}
	shm->store.ops = &shm_ops;
	shm->store.nr_slots = args->bytes / PAGE_BYTES;
	shm->store.scattered = true;
	shm->mapped.nr_slots = shm->store.nr_slots;
	rc = connect_and_map(shm, spec ? spec->rest : "", args);
	if (rc) {
		shm_close(&shm->store);
		return rc;
	}
	/* A caller that locks its own memory does not mean the pages. */
	munlock(shm->mapped.base, args->bytes);
	*out = &shm->store;
	return 0;
}

static int shm_probe(const struct spec *spec, unsigned int timeout_ms, uint64_t *free_bytes,
		     uint64_t *capacity_bytes)
{
	struct shm_session session;
	int rc = check_spec(spec, -1);

	if (!rc)
		rc = shm_session_open(&session, spec->rest, -1, 0, 0, timeout_ms);
	if (rc)
		return rc;
	*free_bytes = session.welcome.free_bytes;
	*capacity_bytes = session.welcome.capacity_bytes;
	shm_session_close(&session);
	return 0;
}

const struct store_type store_shm_type = {
	.scheme = "shm",
	.survives = true,
	.usage = "shm:/PATH           memory of an rmemd on this machine, by its socket",
	.open = shm_open_store,
	.probe = shm_probe,
};
