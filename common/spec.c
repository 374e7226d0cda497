/* SPDX-License-Identifier: Apache-2.0 */
#include "common/spec.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"

#define SPEC_MAX_DEPTH 8
#define SPEC_MAX_NODES 64
#define MAX_PARAMS     (sizeof(((struct spec *)NULL)->param) / sizeof(struct spec_param))

struct parser {
	const char *text;
	const char *at;
	unsigned int depth;
	unsigned int nr_nodes;
};

static int parse_node(struct parser *p, struct spec **out);

static int wrong(const struct parser *p, const char *what)
{
	return err_set(-EINVAL,
		       "'%.80s': %s at character %zu: write for example tcp:memhost:7770, "
		       "shm:/run/rmem.sock or ram",
		       p->text, what, (size_t)(p->at - p->text) + 1);
}

static int take_text(const char *start, size_t len, char **out)
{
	*out = strndup(start, len);
	return *out ? 0 : err_set(-ENOMEM, "out of memory reading a store's name");
}

/* A scheme or a key: a letter, then letters, digits, '_' or '-'. */
static size_t word_len(const char *s)
{
	size_t len = 0;

	if (!isalpha((unsigned char)s[0]))
		return 0;
	while (isalnum((unsigned char)s[len]) || s[len] == '_' || s[len] == '-')
		len++;
	return len;
}

static bool is_param(const char *s)
{
	size_t len = word_len(s);

	return len && s[len] == '=';
}

static size_t value_len(const char *s)
{
	return strcspn(s, ",()");
}

static int parse_param(struct parser *p, struct spec *s)
{
	size_t key_len = word_len(p->at), len;
	struct spec_param *param;
	int rc;

	if (s->nr_params == MAX_PARAMS)
		return wrong(p, "too many key=value parts");
	for (size_t i = 0; i < s->nr_params; i++)
		if (strlen(s->param[i].key) == key_len &&
		    strncmp(s->param[i].key, p->at, key_len) == 0)
			return wrong(p, "a key is given twice");
	param = &s->param[s->nr_params++];
	rc = take_text(p->at, key_len, &param->key);
	if (rc)
		return rc;
	p->at += key_len + 1;
	len = value_len(p->at);
	if (len == 0)
		return wrong(p, "a value is missing");
	rc = take_text(p->at, len, &param->value);
	p->at += len;
	return rc;
}

static int parse_leaf(struct parser *p, struct spec *s)
{
	size_t len = 0;
	int rc;

	if (*p->at == ':') {
		p->at++;
		len = value_len(p->at);
		if (len == 0)
			return wrong(p, "nothing after ':'");
	}
	rc = take_text(p->at, len, &s->rest);
	p->at += len;
	while (!rc && *p->at == ',' && is_param(p->at + 1)) {
		p->at++;
		rc = parse_param(p, s);
	}
	return rc;
}

static int parse_wrapper(struct parser *p, struct spec *s)
{
	int rc = take_text(p->at, 0, &s->rest);

	do {
		p->at++; /* '(' or ',' */
		if (rc)
			return rc;
		if (s->nr_kids == SPEC_MAX_KIDS)
			return wrong(p, "too many stores in one wrapper");
		if (is_param(p->at)) {
			rc = parse_param(p, s);
			continue;
		}
		rc = parse_node(p, &s->kid[s->nr_kids]);
		if (rc)
			return rc;
		s->nr_kids++;
	} while (*p->at == ',');
	if (rc)
		return rc;
	if (*p->at != ')')
		return wrong(p, "')' is missing");
	p->at++;
	return 0;
}

static int parse_node(struct parser *p, struct spec **out)
{
	size_t len = word_len(p->at);
	struct spec *s;
	int rc;

	if (len == 0)
		return wrong(p, "a store's name is missing");
	if (p->depth == SPEC_MAX_DEPTH || p->nr_nodes == SPEC_MAX_NODES)
		return wrong(p, "too many stores");
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(-ENOMEM, "out of memory reading a store's name");
	p->depth++;
	p->nr_nodes++;
	rc = take_text(p->at, len, &s->scheme);
	p->at += len;
	if (!rc)
		rc = *p->at == '(' ? parse_wrapper(p, s) : parse_leaf(p, s);
	p->depth--;
	if (rc) {
		spec_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

int spec_parse(const char *text, struct spec **out)
{
	struct parser p = {.text = text, .at = text};
	struct spec *s = NULL;
	int rc;

	*out = NULL;
	if (strlen(text) > SPEC_MAX_CHARS)
		return err_set(-EINVAL, "'%.40s...' names a store in more than %d characters", text,
			       SPEC_MAX_CHARS);
	rc = parse_node(&p, &s);
	if (!rc && *p.at)
		rc = wrong(&p, "something is left over");
	if (rc) {
		spec_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

void spec_free(struct spec *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->nr_kids; i++)
		spec_free(s->kid[i]);
	for (size_t i = 0; i < s->nr_params; i++) {
		free(s->param[i].key);
		free(s->param[i].value);
	}
	free(s->scheme);
	free(s->rest);
	free(s);
}

const char *spec_param(const struct spec *s, const char *key)
{
	for (size_t i = 0; i < s->nr_params; i++)
		if (strcmp(s->param[i].key, key) == 0)
			return s->param[i].value;
	return NULL;
}

static bool copy_params(const struct spec *s, struct spec *to)
{
	for (size_t i = 0; i < s->nr_params; i++) {
		struct spec_param *p = &to->param[to->nr_params++];

		p->key = strdup(s->param[i].key);
		p->value = strdup(s->param[i].value);
		if (!p->key || !p->value)
			return false;
	}
	return true;
}

struct spec *spec_copy(const struct spec *s)
{
	struct spec *to = calloc(1, sizeof(*to));
	bool whole;

	if (!to)
		return NULL;
	to->scheme = strdup(s->scheme);
	to->rest = strdup(s->rest);
	whole = to->scheme && to->rest && copy_params(s, to);
	for (size_t i = 0; whole && i < s->nr_kids; i++) {
		to->kid[i] = spec_copy(s->kid[i]);
		whole = to->kid[i];
		to->nr_kids += whole;
	}
	if (whole)
		return to;
	spec_free(to);
	return NULL;
}

static void put(char **at, char *end, const char *text)
{
	int n = snprintf(*at, (size_t)(end - *at), "%s", text);

	*at += n < end - *at ? n : end - *at - 1;
}

static void put_spec(const struct spec *s, char **at, char *end)
{
	const char *before = s->nr_kids ? "(" : ",";

	put(at, end, s->scheme);
	put(at, end, s->rest[0] ? ":" : "");
	put(at, end, s->rest);
	for (size_t i = 0; i < s->nr_params; i++, before = ",") {
		put(at, end, before);
		put(at, end, s->param[i].key);
		put(at, end, "=");
		put(at, end, s->param[i].value);
	}
	for (size_t i = 0; i < s->nr_kids; i++, before = ",") {
		put(at, end, before);
		put_spec(s->kid[i], at, end);
	}
	put(at, end, s->nr_kids ? ")" : "");
}

char *spec_format(const struct spec *s, char *buf, size_t buf_bytes)
{
	char *at = buf;

	put_spec(s, &at, buf + buf_bytes);
	return buf;
}
