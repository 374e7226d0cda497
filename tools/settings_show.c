/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>

#include "client/supervisor_print.h"
#include "tools/settings.h"

static const char *kind_name(enum origin_kind kind)
{
	static const char *const name[] = {
		[FROM_DEFAULT] = "default",
		[FROM_OPTION] = "option",
		[FROM_ENV] = "environment",
		[FROM_FILE] = "file",
	};

	return name[kind];
}

static void show_line(const char *key, const char *value, const struct origin *from)
{
	char shown[1536], where[1536];

	print_escape(shown, sizeof(shown), value);
	print_escape(where, sizeof(where), from->where ? from->where : "default");
	if (from->kind == FROM_FILE)
		printf("%-10s  %-46s  %s:%u\n", key, shown, where, from->line);
	else
		printf("%-10s  %-46s  %s\n", key, shown, where);
}

static json_t *object_of(const char *key, const char *value, const struct origin *from)
{
	char shown[1536];
	json_t *o;

	print_escape(shown, sizeof(shown), value); /* JSON is UTF-8, a file need not be */
	o = json_pack("{s:s, s:s, s:s}", "key", key, "value", shown, "origin",
		      kind_name(from->kind));
	if (from->kind == FROM_ENV)
		json_object_set_new(o, "variable", json_string(from->where));
	if (from->kind == FROM_FILE) {
		print_escape(shown, sizeof(shown), from->where);
		json_object_set_new(o, "file", json_string(shown));
		json_object_set_new(o, "line", json_integer(from->line));
	}
	return o;
}

static void show(json_t *list, const char *key, const char *value, const struct origin *from)
{
	if (list)
		json_array_append_new(list, object_of(key, value, from));
	else
		show_line(key, value, from);
}

void settings_show(const struct options *o, bool as_json)
{
	json_t *list = as_json ? json_array() : NULL, *all;

	for (size_t id = 0; id < OPTIONS_NR; id++) {
		const struct cli_option *opt = &options_table[id];

		if (!opt->in_config)
			continue;
		for (unsigned int i = 0; id == OPTION_SERVER && i < o->cfg.nr_servers; i++)
			show(list, opt->name, o->cfg.server[i], &o->server_origin[i]);
		if (id != OPTION_SERVER || !o->cfg.nr_servers)
			show(list, opt->name, o->value[id] ? o->value[id] : opt->otherwise,
			     &o->origin[id]);
	}
	if (!as_json)
		return;
	all = json_pack("{s:s, s:o}", "schema", "rmem.config/1", "settings", list);
	json_dumpf(all, stdout, JSON_INDENT(2));
	printf("\n");
	json_decref(all);
}
