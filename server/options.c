/* SPDX-License-Identifier: Apache-2.0 */
#include "server/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/units.h"
#include "common/metrics/http.h"
#include "common/spec.h"
#include "common/wire/wire.h"
#include "server/meminfo.h"
#include "server/slab.h"

#define DEFAULT_DRAIN_TIMEOUT_MS 30000
#define MAX_DRAIN_TIMEOUT_S	 86400
#define DEFAULT_PATH		 "/run/rmem.sock"

static const char help[] =
	"Examples:\n"
	"  rmemd                                          serve half of the free memory\n"
	"  rmemd --listen shm:/run/rmem.sock --capacity 64G\n"
	"  rmemd --listen tcp:10.0.0.5 --listen shm:/run/rmem.sock\n"
	"  rmem run --server shm:/run/rmem.sock --remote 16G ./job\n"
	"\n"
	"rmemd lends this machine's memory to jobs that run under rmem. Over tcp whoever\n"
	"reaches the port is served, and pages travel as they are: for networks that you trust.\n"
	"\n"
	"Usage: rmemd [OPTION]...\n"
	"  -l, --listen SPEC       serve here; may be repeated (default: shm:" DEFAULT_PATH ",\n"
	"                          or shm:$XDG_RUNTIME_DIR/rmem.sock for users other than root)\n"
	"                            shm:/PATH  a Unix socket for this user's jobs here\n"
	"                            shm:fd=N   one client on an inherited socket; implies --once\n"
	"                            tcp:HOST[:PORT]  jobs on other machines; tcp::PORT at every\n"
	"                            address; port 7770 if not said, 0 for any that is free\n"
	"  -c, --capacity SIZE     lend at most so much, for example 16G (default: half of what\n"
	"                          is available at the start)\n"
	"      --node N            take the memory from NUMA node N (default: the emptiest)\n"
	"      --once              exit when the last client has gone\n"
	"      --drain-timeout S   after SIGTERM or SIGINT, seconds to wait for clients to go\n"
	"                          (default: 30); a second signal ends the wait\n"
	"      --metrics [HOST:]PORT   serve numbers to Prometheus over HTTP (default host:\n"
	"                          127.0.0.1; port 0: any that is free)\n"
	"  -h, --help              show this\n"
	"      --version           show version and features\n"
	"\n"
	"Exit status: 0 stopped when asked to; 1 could not start or run.\n";

enum long_only { OPT_NODE = 256, OPT_ONCE, OPT_DRAIN, OPT_METRICS, OPT_VERSION };

static const struct option long_opts[] = {
	{"listen", required_argument, NULL, 'l'},
	{"capacity", required_argument, NULL, 'c'},
	{"node", required_argument, NULL, OPT_NODE},
	{"once", no_argument, NULL, OPT_ONCE},
	{"drain-timeout", required_argument, NULL, OPT_DRAIN},
	{"metrics", required_argument, NULL, OPT_METRICS},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, OPT_VERSION},
	{0},
};

static int parse_number(const char *what, const char *text, unsigned int max, unsigned int *out)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || value > max)
		return err_set(-EINVAL, "%s '%.40s' is not a number from 0 to %u", what, text, max);
	*out = (unsigned int)value;
	return 0;
}

static int add_path(struct options *o, const char *path)
{
	if (o->nr_listen == OPTIONS_MAX_LISTEN)
		return err_set(-E2BIG, "--listen: at most %d of them", OPTIONS_MAX_LISTEN);
	o->listen_path[o->nr_listen] = strdup(path);
	if (!o->listen_path[o->nr_listen])
		return err_set(-ENOMEM, "out of memory");
	o->nr_listen++;
	return 0;
}

static int add_tcp(struct options *o, const char *rest)
{
	if (o->nr_tcp == OPTIONS_MAX_LISTEN)
		return err_set(-E2BIG, "--listen: at most %d of them", OPTIONS_MAX_LISTEN);
	if (!rest[0])
		return err_set(-EINVAL, "--listen tcp names no address: write for example tcp::%d",
			       TCP_DEFAULT_PORT);
	return tcp_addr_parse(rest, true, &o->tcp[o->nr_tcp++]);
}

static int add_fd(struct options *o, const char *text)
{
	unsigned int fd;
	int rc = parse_number("--listen shm:fd=", text, INT_MAX, &fd);

	if (!rc && o->client_fd >= 0)
		rc = err_set(-EINVAL, "--listen shm:fd=N is given twice: give it once");
	if (!rc)
		o->client_fd = (int)fd;
	return rc;
}

static int add_listen(struct options *o, const char *text)
{
	struct spec *spec;
	int rc = spec_parse(text, &spec);

	if (rc)
		return rc;
	if (spec->nr_kids || spec->nr_params ||
	    (strcmp(spec->scheme, "shm") && strcmp(spec->scheme, "tcp")))
		rc = err_set(-EINVAL,
			     "--listen '%.80s': not served here: write for example shm:%s or "
			     "tcp::%d",
			     text, DEFAULT_PATH, TCP_DEFAULT_PORT);
	else if (!strcmp(spec->scheme, "tcp"))
		rc = add_tcp(o, spec->rest);
	else if (strncmp(spec->rest, "fd=", 3) == 0)
		rc = add_fd(o, spec->rest + 3);
	else
		rc = add_path(o, spec->rest);
	spec_free(spec);
	return rc;
}

