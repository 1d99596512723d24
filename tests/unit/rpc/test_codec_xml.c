/* XML to structs and back: strictness of reading, what is written, random structs there and back.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "test_api/sample.api.h"
#include "test_api/test.api.h"

static int
decode(struct arena *arena, const struct shape *shape, struct str text, void *out, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	int r = xml_parse(text, &xml_limits_soap, &doc, e);

	return r < 0 ? r : codec_from_xml(shape, xmlDocGetRootElement(doc), arena, out, e);
}

static void
encode(const struct shape *shape, const void *in, struct strbuf *out)
{
	struct xml_writer w;

	strbuf_reset(out);
	xml_writer_init(&w, out, true);
	xml_open(&w, "r");
	codec_to_xml(shape, in, &w);
	xml_close(&w, "r");
}

static void
reads_and_writes(void **state)
{
	/* what is written back; NULL: the same */
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "<r><text>a</text><devices></devices><note></note></r>", NULL },
		{ "<r xmlns='urn:x'><text>a</text></r>",
		    "<r><text>a</text><devices></devices><note></note></r>" },
		{ "<r>\n <text>a</text>\n <count> 7 </count></r>",
		    "<r><text>a</text><count>7</count><devices></devices><note></note></r>" },
		{ "<r><text>a</text><flag>false</flag><offset>0</offset><devices></devices>"
		  "<note>n</note></r>",
		    NULL },
		{ "<r><text>a</text><ids><item>1</item><item>2</item></ids><members><member>m</"
		  "member>"
		  "</members><number>1</number><number>2</number><devices></devices><note></note></"
		  "r>",
		    NULL },
		{ "<r><number>1</number><text>a</text><number>2</number></r>",
		    "<r><text>a</text><number>1</number><number>2</number><devices></devices>"
		    "<note></note></r>" },
		{ "<r><text>a</text><filters><item><name>n</name><valueSet><item>v</item></"
		  "valueSet>"
		  "</item></filters><devices><item><deviceName>d</deviceName><ebs><volumeSize>1"
		  "</volumeSize></ebs></item></devices><note></note></r>",
		    NULL },
		{ "<r><text>&lt;&amp;&#13;</text><devices></devices><note></note></r>",
		    "<r><text>&lt;&amp;&#xD;</text><devices></devices><note></note></r>" },
		{ "<r><text>a</text><ids/><tree><child><name>x</name></child></tree></r>",
		    "<r><text>a</text><devices></devices><note></note><tree><child><name>x</name>"
		    "</child></tree></r>" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		struct everything_in in;
		struct err e = { 0 };
		int r = decode(arena, &everything_in_shape, str_of(cases[i].in), &in, &e);

		if (r < 0)
			fail_msg("%s: %s", cases[i].in, e.text);
		encode(&everything_in_shape, &in, &out);
		assert_string_equal(strbuf_c(&out), cases[i].out ? cases[i].out : cases[i].in);
	}
}

