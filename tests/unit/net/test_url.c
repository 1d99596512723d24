/* URLs, escapes and forms: what they mean, and that what is malformed is said to be. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "net/url.h"

static void
urls(void **state)
{
	static const struct {
		const char *text, *scheme, *host;
		uint16_t port;
		const char *path, *query;
	} good[] = {
		{ "http://a", "http", "a", 80, "/", "" },
		{ "https://a.b:8773/x/y?q=1", "https", "a.b", 8773, "/x/y", "q=1" },
		{ "HTTP://[::1]:80/", "http", "::1", 80, "/", "" },
		{ "https://[fe80::1]?x", "https", "fe80::1", 443, "/", "x" },
		{ "unix:///run/x.sock", "unix", "", 0, "/run/x.sock", "" },
	};
	static const char *const bad[] = { "", "a", "http:", "http://", "http:///x", "ftp://a/",
		"http://a:0/", "http://a:99999/", "http://a:/", "http://a:x/", "http://[::1/",
		"http://[::1]x/", "http://u@a/", "http://a/ b", "http://a/#f", "http://a/\n",
		"unix://host/x" };
	struct url url;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(url_parse(good[i].text, &url, NULL), 0);
		assert_string_equal(url.scheme, good[i].scheme);
		assert_string_equal(url.host, good[i].host);
		assert_int_equal(url.port, good[i].port);
		assert_true(str_is(url.path, good[i].path));
		assert_true(str_is(url.query, good[i].query));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(url_parse(bad[i], &url, NULL), ERR_INVALID);
}

static void
escapes_are_inverse(void **state)
{
	_cleanup_strbuf_ struct strbuf all = STRBUF_INIT, encoded = STRBUF_INIT,
				       decoded = STRBUF_INIT;

	for (int c = 0; c < 256; c++)
		strbuf_addc(&all, (char)c);
	url_encode(&encoded, strbuf_str(&all), false);
	assert_int_equal(url_decode(&decoded, strbuf_str(&encoded), false, NULL), 0);
	assert_true(str_eq(strbuf_str(&all), strbuf_str(&decoded)));
	strbuf_reset(&encoded);
	url_encode(&encoded, STR("a/b c~_-.*"), true);
	assert_string_equal(strbuf_c(&encoded), "a/b%20c~_-.%2A");
	strbuf_reset(&encoded);
	url_encode(&encoded, STR("a/b"), false);
	assert_string_equal(strbuf_c(&encoded), "a%2Fb");
}

static void
bad_escapes(void **state)
{
	static const char *const bad[] = { "%", "%1", "%g1", "%1g", "a%", "a%2", "%%20" };
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(url_decode(&out, str_of(bad[i]), true, NULL), ERR_INVALID);
	assert_int_equal(url_decode(&out, STR("a+b%2b"), true, NULL), 0);
	assert_string_equal(strbuf_c(&out), "a b+");
	strbuf_reset(&out);
	assert_int_equal(url_decode(&out, STR("a+b"), false, NULL), 0);
	assert_string_equal(strbuf_c(&out), "a+b");
}

static void
forms(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct form form = { 0 };

	assert_int_equal(
	    form_parse(STR("Action=Run&a.1=x+y&&b=%3D%26&empty=&bare"), 10, arena, &form, NULL), 0);
	assert_int_equal(form.count, 5);
	assert_string_equal(form_find(&form, "a.1"), "x y");
	assert_string_equal(form_find(&form, "b"), "=&");
	assert_string_equal(form_find(&form, "empty"), "");
	assert_string_equal(form_find(&form, "bare"), "");
	assert_null(form_find(&form, "absent"));
	assert_true(str_is(form.fields[2].raw_value, "%3D%26"));
	/* a second part appends */
	assert_int_equal(form_parse(STR("c=d"), 6, arena, &form, NULL), 0);
	assert_int_equal(form.count, 6);
	assert_string_equal(form_find(&form, "c"), "d");
	assert_string_equal(form_find(&form, "Action"), "Run");
	assert_int_equal(form_parse(STR("one=more"), 6, arena, &form, NULL), ERR_LIMIT);
}

static void
bad_forms(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(4096);
	_cleanup_strbuf_ struct strbuf large = STRBUF_INIT;
	struct form form = { 0 };

	assert_int_equal(
	    form_parse(STR("a=%zz"), 9, arena, &form, NULL), ERR_MALFORMED_QUERY_STRING);
	assert_int_equal(
	    form_parse(STR("a=%00"), 9, arena, &form, NULL), ERR_MALFORMED_QUERY_STRING);
	assert_int_equal(form_parse(STR("a&b&c"), 2, arena, &form, NULL), ERR_LIMIT);
	assert_int_equal(form_parse(STR(""), 2, arena, &form, NULL), 0);
	assert_int_equal(form.count, 0);
	for (int i = 0; i < 8192; i++)
		strbuf_addc(&large, 'x');
	assert_int_equal(form_parse(strbuf_str(&large), 2, arena, &form, NULL), ERR_LIMIT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls),
		cmocka_unit_test(escapes_are_inverse),
		cmocka_unit_test(bad_escapes),
		cmocka_unit_test(forms),
		cmocka_unit_test(bad_forms),
	};

	return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
