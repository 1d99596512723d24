/* Unpacking: what goes through comes out whole whatever the pieces; limits hold at one more; an
 * error of either end comes through; a bomb is stopped at its limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <archive.h>
#include <archive_entry.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include "auth/digest.h"
#include "base/id.h"
#include "base/strbuf.h"
#include "unpack.h"

struct ends {
	struct str in;
	size_t piece, reads_left; /* reads_left SIZE_MAX: no error */
	struct strbuf out;
	size_t out_max; /* 0: no error */
	uint64_t written;
	bool is_dropped; /* only counted */
};

static int
read_piece(void *arg, struct str *ret, struct err *e)
{
	struct ends *x = arg;
	size_t n = x->in.n < x->piece ? x->in.n : x->piece;

	if (x->reads_left != SIZE_MAX && x->reads_left-- == 0)
		return err_set(e, ERR_IO, "the read that fails");
	*ret = (struct str){ x->in.p, n };
	x->in = (struct str){ x->in.p + n, x->in.n - n };
	return 0;
}

static int
write_piece(void *arg, struct str bytes, struct err *e)
{
	struct ends *x = arg;

	x->written += bytes.n;
	if (x->out_max && x->written > x->out_max)
		return err_set(e, ERR_NO_SPACE, "the write that fails");
	if (!x->is_dropped)
		strbuf_addstr(&x->out, bytes);
	return 0;
}

static void
make_archive(struct str content, char sha1[41], struct strbuf *out)
{
	size_t size = content.n + 65536, used = 0;
	_cleanup_free_ char *tar = xmalloc(size), *zipped = xmalloc(size);
	struct archive *a = archive_write_new();
	struct archive_entry *entry = archive_entry_new();

	archive_write_set_format_ustar(a);
	archive_write_set_bytes_in_last_block(a, 10240);
	assert_int_equal(archive_write_open_memory(a, tar, size, &used), ARCHIVE_OK);
	archive_entry_set_pathname(entry, "disk");
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_size(entry, (la_int64_t)content.n);
	assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
	assert_int_equal(archive_write_data(a, content.p, content.n), content.n);
	archive_write_free(a);
	digest_hex(DIGEST_SHA1, (struct str){ tar, used }, sha1);

	a = archive_write_new();
	archive_write_set_format_raw(a);
	archive_write_add_filter_gzip(a);
	archive_write_set_bytes_in_last_block(a, 1);
	size = used;
	assert_int_equal(
	    archive_write_open_memory(a, zipped, content.n + 65536, &used), ARCHIVE_OK);
	archive_entry_clear(entry);
	archive_entry_set_filetype(entry, AE_IFREG);
	assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
	assert_int_equal(archive_write_data(a, tar, size), size);
	archive_write_free(a);
	archive_entry_free(entry);
	strbuf_add(out, zipped, used);
}

static void
encrypt(struct str in, struct str key, struct str iv, struct strbuf *out)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n = 0, last = 0;

	strbuf_reserve(out, in.n + 32);
	EVP_EncryptInit_ex(
	    c, EVP_aes_128_cbc(), NULL, (const uint8_t *)key.p, (const uint8_t *)iv.p);
	EVP_EncryptUpdate(c, (uint8_t *)out->p, &n, (const uint8_t *)in.p, (int)in.n);
	EVP_EncryptFinal_ex(c, (uint8_t *)out->p + n, &last);
	out->n = (size_t)(n + last);
	EVP_CIPHER_CTX_free(c);
}

static char *
bytes_of(size_t n)
{
	char *p = xmalloc(n + 1);

	random_bytes(p, n);
	return p;
}

