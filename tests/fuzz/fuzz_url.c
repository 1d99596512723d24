/* URLs, escapes and forms: spans stay inside the input, decoding undoes encoding, encoding what was
 * decoded means the same. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "net/http.h"
#include "net/url.h"

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void
check_url(const char *text)
{
	struct url url;

	if (url_parse(text, &url, NULL) < 0)
		return;
	CHECK(url.path.n > 0 && url.path.p[0] == '/' && strlen(url.host) < sizeof(url.host));
	CHECK(url.query.p + url.query.n <= text + strlen(text));
	CHECK(!memchr(url.path.p, '?', url.path.n));
	CHECK((url.host[0] == '\0') == (url.port == 0));
}

static void
check_escapes(struct str in)
{
	_cleanup_strbuf_ struct strbuf encoded = STRBUF_INIT, decoded = STRBUF_INIT,
				       first = STRBUF_INIT, again = STRBUF_INIT;

	url_encode(&encoded, in, in.n % 2);
	CHECK(url_decode(&decoded, strbuf_str(&encoded), false, NULL) == 0);
	CHECK(str_eq(strbuf_str(&decoded), in));
	if (url_decode(&first, in, true, NULL) < 0)
		return;
	CHECK(first.n <= in.n);
	strbuf_reset(&encoded);
	url_encode(&encoded, strbuf_str(&first), false);
	CHECK(url_decode(&again, strbuf_str(&encoded), true, NULL) == 0);
	CHECK(str_eq(strbuf_str(&first), strbuf_str(&again)));
}

static void
check_form(struct str in)
{
	_cleanup_arena_ struct arena *arena = arena_new(1 << 20);
	struct form form = { 0 };

	if (form_parse(in, 50, arena, &form, NULL) < 0)
		return;
	CHECK(form.count <= 50);
	for (size_t i = 0; i < form.count; i++) {
		const struct form_field *f = &form.fields[i];

		CHECK(f->raw_name.p >= in.p && f->raw_value.p + f->raw_value.n <= in.p + in.n);
		CHECK(strlen(f->value.p) == f->value.n && strlen(f->name) <= f->raw_name.n);
		CHECK(form_find(&form, f->name) != NULL);
	}
}

static void
check_range(struct str in)
{
	struct http_range range;

	for (uint64_t size = 0; size < 3; size++)
		if (http_range_parse(in, size, &range, NULL) == 1)
			CHECK(range.first <= range.last && range.last < size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str in = { (const char *)data, n };
	_cleanup_free_ char *text = xstrndup((const char *)data, n);

	check_url(text);
	check_escapes(in);
	check_form(in);
	check_range(in);
	return 0;
}
