/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/settings.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/err.h"
#include "common/config.h"

#define SECTION	       "run"
#define VARIABLE_CHARS 32

static bool is_same_source(const struct origin *a, const struct origin *b)
{
	return a->kind == b->kind && a->where && b->where && !strcmp(a->where, b->where);
}

/* What something stronger has set stays; the value is checked all the same. */
static int apply(struct options *o, size_t id, struct origin from, const char *value)
{
	struct options scratch, *to = o;

	if (o->origin[id].kind != FROM_DEFAULT && !is_same_source(&o->origin[id], &from)) {
		scratch = *o;
		scratch.cfg.nr_servers = 0;
		to = &scratch;
	}
	to->now = from;
	return options_table[id].set(to, value);
}

/* ---- environment ---- */

/* on-loss: RMEM_ON_LOSS */
static void variable_of(const char *key, char *name)
{
	size_t at = (size_t)snprintf(name, VARIABLE_CHARS, "RMEM_");

	for (; *key && at + 1 < VARIABLE_CHARS; key++)
		name[at++] = *key == '-' ? '_' : (char)toupper((unsigned char)*key);
	name[at] = '\0';
}

/* Of what may be repeated, several words. */
static int apply_words(struct options *o, size_t id, struct origin from, char *text)
{
	char *save, *word = strtok_r(text, " \t\n", &save);
	int err = 0;

	for (; word && !err; word = strtok_r(NULL, " \t\n", &save))
		err = apply(o, id, from, word);
	return err;
}

static int load_variable(struct options *o, size_t id)
{
	struct origin from = {.kind = FROM_ENV};
	char name[VARIABLE_CHARS], *value;
	int err;

	variable_of(options_table[id].name, name);
	value = getenv(name);
	if (!value || !*value)
		return 0;
	from.where = strdup(name);
	value = strdup(value); /* kept: it is what was set */
	if (!from.where || !value)
		return err_set(-ENOMEM, "out of memory");
	err = options_table[id].repeatable ? apply_words(o, id, from, value)
					   : apply(o, id, from, value);
	return err ? err_set(err, "%s: %s", name, err_text(err)) : 0;
}

/* ---- files ---- */

static int find_key(const char *key, size_t *id)
{
	for (*id = 0; *id < OPTIONS_NR; ++*id)
		if (options_table[*id].in_config && !strcmp(options_table[*id].name, key))
			return 0;
	return err_set(-EINVAL, "there is no such key: 'rmem doctor --show-config' lists them");
}

static int take_entry(struct options *o, const struct config_file *f, const struct config_entry *e,
		      bool *seen)
{
	struct origin from = {.kind = FROM_FILE, .where = f->path, .line = e->line};
	size_t id;
	int err;

	if (strcmp(e->section, SECTION))
		return err_set(-EINVAL, "is in section [%.40s]: the only section is [" SECTION "]",
			       e->section);
	err = find_key(e->key, &id);
	if (!err && seen[id] && !options_table[id].repeatable)
		err = err_set(-EINVAL, "is given twice: give it once");
	if (err)
		return err;
	seen[id] = true;
	return apply(o, id, from, e->value);
}

/* The entries stay: options point into them. */
static int load_file(struct options *o, const char *path)
{
	struct config_file f;
	bool seen[OPTIONS_NR] = {false};
	int err = config_read(path, &f);

	for (size_t i = 0; i < f.nr && !err; i++) {
		err = take_entry(o, &f, &f.entry[i], seen);
		if (err)
			return config_wrong(&f, &f.entry[i], err, err_text(err));
	}
	return err;
}

static int load_optional(struct options *o, const char *path)
{
	int err = load_file(o, path);

	return err == -ENOENT || err == -ENOTDIR ? 0 : err;
}

static int load_user_file(struct options *o)
{
	const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	char path[PATH_MAX];
	struct stat st;

	if (base && base[0] == '/')
		snprintf(path, sizeof(path), "%s/rmem/rmem.conf", base);
	else if (home && home[0] == '/')
		snprintf(path, sizeof(path), "%s/.config/rmem/rmem.conf", home);
	else
		return 0;
	/* HOME may still be that of somebody else, and closed. */
	return stat(path, &st) ? 0 : load_file(o, path);
}

int settings_load(struct options *o)
{
	const char *path = o->config_path ? o->config_path : getenv("RMEM_CONFIG");
	int err = 0;

	for (size_t id = 0; id < OPTIONS_NR && !err; id++)
		if (options_table[id].in_config)
			err = load_variable(o, id);
	if (!err && path && *path)
		err = load_file(o, path);
	if (!err)
		err = load_user_file(o);
	if (!err)
		err = load_optional(o, SETTINGS_SYSTEM_FILE);
	return err;
}
