/* SPDX-License-Identifier: Apache-2.0 */
/* rmem doctor: what rmem needs on this machine, and the fix for each red line. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "client/run.h"
#include "client/supervisor_print.h"
#include "common/base/err.h"
#include "tools/cli.h"
#include "tools/doctor.h"
#include "tools/settings.h"

struct doctor_options {
	bool json, show_config;
	struct options run; /* what a run would be told, but for its command line */
	const char *server[RUN_MAX_SERVERS];
	size_t nr_servers;
};

struct report {
	json_t *json; /* NULL: a table */
	bool failed;
};

static int set_json(void *ctx, const char *value)
{
	struct doctor_options *o = ctx;

	(void)value;
	o->json = true;
	return 0;
}

static int set_server(void *ctx, const char *value)
{
	struct doctor_options *o = ctx;

	if (o->nr_servers == RUN_MAX_SERVERS)
		return err_set(-E2BIG, "more than %d servers", RUN_MAX_SERVERS);
	o->server[o->nr_servers++] = value;
	return 0;
}

static int set_config(void *ctx, const char *value)
{
	struct doctor_options *o = ctx;

	return options_set_config(&o->run, value);
}

static int set_show_config(void *ctx, const char *value)
{
	struct doctor_options *o = ctx;

	(void)value;
	o->show_config = true;
	return 0;
}

static const struct cli_option doctor_table[] = {
	{.name = "json", .help = "JSON instead of a table", .set = set_json},
	{.name = "server",
	 .value = "SPEC",
	 .help = "try this memory server too, may be repeated",
	 .repeatable = true,
	 .set = set_server},
	{.name = "config",
	 .value = "FILE",
	 .help = "the file of settings that a run would be given",
	 .set = set_config},
	{.name = "show-config",
	 .help = "print what environment and files set for a run, and\n"
		 "where each value comes from; look at nothing else",
	 .set = set_show_config},
};

static const char *status_name(enum doctor_status s)
{
	return s == DOCTOR_OK ? "ok" : s == DOCTOR_WARN ? "warn" : "FAIL";
}

static void add(struct report *r, const char *name, const struct doctor_result *res)
{
	char text[1024], fix[1536];

	print_escape(text, sizeof(text), res->text);
	print_escape(fix, sizeof(fix), res->fix);
	if (res->status == DOCTOR_FAIL)
		r->failed = true;
	if (r->json) {
		json_array_append_new(r->json, json_pack("{s:s, s:s, s:s, s:s}", "check", name,
							 "status", status_name(res->status), "text",
							 text, "fix", fix));
		return;
	}
	printf("%-4s  %-14s %s\n", status_name(res->status), name, text);
	if (fix[0])
		printf("      %-14s fix: %s\n", "", fix);
}

static int show_config(struct doctor_options *o)
{
	int err = settings_load(&o->run);

	if (err)
		return cli_refuse("doctor", "%s", err_text(err));
	settings_show(&o->run, o->json);
	return cli_flush();
}

static void look_settings(struct options *run, struct doctor_result *out)
{
	int err = settings_load(run);

	if (!err) {
		doctor_say(out, DOCTOR_OK, "environment and files can be used");
		return;
	}
	doctor_say(out, DOCTOR_FAIL, "environment or a file is wrong");
	doctor_fix(out, "%s", err_text(err));
}

static int doctor_main(char **argv)
{
	struct doctor_options o = {.json = false};
	struct doctor_result settings = {.status = DOCTOR_OK};
	struct report r = {.json = NULL};
	enum cli_parsed how;
	int rest, status;

	options_init(&o.run);
	how = cli_parse(&cli_doctor, argv, &o, &rest);
	if (how != CLI_GO)
		return cli_exit(how);
	if (argv[rest])
		return cli_usage_error("doctor", "'%s' is too much: doctor takes options only",
				       argv[rest]);
	if (o.show_config)
		return show_config(&o);
	r.json = o.json ? json_array() : NULL;
	for (size_t i = 0; i < doctor_nr_checks; i++) {
		struct doctor_result res = {.status = DOCTOR_OK};

		doctor_checks[i].look(&res);
		add(&r, doctor_checks[i].name, &res);
	}
	look_settings(&o.run, &settings);
	add(&r, "settings", &settings);
	for (size_t i = 0; i < o.nr_servers; i++) {
		struct doctor_result res = {.status = DOCTOR_OK};

		doctor_look_server(o.server[i], &res);
		add(&r, "server", &res);
	}
	if (r.json) {
		json_dumpf(r.json, stdout, JSON_INDENT(2));
		printf("\n");
		json_decref(r.json);
	}
	status = cli_flush();
	return status ? status : r.failed;
}

const struct cli_command cli_doctor = {
	.name = "doctor",
	.summary = "Checks what rmem needs on this machine; exit status 1 if it fails.",
	.usage = "[OPTION]...",
	.examples = "  rmem doctor\n"
		    "  rmem doctor --server shm:/run/rmem.sock --server tcp:memhost\n"
		    "  rmem doctor --show-config\n",
	.option = doctor_table,
	.nr_options = sizeof(doctor_table) / sizeof(doctor_table[0]),
	.mixed = true,
	.main = doctor_main,
};
