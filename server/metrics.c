/* SPDX-License-Identifier: Apache-2.0 */
#include "server/metrics.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/metrics/http.h"

static enum request_op op_of(enum wire_type type)
{
	switch (type) {
	case WIRE_HELLO:
		return REQUEST_HELLO;
	case WIRE_JOIN:
		return REQUEST_JOIN;
	case WIRE_LEASE:
		return REQUEST_LEASE;
	case WIRE_READ:
		return REQUEST_READ;
	case WIRE_WRITE:
		return REQUEST_WRITE;
	case WIRE_STATUS:
		return REQUEST_STATUS;
	case WIRE_BYE:
		return REQUEST_BYE;
	default:
		return REQUEST_OTHER;
	}
}

void server_count(struct server_numbers *n, enum wire_type type, int rc)
{
	n->requests[op_of(type)][rc && rc != -EPIPE]++;
}

static void gauge(struct metrics_text *out, const char *name, const char *help, uint64_t value)
{
	metrics_family(out, name, METRICS_GAUGE, help);
	metrics_sample(out, name, NULL, NULL, value);
}

static void put_requests(struct metrics_text *out, const struct server_numbers *n)
{
	static const char *const op[REQUEST_OPS] = {"hello", "join",   "lease", "read",
						    "write", "status", "bye",	"other"};

	metrics_family(out, "rmemd_requests_total", METRICS_COUNTER,
		       "Requests of clients that were answered.");
	for (int i = 0; i < REQUEST_OPS; i++)
		metrics_sample(out, "rmemd_requests_total", "op", op[i], n->requests[i][0]);
	metrics_family(out, "rmemd_requests_refused_total", METRICS_COUNTER,
		       "Requests of clients that were refused.");
	for (int i = 0; i < REQUEST_OPS; i++)
		metrics_sample(out, "rmemd_requests_refused_total", "op", op[i], n->requests[i][1]);
	metrics_family(out, "rmemd_clients_refused_total", METRICS_COUNTER,
		       "Clients turned away: another user's, or too many.");
	metrics_sample(out, "rmemd_clients_refused_total", NULL, NULL, n->refused_clients);
}

static int write_numbers(void *ctx, int fd, struct metrics_text *out)
{
	const struct exporter *e = ctx;
	const struct server_numbers *n = e->shared;

	(void)fd;
	metrics_family(out, "rmemd_build_info", METRICS_GAUGE,
		       "Always 1; the version is its label.");
	metrics_sample(out, "rmemd_build_info", "version", RMEM_VERSION, 1);
	gauge(out, "rmemd_capacity_bytes", "Memory that may be lent.", n->capacity_bytes);
	gauge(out, "rmemd_reserved_bytes", "Memory promised to the clients there are.",
	      n->reserved_bytes);
	gauge(out, "rmemd_leased_bytes", "Memory lent to them.", n->leased_bytes);
	gauge(out, "rmemd_clients", "Connections.", n->nr_clients);
	put_requests(out, n);
	return 0;
}

static void only_read(void *ctx)
{
	const struct exporter *e = ctx;

	mprotect(e->shared, sizeof(*e->shared), PROT_READ);
}

int exporter_open(struct exporter *e, const char *address)
{
	struct metrics_server server = {
		.fd = -1, .detach = only_read, .write = write_numbers, .ctx = e};
	char shown[300];

	if (!address)
		return 0;
	server.listen_fd = metrics_listen(address, shown, sizeof(shown));
	if (server.listen_fd < 0)
		return server.listen_fd;
	e->shared = mmap(NULL, sizeof(*e->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (e->shared == MAP_FAILED) {
		e->shared = NULL;
		close(server.listen_fd);
		return err_set(-ENOMEM, "out of memory");
	}
	e->pid = metrics_start(&server);
	close(server.listen_fd);
	if (e->pid < 0)
		return e->pid;
	log_info("metrics at http://%s/metrics", shown);
	return 0;
}

void exporter_update(struct exporter *e, const struct server_numbers *now)
{
	if (e->shared)
		*e->shared = *now;
}

void exporter_close(struct exporter *e)
{
	if (e->pid > 0) {
		kill(e->pid, SIGKILL);
		waitpid(e->pid, NULL, 0);
	}
	if (e->shared)
		munmap(e->shared, sizeof(*e->shared));
	*e = (struct exporter){.shared = NULL};
}
