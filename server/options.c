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
#include "common/meminfo.h"
#include "common/metrics/http.h"
#include "common/spec.h"
#include "common/wire/wire.h"
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
	"                            rdma:ADDRESS[:PORT]  the same by RDMA; port 7771\n"
	"  -c, --capacity SIZE     lend at most so much, for example 16G (default: half of what\n"
	"                          is available at the start)\n"
	"      --node N            take the memory from NUMA node N (default: the emptiest)\n"
	"      --once              exit when the last client has gone\n"
	"      --drain-timeout S   after SIGTERM or SIGINT, seconds to wait for clients to go\n"
	"                          (default: 30); a second signal ends the wait\n"
	"      --metrics [HOST:]PORT   serve numbers to Prometheus over HTTP (default host:\n"
	"                          127.0.0.1; port 0: any that is free)\n"
	"      --config FILE       settings that are not given as options, instead of\n"
	"                          " OPTIONS_SYSTEM_FILE ", which need not be there\n"
	"      --check-config [FILE]\n"
	"                          read the settings, say what is wrong, and exit\n"
	"  -h, --help              show this\n"
	"      --version           show version and features\n"
	"\n"
	"Exit status: 0 stopped when asked to; 1 could not start or run.\n";

enum long_only {
	OPT_NODE = 256,
	OPT_DRAIN,
	OPT_METRICS,
	OPT_ONCE,
	OPT_CONFIG,
	OPT_CHECK_CONFIG,
	OPT_VERSION,
};

/* In the order of enum options_id. */
static const struct option long_opts[] = {
	{"listen", required_argument, NULL, 'l'},
	{"capacity", required_argument, NULL, 'c'},
	{"node", required_argument, NULL, OPT_NODE},
	{"drain-timeout", required_argument, NULL, OPT_DRAIN},
	{"metrics", required_argument, NULL, OPT_METRICS},
	{"once", no_argument, NULL, OPT_ONCE},
	{"config", required_argument, NULL, OPT_CONFIG},
	{"check-config", no_argument, NULL, OPT_CHECK_CONFIG},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, OPT_VERSION},
	{0},
};

static int parse_number(const char *text, unsigned int max, unsigned int *out)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || value > max)
		return err_set(-EINVAL, "'%.40s' is not a number from 0 to %u", text, max);
	*out = (unsigned int)value;
	return 0;
}

static int add_path(struct options *o, const char *path)
{
	if (o->nr_listen == OPTIONS_MAX_LISTEN)
		return err_set(-E2BIG, "at most %d of them", OPTIONS_MAX_LISTEN);
	o->listen_path[o->nr_listen] = strdup(path);
	if (!o->listen_path[o->nr_listen])
		return err_set(-ENOMEM, "out of memory");
	o->nr_listen++;
	return 0;
}

static int add_address(enum net_kind kind, const char *rest, struct net_addr *list,
		       unsigned int *nr)
{
	if (*nr == OPTIONS_MAX_LISTEN)
		return err_set(-E2BIG, "at most %d of them", OPTIONS_MAX_LISTEN);
	if (!rest[0])
		return err_set(-EINVAL, "%s names no address: write for example %s::%u",
			       net_scheme(kind), net_scheme(kind), net_port(kind));
	return net_addr_parse(kind, rest, true, &list[(*nr)++]);
}

static int add_fd(struct options *o, const char *text)
{
	unsigned int fd = 0;
	int rc = parse_number(text, INT_MAX, &fd);

	if (!rc && o->client_fd >= 0)
		rc = err_set(-EINVAL, "shm:fd=N is given twice: give it once");
	if (!rc)
		o->client_fd = (int)fd;
	return rc;
}

static int set_listen(struct options *o, const char *text)
{
	struct spec *spec;
	int rc = spec_parse(text, &spec);

	if (rc)
		return rc;
	if (spec->nr_kids || spec->nr_params ||
	    (strcmp(spec->scheme, "shm") && strcmp(spec->scheme, "tcp") &&
	     strcmp(spec->scheme, "rdma")))
		rc = err_set(-EINVAL,
			     "'%.80s' is not served here: write for example shm:%s, tcp::%d "
			     "or rdma::%d",
			     text, DEFAULT_PATH, NET_TCP_PORT, NET_RDMA_PORT);
	else if (!strcmp(spec->scheme, "tcp"))
		rc = add_address(NET_TCP, spec->rest, o->tcp, &o->nr_tcp);
	else if (!strcmp(spec->scheme, "rdma"))
		rc = add_address(NET_RDMA, spec->rest, o->rdma, &o->nr_rdma);
	else if (strncmp(spec->rest, "fd=", 3) == 0)
		rc = add_fd(o, spec->rest + 3);
	else
		rc = add_path(o, spec->rest);
	spec_free(spec);
	return rc;
}

static int set_node(struct options *o, const char *text)
{
	unsigned int node = 0;
	int rc = parse_number(text, 1023, &node);

	if (rc)
		return rc;
	if (!slab_has_node((int)node))
		return err_set(-ENODEV,
			       "%u: this machine has no such NUMA node: see numactl --hardware",
			       node);
	o->node = (int)node;
	return 0;
}

