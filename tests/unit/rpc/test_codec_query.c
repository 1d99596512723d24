/* Query parameters to structs: what real clients send, and EC2's words for what is wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "net/url.h"
#include "test_api/sample.api.h"

/* "A=1&B=2", nothing escaped */
static struct form
form_of(struct arena *arena, const char *text)
{
	struct form form = { 0 };
	struct str rest = str_of(text), one;

	form.fields = arena_alloc(arena, (strlen(text) + 1) * sizeof(*form.fields));
	while (rest.n && str_split(&rest, '&', &one)) {
		struct str name = { 0 };

		(void)str_split(&one, '=', &name);
		form.fields[form.count].name = arena_str(arena, name);
		form.fields[form.count++].value = one;
	}
	return form;
}

static int
decode(struct arena *arena, const struct shape *shape, const char *query, void *out, struct err *e)
{
	static const char *const ignore[] = { "Action", "Version", "SecurityToken", NULL };
	struct form form = form_of(arena, query);

	return codec_from_query(shape, &form, ignore, arena, out, e);
}

static void
accepts_what_clients_send(void **state)
{
	/* the query, and what the log line of the result then says */
	static const struct {
		const char *query, *log;
	} cases[] = {
		{ "Text=a", "text=a" },
		{ "Action=Everything&Version=2016-11-15&SecurityToken=&Text=a", "text=a" },
		{ "Text.1=a", "text=a" },
		{ "Text=a&Text=a", "text=a" },
		{ "Text=a&Flag=true", "text=a flag=true" },
		{ "Text=a&Flag=True", "text=a flag=true" },
		{ "Text=a&Flag=0", "text=a flag=false" },
		{ "Text=a&Count=1000", "text=a count=1000" },
		{ "Text=a&Offset=-5", "text=a offset=-5" },
		{ "Text=a&Offset=-2147483648", "text=a offset=-2147483648" },
		{ "Text=a&Big=18446744073709551615", "text=a big=18446744073709551615" },
		{ "Text=a&SignedNumber=-9223372036854775808",
		    "text=a distance=-9223372036854775808" },
		{ "Text=a&At=2010-01-01T00:00:00Z", "text=a at=2010-01-01T00:00:00.000Z" },
		{ "Text=a&Data=aGVsbG8=", "text=a data=\"[5 bytes]\"" },
		{ "Text=a&Password=secret", "text=a" },
		{ "Text=a&Known=false", "text=a" },
		{ "Text=a&Known.Configured=0&Known.1.Deep=false", "text=a" },
		{ "Text=a&Idle.1.Whatever=yes", "text=a" },
		{ "Text=a&Mode=slow", "text=a mode=slow" },
		{ "Text=a b", "text=\"a b\"" },
		{ "Text=a&InstanceId=i-1", "text=a ids=[1]" },
		{ "Text=a&InstanceId=", "text=a" },
		{ "Text=a&InstanceId.0=i-1", "text=a ids=[1]" },
		{ "Text=a&InstanceId.7=i-1&InstanceId.30=i-2", "text=a ids=[2]" },
		{ "Text=a&InstanceId.item.1=i-1&InstanceId.item.2=i-2", "text=a ids=[2]" },
		{ "Text=a&Member.member.1=x&Member.member.2=y", "text=a members=[2]" },
		{ "Text=a&Number.1=4", "text=a numbers=[1]" },
		{ "Text=a&Filter.1.Name=n&Filter.1.Value.1=v", "text=a filters=[1]" },
		{ "Text=a&BlockDeviceMapping.1.DeviceName=sda&BlockDeviceMapping.1.Ebs.VolumeSize="
		  "5",
		    "text=a devices=[1]" },
		{ "Text=a&Ebs.VolumeSize=16384&Ebs.Encrypted=false",
		    "text=a ebs.volume_size=16384 ebs.encrypted=false" },
		{ "Text=a&Tree.Child.1.Child.1.Name=leaf", "text=a tree.children=[1]" },
		{ "Text=a&Note=", "text=a note=\"\"" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		_cleanup_strbuf_ struct strbuf log = STRBUF_INIT;
		struct everything_in in;
		struct err e = { 0 };
		int r = decode(arena, &everything_in_shape, cases[i].query, &in, &e);

		if (r < 0)
			fail_msg("%s: %s", cases[i].query, e.text);
		codec_to_log(&everything_in_shape, &in, &log);
		if (strstr(cases[i].log, "bytes"))
			assert_string_equal(strbuf_c(&log), "text=a data=[5 bytes]");
		else
			assert_string_equal(strbuf_c(&log), cases[i].log);
	}
}

static void
refuses_in_the_words_of_ec2(void **state)
{
	static const struct {
		const char *query;
		int code;
		const char *text;
	} cases[] = {
		{ "", ERR_MISSING_PARAMETER, "The request must contain the parameter Text" },
		{ "Text=", ERR_MISSING_PARAMETER, "The request must contain the parameter Text" },
		{ "text=a", ERR_UNKNOWN_PARAMETER, "The parameter text is not recognized" },
		{ "Text=a&Known=true", ERR_UNSUPPORTED_OPERATION,
		    "The parameter Known is not supported" },
		{ "Text=a&Known.A=false&Known.B=1", ERR_UNSUPPORTED_OPERATION,
		    "The parameter Known.B is not supported" },
		{ "Text=a&Inner=1", ERR_UNKNOWN_PARAMETER,
		    "The parameter Inner is not recognized" },
		{ "Text=a&Nonsense=1", ERR_UNKNOWN_PARAMETER,
		    "The parameter Nonsense is not recognized" },
		{ "Text=a&Action.1=1", ERR_UNKNOWN_PARAMETER,
		    "The parameter Action.1 is not recognized" },
		{ "Text=a&Count=x", ERR_INVALID_PARAMETER_VALUE,
		    "Value (x) for parameter Count is invalid. Expecting a whole number." },
		{ "Text=a&Count=", ERR_INVALID_PARAMETER_VALUE,
		    "Value () for parameter Count is invalid. Expecting a whole number." },
		{ "Text=a&Count=0", ERR_INVALID_PARAMETER_VALUE,
		    "Value (0) for parameter Count is invalid. Expecting a value from 1 to 1000." },
		{ "Text=a&Count=1001", ERR_INVALID_PARAMETER_VALUE,
		    "Value (1001) for parameter Count is invalid. "
		    "Expecting a value from 1 to 1000." },
		{ "Text=a&Count=-1", ERR_INVALID_PARAMETER_VALUE,
		    "Value (-1) for parameter Count is invalid. "
		    "Expecting a whole number from 0 of 32 bits." },
		{ "Text=a&Offset=2147483648", ERR_INVALID_PARAMETER_VALUE,
		    "Value (2147483648) for parameter Offset is invalid. "
		    "Expecting a whole number of 32 bits." },
		{ "Text=a&Big=18446744073709551616", ERR_INVALID_PARAMETER_VALUE,
		    "Value (18446744073709551616) for parameter Big is invalid. "
		    "Expecting a whole number." },
		{ "Text=a&Flag=yes", ERR_INVALID_PARAMETER_VALUE,
		    "Value (yes) for parameter Flag is invalid. Expecting true or false." },
		{ "Text=a&Mode=medium", ERR_INVALID_PARAMETER_VALUE,
		    "Value (medium) for parameter Mode is invalid. Expecting one of: fast|slow." },
		{ "Text=a&At=yesterday", ERR_INVALID_PARAMETER_VALUE,
		    "Value (yesterday) for parameter At is invalid. "
		    "Expecting a time such as 2010-01-01T00:00:00.000Z." },
		{ "Text=a&Data=!!", ERR_INVALID_PARAMETER_VALUE,
		    "Value (!!) for parameter Data is invalid. Expecting base64." },
		{ "Text=a&Password=123456789", ERR_INVALID_PARAMETER_VALUE,
		    "Value for parameter Password is invalid. Expecting at most 8 characters." },
		{ "Text=a\xff", ERR_INVALID_PARAMETER_VALUE,
		    "Value for parameter Text is invalid. Expecting UTF-8 text." },
		{ "Text=a\x01", ERR_INVALID_PARAMETER_VALUE,
		    "Value (a\x01) for parameter Text is invalid. "
		    "Expecting text without control characters." },
		{ "Text=\xef\xbf\xbf", ERR_INVALID_PARAMETER_VALUE,
		    "Value (\xef\xbf\xbf) for parameter Text is invalid. "
		    "Expecting text without control characters." },
		{ "Text=a&Text=b", ERR_INVALID_PARAMETER_VALUE,
		    "Value (b) for parameter Text is invalid. "
		    "The parameter is given more than once." },
		{ "Text=a&Text.1.2=b", ERR_UNKNOWN_PARAMETER,
		    "The parameter Text.1.2 is not recognized" },
		{ "Text.x=a", ERR_UNKNOWN_PARAMETER, "The parameter Text.x is not recognized" },
		{ "Text=a&InstanceId.1=1&InstanceId.2=2&InstanceId.3=3&InstanceId.4=4&InstanceId.5="
		  "5"
		  "&InstanceId.6=6",
		    ERR_INVALID_PARAMETER_VALUE,
		    "Value (6) for parameter InstanceId.6 is invalid. Expecting at most 5 "
		    "values." },
		{ "Text=a&InstanceId.x=1", ERR_UNKNOWN_PARAMETER,
		    "The parameter InstanceId.x is not recognized" },
		{ "Text=a&InstanceId.1.2=1", ERR_UNKNOWN_PARAMETER,
		    "The parameter InstanceId.1.2 is not recognized" },
		{ "Text=a&Filter.1.Value.1=v", ERR_MISSING_PARAMETER,
		    "The request must contain the parameter Filter.1.Name" },
		{ "Text=a&Filter.1=v", ERR_INVALID_PARAMETER_VALUE,
		    "Value (v) for parameter Filter.1 is invalid. Expecting its members." },
		{ "Text=a&Filter=v", ERR_INVALID_PARAMETER_VALUE,
		    "Value (v) for parameter Filter is invalid. Expecting its members." },
		{ "Text=a&Filter.Name=v", ERR_UNKNOWN_PARAMETER,
		    "The parameter Filter.Name is not recognized" },
		{ "Text=a&Ebs=5", ERR_INVALID_PARAMETER_VALUE,
		    "Value (5) for parameter Ebs is invalid. Expecting its members." },
		{ "Text=a&Ebs.VolumeSize=16385", ERR_INVALID_PARAMETER_VALUE,
		    "Value (16385) for parameter Ebs.VolumeSize is invalid. "
		    "Expecting a value from 1 to 16384." },
		{ "Text=a&Ebs.Nonsense=1", ERR_UNKNOWN_PARAMETER,
		    "The parameter Ebs.Nonsense is not recognized" },
		{ "Text=a&.=1", ERR_UNKNOWN_PARAMETER, "The parameter . is not recognized" },
		{ "Text=a&=1", ERR_UNKNOWN_PARAMETER, "The parameter  is not recognized" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		struct everything_in in;
		struct err e = { 0 };
		int r = decode(arena, &everything_in_shape, cases[i].query, &in, &e);

		if (r != cases[i].code)
			fail_msg("%s: %d %s", cases[i].query, r, e.text);
		assert_string_equal(e.text, cases[i].text);
	}
}

static void
required_of_every_type(void **state)
{
	static const struct {
		const char *query, *text;
	} cases[] = {
		{ "Count=&InstanceId.1=a&InstanceId.2=b&Ebs.VolumeSize=1",
		    "The request must contain the parameter Count" },
		{ "Count.1=&InstanceId.1=a&InstanceId.2=b&Ebs.VolumeSize=1",
		    "The request must contain the parameter Count" },
		{ "Count=1&Ebs.VolumeSize=1", "The request must contain the parameter InstanceId" },
		{ "Count=1&Ebs.VolumeSize=1&InstanceId=",
		    "The request must contain the parameter InstanceId" },
		{ "Count=1&Ebs.VolumeSize=1&InstanceId.1=a",
		    "Value (a) for parameter InstanceId.1 is invalid. Expecting at least 2 "
		    "values." },
		{ "Count=1&InstanceId.1=a&InstanceId.2=b",
		    "The request must contain the parameter Ebs" },
		{ "Count=1&InstanceId.1=a&InstanceId.2=b&Ebs.VolumeSize=1", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		struct need_in in;
		struct err e = { 0 };
		int r = decode(arena, &need_in_shape, cases[i].query, &in, &e);

		assert_int_equal(r < 0, cases[i].text != NULL);
		if (cases[i].text)
			assert_string_equal(e.text, cases[i].text);
	}
}

/* 1, 2, 10 and not 1, 10, 2; leading zeros; the order of bare ones is the order sent. */
static void
lists_keep_their_order(void **state)
{
	static const struct {
		const char *query, *joined;
	} cases[] = {
		{ "InstanceId.10=c&InstanceId.2=b&InstanceId.1=a", "abc" },
		{ "InstanceId.010=c&InstanceId.9=b&InstanceId.0=a", "abc" },
		{ "InstanceId=a&InstanceId=b&InstanceId=c", "abc" },
		{ "InstanceId.99999999999999999999=c&InstanceId.3=b&InstanceId=a", "abc" },
		{ "InstanceId.1=a&InstanceId.01=b", "ab" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		_cleanup_strbuf_ struct strbuf joined = STRBUF_INIT;
		_cleanup_free_ char *query = xasprintf("Text=a&%s", cases[i].query);
		struct everything_in in;
		struct err e = { 0 };

		assert_int_equal(decode(arena, &everything_in_shape, query, &in, &e), 0);
		for (size_t n = 0; n < in.ids.count; n++)
			strbuf_adds(&joined, in.ids.items[n]);
		assert_string_equal(strbuf_c(&joined), cases[i].joined);
	}
}

static void
optional_scalars_say_whether_they_were_there(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct everything_in in;
	struct err e = { 0 };

	assert_int_equal(decode(arena, &everything_in_shape,
			     "Text=a&Offset=0&Flag=false&Filter.2.Name=two&Filter.2.Value.1=x"
			     "&Filter.2.Value.2=y&Filter.1.Name=one",
			     &in, &e),
	    0);
	assert_true(in.has_offset && in.has_flag);
	assert_false(in.has_count || in.has_big || in.has_at);
	assert_null(in.password);
	assert_null(in.ebs);
	assert_int_equal(in.filters.count, 2);
	assert_string_equal(in.filters.items[0].name, "one");
	assert_int_equal(in.filters.items[0].values.count, 0);
	assert_string_equal(in.filters.items[1].values.items[1], "y");
}

/* Structs may hold themselves; the names must not dig a deeper stack than the limit. */
static void
nesting_is_bounded(void **state)
{
	for (unsigned depth = 1; depth < 200; depth++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		_cleanup_strbuf_ struct strbuf query = STRBUF_INIT;
		struct everything_in in;
		struct err e = { 0 };

		strbuf_adds(&query, "Text=a&Tree");
		for (unsigned i = 0; i < depth; i++)
			strbuf_adds(&query, ".Child.1");
		strbuf_adds(&query, ".Name=x");
		assert_int_equal(decode(arena, &everything_in_shape, strbuf_c(&query), &in, &e),
		    depth < 16 ? 0 : ERR_UNKNOWN_PARAMETER);
	}
}

static void
list_limit_is_exact(void **state)
{
	for (unsigned count = 999; count <= 1001; count++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		_cleanup_strbuf_ struct strbuf query = STRBUF_INIT;
		struct everything_in in;
		struct err e = { 0 };

		strbuf_adds(&query, "Text=a");
		for (unsigned i = 1; i <= count; i++)
			strbuf_addf(&query, "&Number.%u=%u", i, i);
		assert_int_equal(decode(arena, &everything_in_shape, strbuf_c(&query), &in, &e),
		    count <= 1000 ? 0 : ERR_INVALID_PARAMETER_VALUE);
		if (count <= 1000)
			assert_int_equal(in.numbers.items[count - 1], count);
	}
}

static void
a_small_arena_is_an_error_not_a_crash(void **state)
{
	for (size_t limit = 16; limit < 4096; limit += 16) {
		_cleanup_arena_ struct arena *outside = arena_new(0), *arena = arena_new(limit);
		struct form form =
		    form_of(outside, "Text=abcdefgh&InstanceId.1=a&InstanceId.2=b&Ebs.VolumeSize=1"
				     "&Filter.1.Name=n&Filter.1.Value.1=v&Data=aGVsbG8=");
		struct everything_in in;
		struct err e = { 0 };
		int r = codec_from_query(&everything_in_shape, &form, NULL, arena, &in, &e);

		assert_true(r == 0 || r == ERR_LIMIT || r == ERR_INVALID_PARAMETER_VALUE);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_what_clients_send),
		cmocka_unit_test(refuses_in_the_words_of_ec2),
		cmocka_unit_test(required_of_every_type),
		cmocka_unit_test(lists_keep_their_order),
		cmocka_unit_test(optional_scalars_say_whether_they_were_there),
		cmocka_unit_test(nesting_is_bounded),
		cmocka_unit_test(list_limit_is_exact),
		cmocka_unit_test(a_small_arena_is_an_error_not_a_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