static void
refuses(void **state)
{
	static const struct {
		const char *in, *text;
	} cases[] = {
		{ "<r/>", "element 'text' of 'everything_in' is missing" },
		{ "<r><text/></r>", "element 'text' of 'everything_in' is invalid. Expecting at "
				    "least 1 character." },
		{ "<r><text>a</text><text>a</text></r>",
		    "element 'text' of 'everything_in' is invalid. It is given more than once." },
		{ "<r><text>a</text><x/></r>", "unknown element 'x' in 'everything_in'" },
		{ "<r><text>a</text>stray</r>", "text between the elements of 'everything_in'" },
		{ "<r><text><b>a</b></text></r>",
		    "element 'text' of 'everything_in' is invalid. Expecting text." },
		{ "<r><text>a</text><count>1x</count></r>",
		    "element 'count' of 'everything_in' is invalid. Expecting a whole number." },
		{ "<r><text>a</text><ids><x>1</x></ids></r>",
		    "element 'ids' of 'everything_in' is invalid. "
		    "It holds something else than its items." },
		{ "<r><text>a</text><ids>1</ids></r>",
		    "element 'ids' of 'everything_in' is invalid. Expecting items." },
		{ "<r><text>a</text><ids><item>1</item><item>2</item><item>3</item><item>4</item>"
		  "<item>5</item><item>6</item></ids></r>",
		    "element 'ids' of 'everything_in' is invalid. It has too many items." },
		{ "<r><text>a</text><filters><item/></filters></r>",
		    "element 'name' of 'sample_filter' is missing" },
		{ "<r><text>a</text><ebs>5</ebs></r>",
		    "text between the elements of 'sample_ebs'" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		struct everything_in in;
		struct err e = { 0 };

		assert_int_equal(
		    decode(arena, &everything_in_shape, str_of(cases[i].in), &in, &e), ERR_INVALID);
		assert_string_equal(e.text, cases[i].text);
	}
}

static void
nesting_is_bounded(void **state)
{
	for (unsigned depth = 1; depth < 40; depth++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		struct everything_in in;
		struct err e = { 0 };

		strbuf_adds(&text, "<r><text>a</text><tree>");
		for (unsigned i = 0; i < depth; i++)
			strbuf_adds(&text, "<child>");
		for (unsigned i = 0; i < depth; i++)
			strbuf_adds(&text, "</child>");
		strbuf_adds(&text, "</tree></r>");
		assert_int_equal(decode(arena, &everything_in_shape, strbuf_str(&text), &in, &e),
		    depth < 16 ? 0 : ERR_INVALID);
	}
}

/* A sender leaves out what messages of the peer's version do not know. */
static void
fields_have_versions(void **state)
{
	struct test_echo_in in = { .text = "t", .volume = 11 };

	for (uint32_t version = 2; version <= 3; version++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		struct xml_writer w;

		xml_writer_init(&w, &out, true);
		codec_to_xml_version(&test_echo_in_shape, &in, version, &w);
		assert_string_equal(strbuf_c(&out),
		    version == 2 ? "<text>t</text>" : "<text>t</text><volume>11</volume>");
	}
}

/* A number that is not 0 is written although nobody set has_number. */
static void
a_forgotten_has_loses_nothing(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct test_echo_in in = { .text = "t", .number = -1 };

	encode(&test_echo_in_shape, &in, &out);
	assert_string_equal(strbuf_c(&out), "<r><text>t</text><number>-1</number></r>");
}

/* -- random structs, by the shape alone -- */

static uint64_t seed = 88172645463325252;

static uint64_t
next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static int64_t
random_number(const struct field *f)
{
	int64_t low = f->min, high = f->max;

	if (f->type == FIELD_TIME) /* the wire has milliseconds */
		return (int64_t)(next_random() % 4000000000000) * 1000;
	if (!high)
		high = f->type == FIELD_U32   ? UINT32_MAX
		       : f->type == FIELD_I32 ? INT32_MAX
					      : INT64_MAX;
	if (next_random() % 4 == 0)
		return next_random() % 2 ? low : high;
	return (int64_t)((uint64_t)low + next_random() % ((uint64_t)high - (uint64_t)low + 1 ?: 1));
}

static char *
random_text(const struct field *f, struct arena *arena)
{
	static const char *const pieces[] = { "a", "<", "&", "\"", "]]>", "\xc3\xa9", " ", "\n",
		"\t", "\r", "0", "\xf0\x9f\x98\x80" };
	size_t max = f->max ? (size_t)f->max : 100, n = 0;
	char *text = arena_alloc(arena, max + 8);

	if (f->choices) {
		const char *end = strchr(f->choices, '|'), *last = strrchr(f->choices, '|');

		if (!end || next_random() % 2)
			return arena_strdup(arena, last ? last + 1 : f->choices);
		return arena_printf(arena, "%.*s", (int)(end - f->choices), f->choices);
	}
	for (size_t want = next_random() % (max + 1); n < want || n < (size_t)f->min;) {
		const char *piece = pieces[next_random() % ARRAY_SIZE(pieces)];

		if (n + strlen(piece) > max)
			piece = "z";
		memcpy(text + n, piece, strlen(piece));
		n += strlen(piece);
	}
	return text;
}

static void fill(const struct shape *shape, void *out, struct arena *arena, unsigned depth);

static void
fill_item(const struct field *f, void *slot, struct arena *arena, unsigned depth)
{
	int64_t number;

	switch (f->type) {
	case FIELD_STRING:
		*(char **)slot = random_text(f, arena);
		return;
	case FIELD_BYTES: {
		size_t n = next_random() % 65;
		char *p = arena_alloc(arena, n + 1);

		for (size_t i = 0; i < n; i++)
			p[i] = (char)next_random();
		*(struct str *)slot = (struct str){ p, n };
		return;
	}
	case FIELD_BOOL:
		*(bool *)slot = next_random() % 2;
		return;
	case FIELD_U32:
	case FIELD_I32:
		number = random_number(f);
		memcpy(slot, &number, 4);
		return;
	case FIELD_U64:
	case FIELD_I64:
	case FIELD_TIME:
		*(int64_t *)slot = random_number(f);
		return;
	case FIELD_STRUCT:
		fill(f->shape, slot, arena, depth + 1);
		return;
	}
}

static size_t
item_size(const struct field *f)
{
	static const size_t sizes[] = { [FIELD_STRING] = sizeof(char *),
		[FIELD_BOOL] = sizeof(bool),
		[FIELD_U32] = 4,
		[FIELD_I32] = 4,
		[FIELD_U64] = 8,
		[FIELD_I64] = 8,
		[FIELD_TIME] = 8,
		[FIELD_BYTES] = sizeof(struct str) };

	return f->type == FIELD_STRUCT ? f->shape->size : sizes[f->type];
}

static void
fill(const struct shape *shape, void *out, struct arena *arena, unsigned depth)
{
	for (unsigned i = 0; i < shape->field_count; i++) {
		const struct field *f = &shape->fields[i];
		char *slot = (char *)out + f->offset;
		struct {
			void *items;
			size_t count;
		} *list = (void *)slot;

		if (f->flags & (FIELD_HIDDEN | FIELD_UNSTORED))
			continue;
		if (!(f->flags & FIELD_REQUIRED) && next_random() % 3 == 0)
			continue;
		if (f->type == FIELD_STRUCT && depth > 4)
			continue;
		if (f->flags & FIELD_LIST) {
			list->count = next_random() % 5;
			list->items = arena_alloc(arena, list->count * item_size(f) + 1);
			for (size_t n = 0; n < list->count; n++)
				fill_item(f, (char *)list->items + n * item_size(f), arena, depth);
			continue;
		}
		if (f->type == FIELD_STRUCT) {
			*(void **)slot = arena_alloc(arena, f->shape->size);
			fill(f->shape, *(void **)slot, arena, depth + 1);
			continue;
		}
		fill_item(f, slot, arena, depth);
		if (f->has_offset != SIZE_MAX)
			*(bool *)((char *)out + f->has_offset) = true;
	}
}

/* Two texts of one struct are equal exactly when the structs are. */
static void
there_and_back(void **state)
{
	for (unsigned round = 0; round < 3000; round++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		_cleanup_strbuf_ struct strbuf first = STRBUF_INIT, second = STRBUF_INIT,
					       third = STRBUF_INIT;
		const struct shape *shape = round % 2 ? &instance_spec_shape : &everything_in_shape;
		void *in = arena_alloc(arena, shape->size), *out = arena_alloc(arena, shape->size),
		     *copy = arena_alloc(arena, shape->size);
		struct err e = { 0 };

		fill(shape, in, arena, 0);
		encode(shape, in, &first);
		if (decode(arena, shape, strbuf_str(&first), out, &e) < 0)
			fail_msg("%s in %s", e.text, strbuf_c(&first));
		encode(shape, out, &second);
		assert_string_equal(strbuf_c(&first), strbuf_c(&second));
		codec_copy(shape, out, arena, copy);
		encode(shape, copy, &third);
		assert_string_equal(strbuf_c(&first), strbuf_c(&third));
	}
}

static void
copies_are_deep(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0), *other = arena_new(0);
	_cleanup_strbuf_ struct strbuf before = STRBUF_INIT, after = STRBUF_INIT;
	struct everything_in in = { 0 }, copy;

	fill(&everything_in_shape, &in, arena, 0);
	encode(&everything_in_shape, &in, &before);
	codec_copy(&everything_in_shape, &in, other, &copy);
	arena_free(TAKE(arena));
	encode(&everything_in_shape, &copy, &after);
	assert_string_equal(strbuf_c(&before), strbuf_c(&after));
}