static int set_capacity(struct options *o, const char *text)
{
	return units_parse_size(text, &o->capacity_bytes);
}

static int set_drain_timeout(struct options *o, const char *text)
{
	unsigned int seconds = 0;
	int rc = parse_number(text, MAX_DRAIN_TIMEOUT_S, &seconds);

	if (!rc)
		o->drain_timeout_ms = seconds * 1000;
	return rc;
}

/* A copy: the file's text goes away. */
static int set_metrics(struct options *o, const char *text)
{
	int rc = metrics_check_address(text);

	if (rc)
		return rc;
	o->metrics = strdup(text);
	return o->metrics ? 0 : err_set(-ENOMEM, "out of memory");
}

static int set_once(struct options *o, const char *text)
{
	(void)text;
	o->once = true;
	return 0;
}

static int set_config(struct options *o, const char *text)
{
	o->config_path = text;
	return *text ? 0 : err_set(-EINVAL, "is empty: name a file");
}

static int set_check(struct options *o, const char *text)
{
	(void)text;
	o->check_only = true;
	return 0;
}

const struct options_key options_keys[OPTIONS_NR] = {
	[OPTIONS_LISTEN] = {"listen", true, true, set_listen},
	[OPTIONS_CAPACITY] = {"capacity", true, false, set_capacity},
	[OPTIONS_NODE] = {"node", true, false, set_node},
	[OPTIONS_DRAIN_TIMEOUT] = {"drain-timeout", true, false, set_drain_timeout},
	[OPTIONS_METRICS] = {"metrics", true, false, set_metrics},
	[OPTIONS_ONCE] = {"once", false, false, set_once},
	[OPTIONS_CONFIG] = {"config", false, false, set_config},
	[OPTIONS_CHECK_CONFIG] = {"check-config", false, false, set_check},
};

static int take_option(struct options *o, int opt, const char *arg)
{
	const struct options_key *key = options_keys;
	int rc = 0;

	while (long_opts[key - options_keys].val != opt)
		key++;
	if (o->given[key - options_keys] && !key->repeatable)
		return err_set(-EINVAL, "--%s is given twice: give it once", key->name);
	o->given[key - options_keys] = true;
	rc = key->set(o, arg);
	return rc ? err_set(rc, "--%s: %s", key->name, err_text(rc)) : 0;
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
	return o->nr_listen || o->nr_tcp || o->nr_rdma ? 0 : default_path(o);
}

static int complete(struct options *o)
{
	struct meminfo mem;
	int rc = meminfo_mine(&mem);

	if (rc)
		return rc;
	o->capacity_is_default = o->capacity_bytes == 0;
	if (o->capacity_is_default)
		o->capacity_bytes = mem.available_bytes / 2;
	o->capacity_bytes -= o->capacity_bytes % WIRE_PAGE_BYTES;
	if (o->capacity_bytes == 0)
		return err_set(-ERANGE, "--capacity: less than a page: write for example 16G");
	if (o->client_fd < 0)
		return complete_public(o, mem.total_bytes);
	o->once = true;
	/* The client learns it from the refusal, and says it in its own words. */
	if (o->capacity_bytes > mem.available_bytes)
		o->capacity_bytes = mem.available_bytes - mem.available_bytes % WIRE_PAGE_BYTES;
	return 0;
}

/* A server on an inherited socket is some run's own, and no business of the machine's. */
static int load(struct options *o)
{
	const char *path = o->config_path ? o->config_path : OPTIONS_SYSTEM_FILE;
	int rc;

	if (o->client_fd >= 0 && !o->config_path)
		return 0;
	rc = options_load(o, path);
	return rc == -ENOENT && !o->config_path && !o->check_only ? 0 : rc;
}

static int print_and_exit(const char *text, enum options_next *next)
{
	*next = OPTIONS_EXIT;
	if (fputs(text, stdout) == EOF || fflush(stdout))
		return err_set(-EIO, "can't write to standard output");
	return 0;
}

static int say_checked(const struct options *o, enum options_next *next)
{
	char text[PATH_MAX + 32];

	snprintf(text, sizeof(text), "%s: ok\n",
		 o->config_path ? o->config_path : OPTIONS_SYSTEM_FILE);
	return print_and_exit(text, next);
}

int options_parse(int argc, char **argv, struct options *out, enum options_next *next)
{
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
		rc = take_option(out, opt, optarg);
		if (rc)
			return rc;
	}
	if (out->check_only && !out->config_path && optind < argc)
		out->config_path = argv[optind++];
	if (optind < argc)
		return err_set(-EINVAL, "'%.60s' is one word too many: see rmemd --help",
			       argv[optind]);
	rc = load(out);
	if (!rc)
		rc = complete(out);
	return rc || !out->check_only ? rc : say_checked(out, next);
}

void options_fini(struct options *o)
{
	for (unsigned int i = 0; i < o->nr_listen; i++)
		free(o->listen_path[i]);
	o->nr_listen = 0;
	free(o->metrics);
	o->metrics = NULL;
}
