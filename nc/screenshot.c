/* A guest's screen as JPEG. libvirt makes a PNG or a PPM file, by what QEMU can, which the root
 * helper hands over as it is; what reads it and packs its pixels is this unprivileged program. */
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
/* after stdio.h, whose types it uses and does not include */
#include <jpeglib.h>
#include <png.h>
#include "nc.h"
#include "screenshot.h"

#define SIDE_MAX 8192
#define SCREEN_TIMEOUT_MS 30000

static const int qualities[] = { 75, 50, 25 };

/* -- PPM -- */

/* One number of the header, after blanks and comments. */
static bool
take_number(struct str *rest, uint32_t *ret)
{
	uint32_t n = 0;
	bool has_digit = false;

	while (rest->n && strchr(" \t\r\n#", rest->p[0])) {
		const char *end = rest->p[0] == '#' ? memchr(rest->p, '\n', rest->n) : rest->p;

		if (!end)
			return false;
		rest->n -= (size_t)(end + 1 - rest->p);
		rest->p = end + 1;
	}
	while (rest->n && rest->p[0] >= '0' && rest->p[0] <= '9' && n <= UINT16_MAX) {
		n = n * 10 + (uint32_t)(rest->p[0] - '0');
		has_digit = true;
		rest->p++;
		rest->n--;
	}
	*ret = n;
	return has_digit;
}

int
ppm_parse(struct str file, struct ppm *ret, struct err *e)
{
	struct str rest = file;
	uint32_t depth;

	if (rest.n < 2 || rest.p[0] != 'P' || rest.p[1] != '6')
		return err_set(e, ERR_INVALID, "the picture is no PPM file");
	rest.p += 2;
	rest.n -= 2;
	if (!take_number(&rest, &ret->width) || !take_number(&rest, &ret->height) ||
	    !take_number(&rest, &depth) || !rest.n)
		return err_set(e, ERR_INVALID, "the picture's header is cut short");
	if (ret->width < 1 || ret->width > SIDE_MAX || ret->height < 1 || ret->height > SIDE_MAX ||
	    depth != 255)
		return err_set(e, ERR_INVALID, "a picture of %u by %u pixels, depth %u", ret->width,
		    ret->height, depth);
	ret->pixels = (const uint8_t *)rest.p + 1; /* one blank ends the header */
	if (rest.n - 1 != (size_t)ret->width * ret->height * 3)
		return err_set(e, ERR_INVALID, "the picture has %zu bytes of pixels, not %zu",
		    rest.n - 1, (size_t)ret->width * ret->height * 3);
	return 0;
}

/* -- PNG -- */

static bool
is_png(struct str file)
{
	return file.n >= 8 && png_sig_cmp((png_const_bytep)file.p, 0, 8) == 0;
}

int
png_parse(struct str file, struct arena *arena, struct ppm *ret, struct err *e)
{
	png_image image = { .version = PNG_IMAGE_VERSION };
	uint8_t *pixels;
	int r = 0;

	if (!png_image_begin_read_from_memory(&image, file.p, file.n))
		return err_set(e, ERR_INVALID, "cannot read the picture: %s", image.message);
	if (image.width > SIDE_MAX || image.height > SIDE_MAX) {
		png_image_free(&image);
		return err_set(
		    e, ERR_INVALID, "a picture of %u by %u pixels", image.width, image.height);
	}
	image.format = PNG_FORMAT_RGB;
	pixels = arena_alloc(arena, PNG_IMAGE_SIZE(image));
	if (!png_image_finish_read(&image, NULL, pixels, 0, NULL))
		r = err_set(e, ERR_INVALID, "cannot read the picture: %s", image.message);
	else
		*ret = (struct ppm){ image.width, image.height, pixels };
	png_image_free(&image);
	return r;
}

/* -- JPEG -- */

struct packer {
	struct jpeg_error_mgr errors;
	jmp_buf failed;
	char text[JMSG_LENGTH_MAX];
};

