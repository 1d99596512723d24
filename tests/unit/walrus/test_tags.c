/* Tags as text and as XML: what is taken, what is refused, and that one form is the other's
 * inverse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tags.h"

static const struct {
	const char *text;
	int code;
	size_t count;
	const char *written;
} texts[] = {
	{ "", 0, 0, "" },
	{ "a=1", 0, 1, "a=1" },
	{ "a=1&b", 0, 2, "a=1&b=" },
	{ "a=1&&b=2&", 0, 2, "a=1&b=2" },
	{ "a%20b+c=%C3%A9", 0, 1, "a%20b%20c=%C3%A9" },
	{ "x-._:/@=%2B%3D", 0, 1, "x-._%3A%2F%40=%2B%3D" },
	{ "a=1&a=2", ERR_INVALID_TAG, 0, NULL },
	{ "=1", ERR_INVALID_TAG, 0, NULL },
	{ "aws:x=1", ERR_INVALID_TAG, 0, NULL },
	{ "AWS%3Ax=1", ERR_INVALID_TAG, 0, NULL },
	{ "a=%21", ERR_INVALID_TAG, 0, NULL },
	{ "a%3Cb=1", ERR_INVALID_TAG, 0, NULL },
	{ "a=%FF", ERR_INVALID_TAG, 0, NULL },
	{ "a=%00", ERR_INVALID_ARGUMENT, 0, NULL },
	{ "a=%zz", ERR_INVALID_ARGUMENT, 0, NULL },
	{ "a&b&c&d&e&f&g&h&i&j", 0, 10, "a=&b=&c=&d=&e=&f=&g=&h=&i=&j=" },
	{ "a&b&c&d&e&f&g&h&i&j&k", ERR_BAD_REQUEST, 0, NULL },
};

static void
test_texts(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		struct tags tags;
		struct err e = { 0 };
		int r = tags_parse(str_of(texts[i].text), TAGS_OF_OBJECT_MAX, arena, &tags, &e);

		if (r != texts[i].code)
			fail_msg("%s: %s %s", texts[i].text, fault_name(r), e.text);
		if (r < 0)
			continue;
		tags_format(&tags, &out);
		assert_int_equal(tags.count, texts[i].count);
		assert_string_equal(strbuf_c(&out), texts[i].written);
	}
}

static int
parse_xml(const char *inner, struct arena *arena, const struct tags **ret)
{
	char *text = arena_printf(arena, "<Tagging>%s</Tagging>", inner);
	const void *value = NULL;
	struct err e = { 0 };
	int r = bucket_tags_parse(str_of(text), arena, &value, &e);

	*ret = value;
	return r;
}

static char *
tag_xml(struct arena *arena, size_t key_length, const char *character, size_t value_length)
{
	_cleanup_strbuf_ struct strbuf s = STRBUF_INIT;

	strbuf_adds(&s, "<TagSet><Tag><Key>");
	while (key_length--)
		strbuf_adds(&s, character);
	strbuf_adds(&s, "</Key><Value>");
	while (value_length--)
		strbuf_adds(&s, character);
	strbuf_adds(&s, "</Value></Tag></TagSet>");
	return arena_str(arena, strbuf_str(&s));
}

static void
test_xml(void **state)
{
	_cleanup_arena_ struct arena *a = arena_new(0);
	const struct tags *tags;

	assert_int_equal(parse_xml("<TagSet/>", a, &tags), 0);
	assert_int_equal(tags->count, 0);
	assert_int_equal(parse_xml("", a, &tags), ERR_MALFORMED_XML);
	assert_int_equal(parse_xml("<TagSet><X/></TagSet>", a, &tags), ERR_MALFORMED_XML);
	assert_int_equal(
	    parse_xml("<TagSet><Tag><Key>k</Key></Tag></TagSet>", a, &tags), ERR_MALFORMED_XML);
	/* lengths are of characters, not of bytes */
	assert_int_equal(parse_xml(tag_xml(a, 128, "\xc3\xa9", 256), a, &tags), 0);
	assert_non_null(tags_find(tags, tags->items[0].key));
	assert_null(tags_find(tags, "other"));
	assert_int_equal(parse_xml(tag_xml(a, 129, "a", 1), a, &tags), ERR_INVALID_TAG);
	assert_int_equal(parse_xml(tag_xml(a, 1, "a", 257), a, &tags), ERR_INVALID_TAG);
	assert_int_equal(parse_xml(tag_xml(a, 9999, "a", 1), a, &tags), ERR_INVALID_TAG);
	assert_int_equal(parse_xml(tag_xml(a, 0, "a", 1), a, &tags), ERR_INVALID_TAG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_xml),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