static void
test_whole(void **state)
{
	static const size_t sizes[] = { 1, 511, 512, 513, 100000, 1000000 };
	static const size_t pieces[] = { 1000000000, 65536, 17, 1 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		for (size_t k = 0; k < ARRAY_SIZE(pieces); k++) {
			_cleanup_free_ char *content = bytes_of(sizes[i]), *key = bytes_of(32);
			_cleanup_strbuf_ struct strbuf archive = STRBUF_INIT, cipher = STRBUF_INIT;
			char sha1[41];
			struct ends ends = { .piece = pieces[k], .reads_left = SIZE_MAX };
			struct unpack u = { .read = read_piece,
				.write = write_piece,
				.arg = &ends,
				.key = { key, 16 },
				.iv = { key + 16, 16 },
				.is_archive = true,
				.archive_sha1 = sha1,
				.file_bytes = sizes[i],
				.bytes_max = sizes[i] };
			struct err e = { 0 };

			if (sizes[i] > 100000 && pieces[k] < 100)
				continue;
			make_archive((struct str){ content, sizes[i] }, sha1, &archive);
			encrypt(strbuf_str(&archive), u.key, u.iv, &cipher);
			ends.in = strbuf_str(&cipher);
			if (unpack_run(&u, &e) < 0)
				fail_msg("%zu by %zu: %s", sizes[i], pieces[k], e.text);
			assert_int_equal(ends.out.n, sizes[i]);
			assert_memory_equal(ends.out.p, content, sizes[i]);
			strbuf_done(&ends.out);
		}
}

/* As it is, to the limit and one more. */
static void
test_plain_and_limit(void **state)
{
	_cleanup_free_ char *content = bytes_of(5000);

	for (uint64_t max = 4999; max <= 5001; max++) {
		struct ends ends = {
			.in = { content, 5000 }, .piece = 100, .reads_left = SIZE_MAX
		};
		struct unpack u = {
			.read = read_piece, .write = write_piece, .arg = &ends, .bytes_max = max
		};
		struct err e = { 0 };

		assert_int_equal(unpack_run(&u, &e), max < 5000 ? ERR_INVALID : 0);
		assert_true(ends.written <= max);
		strbuf_done(&ends.out);
	}
}

/* A tenth of a GiB of zeros within few bytes: read no further than the limit. */
static void
test_bomb(void **state)
{
	size_t size = 100 << 20;
	_cleanup_free_ char *content = xcalloc(1, size);
	_cleanup_strbuf_ struct strbuf archive = STRBUF_INIT;
	char sha1[41];

	make_archive((struct str){ content, size }, sha1, &archive);
	assert_true(archive.n < 1 << 20);
	for (int has_size = 0; has_size < 2; has_size++) {
		struct ends ends = { .in = strbuf_str(&archive),
			.piece = 4096,
			.reads_left = SIZE_MAX,
			.is_dropped = true };
		struct unpack u = { .read = read_piece,
			.write = write_piece,
			.arg = &ends,
			.is_archive = true,
			.file_bytes = has_size ? size : 0,
			.bytes_max = 10 << 20 };
		struct err e = { 0 };

		assert_int_equal(unpack_run(&u, &e), ERR_INVALID);
		assert_non_null(strstr(e.text, "larger than an image may be"));
		assert_int_equal(ends.written, 0);
	}
}

static void
test_errors_come_through(void **state)
{
	_cleanup_free_ char *content = bytes_of(300000);
	_cleanup_strbuf_ struct strbuf archive = STRBUF_INIT;
	char sha1[41];

	make_archive((struct str){ content, 300000 }, sha1, &archive);
	for (size_t n = 0; n < 40; n += 3) {
		struct ends ends = { .in = strbuf_str(&archive), .piece = 8000, .reads_left = n };
		struct unpack u = { .read = read_piece,
			.write = write_piece,
			.arg = &ends,
			.is_archive = true,
			.bytes_max = 1 << 20 };
		struct err e = { 0 };
		int r = unpack_run(&u, &e);

		assert_int_equal(r, n <= archive.n / 8000 + 1 ? ERR_IO : 0);
		strbuf_done(&ends.out);
		ends = (struct ends){ .in = strbuf_str(&archive),
			.piece = 8000,
			.reads_left = SIZE_MAX,
			.out_max = 1 + n * 7000 };
		assert_int_equal(unpack_run(&u, &e), ERR_NO_SPACE);
		strbuf_done(&ends.out);
	}
}

/* Every bit of the archive counts: it is damaged, or has another digest. */
static void
test_flipped_bits(void **state)
{
	_cleanup_free_ char *content = bytes_of(3000);
	_cleanup_strbuf_ struct strbuf archive = STRBUF_INIT;
	unsigned harmless = 0;
	char sha1[41];

	make_archive((struct str){ content, 3000 }, sha1, &archive);
	for (size_t i = 0; i < archive.n; i++) {
		struct ends ends = {
			.in = strbuf_str(&archive), .piece = 1000, .reads_left = SIZE_MAX
		};
		struct unpack u = { .read = read_piece,
			.write = write_piece,
			.arg = &ends,
			.is_archive = true,
			.archive_sha1 = sha1,
			.bytes_max = 1 << 20 };
		struct err e = { 0 };
		int r;

		archive.p[i] ^= 0x10;
		r = unpack_run(&u, &e);
		if (r == 0) {
			assert_memory_equal(ends.out.p, content, 3000);
			harmless++;
		} else {
			assert_int_equal(r, ERR_INVALID);
		}
		archive.p[i] ^= 0x10;
		strbuf_done(&ends.out);
	}
	assert_true(harmless < 30); /* time, system and the sums in gzip's own frame */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_plain_and_limit),
		cmocka_unit_test(test_bomb),
		cmocka_unit_test(test_errors_come_through),
		cmocka_unit_test(test_flipped_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
