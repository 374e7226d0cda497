/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/spec.h"

static struct spec *parse(const char *text)
{
	struct spec *s = NULL;

	assert_int_equal(spec_parse(text, &s), 0);
	assert_non_null(s);
	return s;
}

static void a_leaf_has_scheme_and_rest(void **state)
{
	struct spec *s = parse("ram");

	(void)state;
	assert_string_equal(s->scheme, "ram");
	assert_string_equal(s->rest, "");
	spec_free(s);
	s = parse("shm:/run/rmem.sock");
	assert_string_equal(s->scheme, "shm");
	assert_string_equal(s->rest, "/run/rmem.sock");
	assert_int_equal(s->nr_kids + s->nr_params, 0);
	spec_free(s);
	s = parse("shm:fd=3");
	assert_string_equal(s->rest, "fd=3");
	spec_free(s);
}

static void a_leaf_may_have_parameters(void **state)
{
	struct spec *s = parse("tcp:host:7770,mtu=9000,name=a:b=c");

	(void)state;
	assert_string_equal(s->rest, "host:7770");
	assert_string_equal(spec_param(s, "mtu"), "9000");
	assert_string_equal(spec_param(s, "name"), "a:b=c");
	assert_null(spec_param(s, "mt"));
	spec_free(s);
	s = parse("ram,delay=3");
	assert_string_equal(spec_param(s, "delay"), "3");
	spec_free(s);
}

static void wrappers_nest_and_commas_find_their_owner(void **state)
{
	struct spec *s = parse("mirror(tcp:a:7770,mtu=9000,delay(ram),rdma:b)");

	(void)state;
	assert_string_equal(s->scheme, "mirror");
	assert_int_equal(s->nr_kids, 3);
	assert_string_equal(s->kid[0]->rest, "a:7770");
	assert_string_equal(spec_param(s->kid[0], "mtu"), "9000");
	assert_string_equal(s->kid[1]->kid[0]->scheme, "ram");
	assert_string_equal(s->kid[2]->rest, "b");
	assert_int_equal(s->nr_params, 0);
	spec_free(s);
	s = parse("fault(delay=1us,flip=0.1,tcp:a:1,timeout=3)");
	assert_string_equal(spec_param(s, "delay"), "1us");
	assert_string_equal(spec_param(s, "flip"), "0.1");
	assert_int_equal(s->nr_kids, 1);
	assert_string_equal(spec_param(s->kid[0], "timeout"), "3");
	spec_free(s);
}

static void what_is_no_spec_is_refused_with_place_and_remedy(void **state)
{
	static const char *const wrong[] = {
		"",
		":",
		"shm:",
		"1ram",
		"ram,",
		"ram,ram",
		"ram)",
		"ram x",
		"mirror(",
		"mirror()",
		"mirror(ram",
		"mirror(ram,",
		"mirror(ram,)",
		"mirror(,)",
		"a(b)c",
		"ram,k=",
		"ram,k=1,k=2",
		" ram",
		"-",
		"ram,=1",
		"fault(k=,ram)",
		"fault(k=1,k=2,ram)",
		"fault(k=1,,ram)",
	};
	struct spec *s;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		s = (struct spec *)&wrong;
		err_clear();
		assert_int_equal(spec_parse(wrong[i], &s), -EINVAL);
		assert_null(s);
		assert_non_null(strstr(err_text(-EINVAL), "at character"));
		assert_non_null(strstr(err_text(-EINVAL), "write for example"));
	}
}

static void limits_hold(void **state)
{
	char text[SPEC_MAX_CHARS + 2];
	struct spec *s;

	(void)state;
	memset(text, 'a', sizeof(text));
	text[SPEC_MAX_CHARS] = '\0';
	spec_free(parse(text));
	text[SPEC_MAX_CHARS] = 'a';
	text[SPEC_MAX_CHARS + 1] = '\0';
	assert_int_equal(spec_parse(text, &s), -EINVAL);
	memset(text, '(', SPEC_MAX_CHARS);
	for (int i = 0; i < SPEC_MAX_CHARS; i += 2)
		text[i] = 'a';
	text[SPEC_MAX_CHARS] = '\0';
	assert_int_equal(spec_parse(text, &s), -EINVAL);
	spec_free(parse("m(a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a)"));
	assert_int_equal(spec_parse("m(a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a)", &s), -EINVAL);
	spec_free(parse("a,a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1"));
	assert_int_equal(spec_parse("a,a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1", &s), -EINVAL);
}

static void random_text_is_parsed_or_refused(void **state)
{
	static const char alphabet[] = "ab:(),=/1. ";
	char text[24];
	struct spec *s;

	(void)state;
	srand(1);
	for (int round = 0; round < 100000; round++) {
		size_t len = (size_t)rand() % sizeof(text);

		for (size_t i = 0; i < len; i++)
			text[i] = alphabet[(size_t)rand() % (sizeof(alphabet) - 1)];
		text[len < sizeof(text) ? len : sizeof(text) - 1] = '\0';
		if (spec_parse(text, &s) == 0)
			assert_true(s->scheme && s->rest);
		spec_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_leaf_has_scheme_and_rest),
		cmocka_unit_test(a_leaf_may_have_parameters),
		cmocka_unit_test(wrappers_nest_and_commas_find_their_owner),
		cmocka_unit_test(what_is_no_spec_is_refused_with_place_and_remedy),
		cmocka_unit_test(limits_hold),
		cmocka_unit_test(random_text_is_parsed_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