static int parse_node(struct options *o, const char *text)
{
	unsigned int node;
	int rc = parse_number("--node", text, 1023, &node);

	if (rc)
		return rc;
	if (!slab_has_node((int)node))
		return err_set(-ENODEV,
			       "--node %u: this machine has no such NUMA node: see "
			       "numactl --hardware",
			       node);
	o->node = (int)node;
	return 0;
}

static int take_option(struct options *o, int opt, const char *arg)
{
	unsigned int seconds;
	int rc;

	switch (opt) {
	case 'l':
		return add_listen(o, arg);
	case 'c':
		rc = units_parse_size(arg, &o->capacity_bytes);
		return rc ? err_set(rc, "--capacity: %s", err_text(rc)) : 0;
	case OPT_NODE:
		return parse_node(o, arg);
	case OPT_ONCE:
		o->once = true;
		return 0;
	case OPT_DRAIN:
		rc = parse_number("--drain-timeout", arg, MAX_DRAIN_TIMEOUT_S, &seconds);
		if (!rc)
			o->drain_timeout_ms = seconds * 1000;
		return rc;
	case OPT_METRICS:
		o->metrics = arg;
		rc = metrics_check_address(arg);
		return rc ? err_set(rc, "--metrics: %s", err_text(rc)) : 0;
	default:
		return -EINVAL;
	}
}

/* Only --listen may be repeated. */
static int check_once(int opt, unsigned int *seen)
{
	int bit = opt == 'c' ? 0 : opt - OPT_NODE + 1;

	if (opt == 'l')
		return 0;
	if (*seen & 1U << bit)
		return err_set(-EINVAL, "--%s is given twice: give it once",
			       opt == 'c'	  ? "capacity"
			       : opt == OPT_NODE  ? "node"
			       : opt == OPT_ONCE  ? "once"
			       : opt == OPT_DRAIN ? "drain-timeout"
						  : "metrics");
	*seen |= 1U << bit;
	return 0;
}

static int default_path(struct options *o)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	char path[PATH_MAX];

	if (geteuid() == 0)
		return add_path(o, DEFAULT_PATH);
	if (!run || run[0] != '/')
		return err_set(-EINVAL, "no place to listen: give --listen shm:/PATH");
	snprintf(path, sizeof(path), "%s/rmem.sock", run);
	return add_path(o, path);
}

static int complete_public(struct options *o, uint64_t total_bytes)
{
	char wanted[32], there[32];

	if (o->capacity_bytes > total_bytes)
		return err_set(-ERANGE,
			       "--capacity: %s is more than this machine's %s: give at most that",
			       units_format_size(wanted, sizeof(wanted), o->capacity_bytes),
			       units_format_size(there, sizeof(there), total_bytes));
	return o->nr_listen || o->nr_tcp ? 0 : default_path(o);
}

static int complete(struct options *o)
{
	uint64_t total_bytes = 0, available_bytes = 0;
	int rc = meminfo_read(&total_bytes, &available_bytes);

	if (rc)
		return rc;
	o->capacity_is_default = o->capacity_bytes == 0;
	if (o->capacity_is_default)
		o->capacity_bytes = available_bytes / 2;
	o->capacity_bytes -= o->capacity_bytes % WIRE_PAGE_BYTES;
	if (o->capacity_bytes == 0)
		return err_set(-ERANGE, "--capacity: less than a page: write for example 16G");
	if (o->client_fd < 0)
		return complete_public(o, total_bytes);
	o->once = true;
	/* The client learns it from the refusal, and says it in its own words. */
	if (o->capacity_bytes > available_bytes)
		o->capacity_bytes = available_bytes - available_bytes % WIRE_PAGE_BYTES;
	return 0;
}

static int print_and_exit(const char *text, enum options_next *next)
{
	*next = OPTIONS_EXIT;
	if (fputs(text, stdout) == EOF || fflush(stdout))
		return err_set(-EIO, "can't write to standard output");
	return 0;
}

int options_parse(int argc, char **argv, struct options *out, enum options_next *next)
{
	unsigned int seen = 0;
	int opt, rc;

	*out = (struct options){.client_fd = -1,
				.node = SLAB_NODE_ANY,
				.drain_timeout_ms = DEFAULT_DRAIN_TIMEOUT_MS};
	*next = OPTIONS_RUN;
	opterr = 0;
	while ((opt = getopt_long(argc, argv, "+:l:c:h", long_opts, NULL)) != -1) {
		const char *word = argv[optind - 1];

		if (opt == 'h')
			return print_and_exit(help, next);
		if (opt == OPT_VERSION)
			return print_and_exit(
				"rmemd " RMEM_VERSION
				" (shm, tcp, huge pages, NUMA, systemd; protocol 1)\n",
				next);
		if (opt == '?')
			return err_set(-EINVAL, "'%.60s' is no option of rmemd: see rmemd --help",
				       word);
		if (opt == ':')
			return err_set(-EINVAL, "%.60s needs a value: see rmemd --help", word);
		rc = check_once(opt, &seen);
		if (!rc)
			rc = take_option(out, opt, optarg);
		if (rc)
			return rc;
	}
	if (optind < argc)
		return err_set(-EINVAL, "'%.60s' is one word too many: see rmemd --help",
			       argv[optind]);
	return complete(out);
}

void options_fini(struct options *o)
{
	for (unsigned int i = 0; i < o->nr_listen; i++)
		free(o->listen_path[i]);
	o->nr_listen = 0;
}
