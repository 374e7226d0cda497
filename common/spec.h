/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SPEC: how a store is named on the command line, in the config file and in
 * tests. One grammar:
 *
 *	spec   := leaf | name "(" { key "=" value "," } spec { "," spec } ")"
 *	leaf   := scheme [ ":" rest { "," key "=" value } ]
 *
 * for example  ram   shm:/run/rmem.sock   fault(delay=10us,tcp:a:7770,timeout=5)
 * A comma inside parentheses starts the next spec unless what follows is
 * key=value: that belongs to the leaf before it, or to the wrapper where there is
 * none yet. Parsing knows no scheme; who opens it does.
 */
#ifndef RMEM_COMMON_SPEC_H
#define RMEM_COMMON_SPEC_H

#include <stddef.h>

#define SPEC_MAX_CHARS 1024
#define SPEC_MAX_KIDS  16

struct spec_param {
	char *key;
	char *value;
};

struct spec {
	char *scheme; /* "shm", "mirror" */
	char *rest;   /* "/run/rmem.sock"; "" when absent or a wrapper */
	struct spec *kid[SPEC_MAX_KIDS];
	size_t nr_kids;
	struct spec_param param[8];
	size_t nr_params;
};

/* Returns owned; spec_free() it. -EINVAL with the place and remedy in err text. */
int spec_parse(const char *text, struct spec **out) __attribute__((warn_unused_result));
void spec_free(struct spec *s);

/* Returns owned; NULL: out of memory. */
struct spec *spec_copy(const struct spec *s) __attribute__((warn_unused_result));

/* As it would be written, cut to fit; returns @buf. */
char *spec_format(const struct spec *s, char *buf, size_t buf_bytes);

/* Value of @key or NULL. Borrowed. */
const char *spec_param(const struct spec *s, const char *key);

#endif
