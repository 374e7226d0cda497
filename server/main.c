/* SPDX-License-Identifier: Apache-2.0 */
/* rmemd: lends this machine's memory. Foreground; the supervisor is systemd or rmem. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/units.h"
#include "server/options.h"
#include "server/server.h"

/* Whoever started us may have closed them; a socket must not take their place. */
static void open_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* A descriptor for each slab and each client. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		log_warn("can't raise the limit of open descriptors");
}

static void say_ready(const struct options *o, const struct server *s)
{
	const char *half = o->capacity_is_default ? " (half of what is available)" : "";
	char size[32], name[NET_NAME_MAX_BYTES];

	units_format_size(size, sizeof(size), o->capacity_bytes);
	for (unsigned int i = 0; i < s->nr_listeners; i++)
		log_info("listening on shm:%s, capacity %s%s", s->listener[i].path, size, half);
	for (unsigned int i = 0; i < s->nr_tcp_listeners; i++)
		log_info("listening on %s, capacity %s%s",
			 net_addr_format(name, sizeof(name), &s->tcp_listener[i].addr), size, half);
	for (unsigned int i = 0; i < s->nr_rdma; i++)
		log_info("listening on %s, capacity %s%s",
			 net_addr_format(name, sizeof(name), &s->rdma_addr[i]), size, half);
	sd_notify(0, "READY=1");
}

static int serve(const struct options *o)
{
	struct server server;
	int rc = server_open(&server, o);

	if (!rc) {
		say_ready(o, &server);
		rc = server_run(&server);
	}
	sd_notify(0, "STOPPING=1");
	server_close(&server);
	return rc;
}

int main(int argc, char **argv)
{
	enum options_next next;
	struct options options;
	int rc;

	open_standard_fds();
	log_set_prefix("rmemd: ");
	rc = options_parse(argc, argv, &options, &next);
	if (!rc && next == OPTIONS_RUN) {
		/* A private server is not the terminal's, and its client does the talking. */
		if (options.client_fd >= 0)
			setsid();
		log_set_level(options.client_fd >= 0 ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO);
		raise_descriptor_limit();
		rc = serve(&options);
	}
	if (rc)
		log_error("%s", err_text(rc));
	options_fini(&options);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
