/* PPM headers that are none, and pictures that come back from JPEG as they went in. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <stdio.h>
#include <jpeglib.h>
#include <png.h>
#include "screenshot.h"

static void
headers(void **state)
{
	static const struct {
		const char *file;
		bool ok;
	} cases[] = {
		{ "P6 1 1 255\nabc", true },
		{ "P6\n# made by a test\n1\t1\n255\nabc", true },
		{ "P6 2 1 255\nabcdef", true },
		{ "P6 1 1 255\nab", false },
		{ "P6 1 1 255\nabcd", false },
		{ "P6 1 1 65535\nabcdef", false },
		{ "P5 1 1 255\nabc", false },
		{ "P6 0 1 255\n", false },
		{ "P6 1 8193 255\nabc", false },
		{ "P6 99999999999 1 255\nabc", false },
		{ "P6 1 1 255", false },
		{ "P6 1 x 255\nabc", false },
		{ "P6 # without end", false },
		{ "P6", false },
		{ "", false },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *copy = xmemdup(cases[i].file, strlen(cases[i].file) + 1);
		struct ppm p;

		if ((ppm_parse((struct str){ copy, strlen(copy) }, &p, NULL) == 0) != cases[i].ok)
			fail_msg("'%s'", cases[i].file);
	}
}

static uint8_t
noise(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (uint8_t)(*seed >> 24);
}

static void
pixels_survive(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	uint8_t pixels[16 * 8 * 3];
	struct ppm in = { 16, 8, pixels };
	struct jpeg_decompress_struct d = { 0 };
	struct jpeg_error_mgr errors;
	struct str out;
	JSAMPLE line[16 * 3];
	JSAMPROW row = line;

	for (unsigned i = 0; i < sizeof(pixels); i++)
		pixels[i] = (uint8_t)(i % 3 == 0 ? 200 : 40); /* one reddish colour */
	assert_int_equal(jpeg_from_ppm(&in, 4096, arena, &out, NULL), 0);
	d.err = jpeg_std_error(&errors);
	jpeg_create_decompress(&d);
	jpeg_mem_src(&d, (const unsigned char *)out.p, out.n);
	assert_int_equal(jpeg_read_header(&d, TRUE), JPEG_HEADER_OK);
	assert_int_equal(d.image_width, 16);
	assert_int_equal(d.image_height, 8);
	(void)jpeg_start_decompress(&d);
	assert_int_equal(jpeg_read_scanlines(&d, &row, 1), 1);
	assert_in_range(line[0], 190, 210);
	assert_in_range(line[1], 30, 50);
	jpeg_destroy_decompress(&d);
}

static void
png_too(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	static const uint8_t pixels[2 * 2 * 3] = { 255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7 };
	png_image image = {
		.version = PNG_IMAGE_VERSION, .width = 2, .height = 2, .format = PNG_FORMAT_RGB
	};
	char file[1024];
	png_alloc_size_t n = sizeof(file);
	struct ppm got;

	assert_int_equal(png_image_write_to_memory(&image, file, &n, 0, pixels, 0, NULL), 1);
	assert_int_equal(png_parse((struct str){ file, n }, arena, &got, NULL), 0);
	assert_int_equal(got.width, 2);
	assert_int_equal(got.height, 2);
	assert_memory_equal(got.pixels, pixels, sizeof(pixels));
	for (size_t cut = 0; cut < n; cut++)
		(void)png_parse((struct str){ file, cut }, arena, &got, NULL); /* no crash */
	assert_int_equal(png_parse((struct str){ file, n / 2 }, arena, &got, NULL), ERR_INVALID);
	file[19] = 0x7f; /* a width past all limits */
	assert_int_equal(png_parse((struct str){ file, n }, arena, &got, NULL), ERR_INVALID);
}

static void
size_has_a_limit(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	static uint8_t pixels[256 * 256 * 3];
	struct ppm in = { 256, 256, pixels };
	struct str fine, small;
	uint32_t seed = 1;

	for (unsigned i = 0; i < sizeof(pixels); i++)
		pixels[i] = noise(&seed);
	assert_int_equal(jpeg_from_ppm(&in, 1 << 20, arena, &fine, NULL), 0);
	assert_int_equal(jpeg_from_ppm(&in, fine.n - 1, arena, &small, NULL), 0);
	assert_true(small.n < fine.n);
	assert_int_equal(jpeg_from_ppm(&in, 1000, arena, &small, NULL), ERR_LIMIT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers),
		cmocka_unit_test(pixels_survive),
		cmocka_unit_test(png_too),
		cmocka_unit_test(size_has_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
