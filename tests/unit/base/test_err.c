/* The error value, and the table of faults: every row is reachable both ways and fit for the wire.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"

static void
set_wrap_and_clear(void **state)
{
	struct err e = { 0 };

	assert_int_equal(err_set(&e, ERR_NOT_FOUND, "no volume '%s'", "vol-1"), ERR_NOT_FOUND);
	int line = __LINE__ - 1;
	assert_int_equal(err_wrap(&e, "exporting '%s'", "vol-1"), ERR_NOT_FOUND);
	assert_string_equal(e.text, "exporting 'vol-1': no volume 'vol-1'");
	assert_int_equal(e.line, line);
	assert_non_null(strstr(e.file, "test_err.c"));
	assert_int_equal(e.number, 0);
	err_clear(&e);
	assert_int_equal(e.code, 0);
	assert_string_equal(e.text, "");
	assert_int_equal(err_set(NULL, ERR_LIMIT, "nobody cares"), ERR_LIMIT);
	assert_int_equal(err_set_errno(NULL, ENOENT, "nobody cares"), ERR_NOT_FOUND);
	err_clear(NULL);
}

static void
errno_chooses_the_code(void **state)
{
	static const struct {
		int number, code;
	} cases[] = {
		{ ENOENT, ERR_NOT_FOUND },
		{ EEXIST, ERR_EXISTS },
		{ ENOSPC, ERR_NO_SPACE },
		{ EDQUOT, ERR_NO_SPACE },
		{ EACCES, ERR_DENIED },
		{ EPERM, ERR_DENIED },
		{ ETIMEDOUT, ERR_TIMEOUT },
		{ ENOMEM, ERR_LIMIT },
		{ ECONNREFUSED, ERR_UNAVAILABLE },
		{ ECONNRESET, ERR_UNAVAILABLE },
		{ EPIPE, ERR_UNAVAILABLE },
		{ EHOSTUNREACH, ERR_UNAVAILABLE },
		{ EIO, ERR_IO },
		{ 99999, ERR_IO },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = { 0 };

		assert_int_equal(err_set_errno(&e, cases[i].number, "x"), cases[i].code);
		assert_int_equal(e.number, cases[i].number);
	}
	struct err e;
	err_set_errno(&e, ENOENT, "cannot open '%s'", "/x");
	assert_string_equal(e.text, "cannot open '/x': No such file or directory");
}

static void
long_texts_are_cut(void **state)
{
	char text[2000];
	struct err e;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	err_set(&e, ERR_INVALID, "%s", text);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	err_wrap(&e, "%s", text);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	err_set_errno(&e, EIO, "%s", text);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	assert_int_equal(e.code, ERR_IO);
}

static void
an_error_may_quote_itself(void **state)
{
	struct err e;

	err_set(&e, ERR_IO, "disk on fire");
	err_set(&e, ERR_UNAVAILABLE, "no answer: %s", e.text);
	assert_string_equal(e.text, "no answer: disk on fire");
	err_wrap(&e, "%.9s", e.text);
	assert_string_equal(e.text, "no answer: no answer: disk on fire");
}

static void
every_fault_has_a_name_and_a_wire_form(void **state)
{
	for (int i = 1; i < FAULT_MAX; i++) {
		const char *code = fault_code(-i);
		int status = fault_status(-i);

		assert_int_equal(fault_from_name(fault_name(-i)), -i);
		if (status != 304 && (status < 400 || status > 599))
			fail_msg("%s has status %d", fault_name(-i), status);
		assert_true(isupper((unsigned char)code[0]));
		for (const char *p = code; *p; p++)
			assert_true(isalnum((unsigned char)*p) || *p == '.');
		if (status >= 500 && status != 500 && status != 501)
			assert_true(fault_is_retryable(-i));
	}
}

static void
unknown_codes_read_as_internal(void **state)
{
	static const int unknown[] = { 0, 1, -FAULT_MAX, -100000, 100000 };

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		assert_int_equal(fault_status(unknown[i]), 500);
		assert_string_equal(fault_code(unknown[i]), "InternalError");
	}
	assert_int_equal(fault_from_name("NO_SUCH_FAULT"), ERR_INTERNAL);
	assert_int_equal(fault_from_name(""), ERR_INTERNAL);
}

static void
a_few_rows_that_clients_depend_on(void **state)
{
	assert_string_equal(fault_code(ERR_INSTANCE_NOT_FOUND), "InvalidInstanceID.NotFound");
	assert_int_equal(fault_status(ERR_INSTANCE_NOT_FOUND), 400);
	assert_string_equal(fault_code(ERR_BUCKET_NOT_FOUND), "NoSuchBucket");
	assert_int_equal(fault_status(ERR_BUCKET_NOT_FOUND), 404);
	assert_true(fault_is_retryable(ERR_SLOW_DOWN));
	assert_false(fault_is_retryable(ERR_ACCESS_DENIED));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_wrap_and_clear),
		cmocka_unit_test(errno_chooses_the_code),
		cmocka_unit_test(long_texts_are_cut),
		cmocka_unit_test(an_error_may_quote_itself),
		cmocka_unit_test(every_fault_has_a_name_and_a_wire_form),
		cmocka_unit_test(unknown_codes_read_as_internal),
		cmocka_unit_test(a_few_rows_that_clients_depend_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
