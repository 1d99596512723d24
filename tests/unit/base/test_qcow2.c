/* qcow2 headers: which images are taken, and why the others are not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <endian.h>
#include "base/qcow2.h"

static void
put32(char *head, size_t at, uint32_t v)
{
	v = htobe32(v);
	memcpy(head + at, &v, sizeof(v));
}

/* Version 3, 64 KiB clusters, 1 MiB of disk, no extensions. */
static void
make(char head[512])
{
	memset(head, 0, 512);
	put32(head, 0, 0x514649fb);
	put32(head, 4, 3);
	put32(head, 20, 16);
	put32(head, 28, 1 << 20);
	put32(head, 100, 104);
}

static const struct {
	const char *what;
	size_t at;
	uint32_t value;
	const char *why; /* NULL: it is taken */
} cases[] = {
	{ "as it is", 4, 3, NULL },
	{ "version 2", 4, 2, "extensions" /* what follows 72 bytes is not zero */ },
	{ "another magic", 0, 0x514649fc, "not a qcow2" },
	{ "version 1", 4, 1, "version 1" },
	{ "version 4", 4, 4, "version 4" },
	{ "a backing file", 12, 200, "backing file" },
	{ "a backing file's length alone", 16, 9, "backing file" },
	{ "clusters too small", 20, 8, "cluster" },
	{ "clusters too large", 20, 22, "cluster" },
	{ "no disk", 28, 0, "disk size" },
	{ "a disk too large", 24, 1, "disk size" },
	{ "encrypted", 32, 1, "encrypted" },
	{ "LUKS", 32, 2, "encrypted" },
	{ "dirty", 76, 1, NULL },
	{ "corrupt", 76, 2, "corrupt" },
	{ "external data file", 76, 4, "features" },
	{ "compression type", 76, 8, NULL },
	{ "extended L2", 76, 16, "features" },
	{ "a feature of later days", 72, 1, "features" },
	{ "a header too short", 100, 72, "header length" },
	{ "a header too long", 100, 5000, "header length" },
	{ "a header of an odd length", 100, 105, "header length" },
	{ "snapshots", 60, 1, "snapshots" },
	{ "a raw data file", 92, 2, "another file" },
	{ "an extension of that name", 104, 0x44415441, "another file" },
	{ "a backing format", 104, 0xe2792aca, "another file" },
	{ "an unknown extension", 104, 0x12345678, NULL },
};

static void
cases_of_headers(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		char head[512];
		uint64_t size = 0;
		struct err e = { 0 };
		int r;

		make(head);
		if (strcmp(cases[i].what, "version 2") == 0)
			put32(head, 72, 0x44415441); /* there the extensions begin */
		put32(head, cases[i].at, cases[i].value);
		r = qcow2_check((struct str){ head, sizeof(head) }, 1 << 30, &size, &e);
		if (strcmp(cases[i].what, "version 2") == 0)
			assert_non_null(strstr(e.text, "another file"));
		else if (!cases[i].why) {
			if (r < 0)
				fail_msg("%s: %s", cases[i].what, e.text);
			assert_int_equal(size, 1 << 20);
		} else if (r != ERR_INVALID || !strstr(e.text, cases[i].why))
			fail_msg("%s: %d %s", cases[i].what, r, e.text);
	}
}

static void
cut_at_every_byte(void **state)
{
	char head[512];
	uint64_t size;

	make(head);
	for (size_t n = 0; n < 112; n++)
		assert_int_equal(
		    qcow2_check((struct str){ head, n }, 1 << 30, &size, NULL), ERR_INVALID);
	assert_int_equal(qcow2_check((struct str){ head, 112 }, 1 << 30, &size, NULL), 0);
	assert_false(qcow2_is((struct str){ head, 3 }));
	assert_true(qcow2_is((struct str){ head, 4 }));
}

/* An extension chain that never ends must not be followed for ever. */
static void
extensions_without_end(void **state)
{
	char head[QCOW2_HEADER_MAX];
	uint64_t size;
	struct err e = { 0 };

	memset(head, 0, sizeof(head));
	make(head);
	for (size_t at = 104; at + 8 <= sizeof(head); at += 8)
		put32(head, at, 0x12345678);
	assert_int_equal(
	    qcow2_check((struct str){ head, sizeof(head) }, 1 << 30, &size, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, "do not end"));
	put32(head, 108, UINT32_MAX);
	assert_int_equal(
	    qcow2_check((struct str){ head, sizeof(head) }, 1 << 30, &size, &e), ERR_INVALID);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cases_of_headers),
		cmocka_unit_test(cut_at_every_byte),
		cmocka_unit_test(extensions_without_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