/* The library must not come back from here, and its own exit ends the process. */
static void
jpeg_failed(j_common_ptr common)
{
	struct packer *p = (struct packer *)(void *)common->err;

	common->err->format_message(common, p->text);
	longjmp(p->failed, 1);
}

static void
jpeg_says(j_common_ptr common)
{
}

static int
pack(const struct ppm *in, int quality, unsigned char **ret, unsigned long *ret_n, struct err *e)
{
	struct jpeg_compress_struct c = { 0 };
	struct packer p = { 0 };

	*ret = NULL;
	*ret_n = 0;
	c.err = jpeg_std_error(&p.errors);
	p.errors.error_exit = jpeg_failed;
	p.errors.output_message = jpeg_says;
	if (setjmp(p.failed)) {
		jpeg_destroy_compress(&c);
		return err_set(e, ERR_INTERNAL, "cannot pack the picture: %s", p.text);
	}
	jpeg_create_compress(&c);
	jpeg_mem_dest(&c, ret, ret_n);
	c.image_width = in->width;
	c.image_height = in->height;
	c.input_components = 3;
	c.in_color_space = JCS_RGB;
	jpeg_set_defaults(&c);
	jpeg_set_quality(&c, quality, TRUE);
	jpeg_start_compress(&c, TRUE);
	while (c.next_scanline < c.image_height) {
		JSAMPROW row =
		    (JSAMPROW)(uintptr_t)(in->pixels + (size_t)c.next_scanline * in->width * 3);

		(void)jpeg_write_scanlines(&c, &row, 1);
	}
	jpeg_finish_compress(&c);
	jpeg_destroy_compress(&c);
	return 0;
}

int
jpeg_from_ppm(const struct ppm *in, size_t max, struct arena *arena, struct str *ret, struct err *e)
{
	unsigned long n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(qualities); i++) {
		unsigned char *bytes;
		int r = pack(in, qualities[i], &bytes, &n, e);

		if (r == 0 && n <= max)
			*ret = (struct str){ arena_memdup(arena, bytes, n), n };
		free(bytes);
		if (r < 0 || n <= max)
			return r;
	}
	return err_set(e, ERR_LIMIT, "the picture has %lu bytes, at most %zu are sent", n, max);
}

/* -- a guest's -- */

static int
read_picture(int fd, struct arena *arena, struct str *ret, struct err *e)
{
	struct stat st;
	_cleanup_arena_ struct arena *scratch = arena_new(4ull * HELPER_SCREEN_MAX);
	struct ppm picture;
	struct str file;
	void *bytes;
	int r;

	if (fstat(fd, &st) < 0)
		return err_set_errno(e, errno, "cannot look at the picture");
	if (!S_ISREG(st.st_mode) || st.st_size < 1 || st.st_size > HELPER_SCREEN_MAX)
		return err_set(e, ERR_INVALID, "the picture has no size that one has");
	bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return err_set_errno(e, errno, "cannot read the picture");
	file = (struct str){ bytes, (size_t)st.st_size };
	r = is_png(file) ? png_parse(file, scratch, &picture, e) : ppm_parse(file, &picture, e);
	if (r == 0)
		r = jpeg_from_ppm(&picture, NC_SCREENSHOT_MAX, arena, ret, e);
	(void)munmap(bytes, (size_t)st.st_size); /* of our own mapping: it cannot fail */
	return r;
}

int
nc_screenshot(struct nc *nc, const char *instance_id, bool wakes, struct arena *arena,
    struct str *ret, struct err *e)
{
	_cleanup_helper_reply_ struct helper_reply reply = { 0 };
	struct helper_guest_screen request = { .wakes = wakes };
	int r;

	memcpy(request.instance_id, instance_id,
	    strnlen(instance_id, sizeof(request.instance_id) - 1));
	r = helper_call(nc->helper, HELPER_GUEST_SCREEN, &request, sizeof(request),
	    SCREEN_TIMEOUT_MS, &reply, e);
	if (r < 0)
		return r;
	if (reply.fd_count != 1)
		return err_set(e, ERR_INTERNAL, "the helper sent %zu pictures", reply.fd_count);
	return read_picture(reply.fds[0], arena, ret, e);
}
