/* Two structs as one, and structs as Query parameters. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "net/url.h"
#include "test_api/merge.api.h"

/* "A=1&B=2", nothing escaped */
static void
read_order(struct arena *arena, const char *text, struct merge_order *ret)
{
	struct form form = { 0 };
	struct err e = { 0 };

	assert_int_equal(form_parse(str_of(text), 100, arena, &form, &e), 0);
	if (codec_from_query(&merge_order_shape, &form, NULL, arena, ret, &e) < 0)
		fail_msg("%s: %s", text, e.text);
}

static const char *
query_of(struct arena *arena, const struct merge_order *order)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct form form = { 0 };

	codec_to_query(&merge_order_shape, order, arena, &form);
	for (size_t i = 0; i < form.count; i++) {
		strbuf_addf(&out, "%s%s=", i ? "&" : "", form.fields[i].name);
		strbuf_addstr(&out, form.fields[i].value);
	}
	return arena_strdup(arena, strbuf_c(&out));
}

static void
query_is_the_way_back(void **state)
{
	static const char *const cases[] = {
		"Count=1",
		"Count=0",
		"Count=1&Text=",
		"Count=1&Text=a&Flag=false&Offset=0",
		"Count=1&Offset=-5&At=2010-01-01T00:00:00.000Z&Data=aGVsbG8=",
		"Count=1&Place.Zone=z&Place.Strict=true",
		"Count=1&Name.1=a&Name.2=b",
		"Count=1&Disk.1.Device=sda&Disk.1.Size=4&Disk.1.Tag.1.Name=n&Disk.2.Device=sdb",
		"Count=1&Card.1.Index=0&Card.2.Address=x&Secret=s",
	};
	_cleanup_arena_ struct arena *arena = arena_new(0);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct merge_order order;

		read_order(arena, cases[i], &order);
		order.note = "not said";
		assert_string_equal(query_of(arena, &order), cases[i]);
	}
}

static void
what_is_there_comes_first(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct form_field own[] = { { .name = "Action", .value = STR("X") } };
	struct form form = { own, 1 };
	struct merge_order order;

	(void)state;
	read_order(arena, "Count=1", &order);
	codec_to_query(&merge_order_shape, &order, arena, &form);
	assert_int_equal(form.count, 2);
	assert_string_equal(form.fields[0].name, "Action");
	assert_string_equal(form.fields[1].name, "Count");
}

static void
upper_wins(void **state)
{
	static const struct {
		const char *upper, *lower, *merged;
	} cases[] = {
		{ "Count=1", "Count=2", "Count=1" },
		{ "Count=0", "Count=2", "Count=0" },
		{ "Count=1", "Count=2&Text=low&Flag=true&Offset=0&Data=aGVsbG8=",
		    "Count=1&Text=low&Flag=true&Offset=0&Data=aGVsbG8=" },
		{ "Count=1&Text=up&Flag=false&Offset=7", "Count=2&Text=low&Flag=true&Offset=8",
		    "Count=1&Text=up&Flag=false&Offset=7" },
		{ "Count=1&Text=", "Count=2&Text=low", "Count=1&Text=" },
		{ "Count=1&At=2010-01-01T00:00:00.000Z", "Count=2&At=2011-01-01T00:00:00.000Z",
		    "Count=1&At=2010-01-01T00:00:00.000Z" },
		/* nested */
		{ "Count=1", "Count=2&Place.Zone=z", "Count=1&Place.Zone=z" },
		{ "Count=1&Place.Group=g", "Count=2&Place.Zone=z&Place.Group=h",
		    "Count=1&Place.Zone=z&Place.Group=g" },
		{ "Count=1&Place.Strict=false", "Count=2&Place.Strict=true",
		    "Count=1&Place.Strict=false" },
		/* lists without a key are one or the other */
		{ "Count=1", "Count=2&Name.1=a&Name.2=b", "Count=1&Name.1=a&Name.2=b" },
		{ "Count=1&Name.1=c", "Count=2&Name.1=a&Name.2=b", "Count=1&Name.1=c" },
		/* those with one are joined */
		{ "Count=1&Disk.1.Device=b&Disk.1.Size=9",
		    "Count=2&Disk.1.Device=a&Disk.1.Size=1&Disk.2.Device=c",
		    "Count=1&Disk.1.Device=a&Disk.1.Size=1&Disk.2.Device=c&Disk.3.Device=b&"
		    "Disk.3.Size=9" },
		{ "Count=1&Disk.1.Device=a", "Count=2&Disk.1.Device=a&Disk.1.Size=1",
		    "Count=1&Disk.1.Device=a" },
		{ "Count=1&Disk.1.Device=a&Disk.1.Tag.1.Name=x&Disk.1.Tag.1.Value=up",
		    "Count=2&Disk.1.Device=a&Disk.1.Tag.1.Name=x&Disk.1.Tag.1.Value=low&"
		    "Disk.1.Tag.2.Name=y",
		    "Count=1&Disk.1.Device=a&Disk.1.Tag.1.Name=x&Disk.1.Tag.1.Value=up&"
		    "Disk.1.Tag.2.Name=y" },
		/* text that is absent is like nothing; a number that is absent is 0 */
		{ "Count=1&Disk.1.Size=2", "Count=2&Disk.1.Size=1",
		    "Count=1&Disk.1.Size=1&Disk.2.Size=2" },
		{ "Count=1&Card.1.Address=up", "Count=2&Card.1.Index=0&Card.1.Address=low",
		    "Count=1&Card.1.Address=up" },
		{ "Count=1&Card.1.Index=1", "Count=2&Card.1.Index=0",
		    "Count=1&Card.1.Index=0&Card.2.Index=1" },
	};
	_cleanup_arena_ struct arena *arena = arena_new(0);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct merge_order upper, lower, merged;
		const char *before;
		struct err e = { 0 };

		read_order(arena, cases[i].upper, &upper);
		read_order(arena, cases[i].lower, &lower);
		before = query_of(arena, &lower);
		assert_int_equal(
		    codec_merge(&merge_order_shape, &upper, &lower, arena, &merged, &e), 0);
		assert_string_equal(query_of(arena, &merged), cases[i].merged);
		/* neither is changed */
		assert_string_equal(query_of(arena, &upper), cases[i].upper);
		assert_string_equal(query_of(arena, &lower), before);
	}
}

static void
a_joined_list_has_its_limit(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct merge_order upper, lower, merged;
	struct err e = { 0 };

	(void)state;
	read_order(arena, "Count=1&Disk.1.Device=a&Disk.2.Device=b", &upper);
	read_order(arena, "Count=1&Disk.1.Device=b&Disk.2.Device=c", &lower);
	assert_int_equal(codec_merge(&merge_order_shape, &upper, &lower, arena, &merged, &e), 0);
	assert_int_equal(merged.disks.count, 3);
	read_order(arena, "Count=1&Disk.1.Device=d&Disk.2.Device=c", &lower);
	assert_int_equal(codec_merge(&merge_order_shape, &upper, &lower, arena, &merged, &e),
	    ERR_INVALID_PARAMETER_VALUE);
	assert_string_equal(
	    e.text, "Value for parameter Disk is invalid. Expecting at most 3 values.");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(query_is_the_way_back),
		cmocka_unit_test(what_is_there_comes_first),
		cmocka_unit_test(upper_wins),
		cmocka_unit_test(a_joined_list_has_its_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