static void
log_lines_are_cut_and_keep_secrets(void **state)
{
	_cleanup_strbuf_ struct strbuf log = STRBUF_INIT;
	char a[100];
	struct everything_in in = {
		.text = a, .password = "hunter2", .note = "a\n\"b\\", .mode = ""
	};

	memset(a, 'a', sizeof(a) - 1);
	a[sizeof(a) - 1] = '\0';
	codec_to_log(&everything_in_shape, &in, &log);
	assert_string_equal(strbuf_c(&log),
	    "text=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa... "
	    "mode=\"\" note=\"a\\x0a\\\"b\\\\\"");
}

static void
services_find_operations(void **state)
{
	assert_ptr_equal(service_find(&test_service, "Echo")->in, &test_echo_in_shape);
	assert_ptr_equal(service_find(&test_service, "Echo")->service, &test_service);
	assert_null(service_find(&test_service, "echo"));
	assert_string_equal(sample_everything.iam, "sample:Everything");
	assert_string_equal(sample_everything.resources, "instance image");
	assert_true(test_fail.mutates && test_changes.waits && !test_echo.mutates);
	assert_string_equal(test_echo.peers, "cc clc");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes),
		cmocka_unit_test(refuses),
		cmocka_unit_test(nesting_is_bounded),
		cmocka_unit_test(fields_have_versions),
		cmocka_unit_test(a_forgotten_has_loses_nothing),
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(copies_are_deep),
		cmocka_unit_test(log_lines_are_cut_and_keep_secrets),
		cmocka_unit_test(services_find_operations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
