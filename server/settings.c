/* SPDX-License-Identifier: Apache-2.0 */
/* The file of settings: its keys are options of the command line, which come first. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/config.h"
#include "server/options.h"

#define SECTION "rmemd"

static int find_key(const char *name, size_t *id)
{
	for (*id = 0; *id < OPTIONS_NR; ++*id)
		if (options_keys[*id].in_config && !strcmp(options_keys[*id].name, name))
			return 0;
	return err_set(-EINVAL, "there is no such key: there are listen, capacity, node, "
				"drain-timeout and metrics");
}

/* What the command line has set stays; the value is checked all the same. */
static int apply(struct options *o, size_t id, const char *value)
{
	struct options scratch = {.client_fd = -1};
	int rc;

	if (!o->given[id])
		return options_keys[id].set(o, value);
	rc = options_keys[id].set(&scratch, value);
	options_fini(&scratch);
	return rc;
}

/* A descriptor is inherited from whoever starts rmemd; a file can't know its number. */
static int check_no_fd(const char *value)
{
	return strncmp(value, "shm:fd=", 7)
		       ? 0
		       : err_set(-EINVAL, "shm:fd=N is for the command line only");
}

static int take_entry(struct options *o, const struct config_entry *e, bool *seen)
{
	size_t id;
	int rc;

	if (strcmp(e->section, SECTION))
		return err_set(-EINVAL, "is in section [%.40s]: the only section is [" SECTION "]",
			       e->section);
	rc = find_key(e->key, &id);
	if (!rc && seen[id] && !options_keys[id].repeatable)
		rc = err_set(-EINVAL, "is given twice: give it once");
	if (!rc && id == OPTIONS_LISTEN)
		rc = check_no_fd(e->value);
	if (rc)
		return rc;
	seen[id] = true;
	return apply(o, id, e->value);
}

int options_load(struct options *o, const char *path)
{
	bool seen[OPTIONS_NR] = {false};
	struct config_file f;
	int rc = config_read(path, &f);

	for (size_t i = 0; i < f.nr && !rc; i++) {
		rc = take_entry(o, &f.entry[i], seen);
		if (rc)
			config_wrong(&f, &f.entry[i], rc, err_text(rc));
	}
	config_free(&f);
	return rc;
}
