/* Two readers of libarchive, one in the other: the outer one undoes gzip, so that the digest of the
 * tar archive can be taken of what flows between them; the inner one takes the tar archive apart.
 * Each is given one filter or format only, so that nothing else is guessed. The first error is kept
 * aside, because it has to pass through the library. */
#include "unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <openssl/evp.h>

#include "auth/digest.h"
#include "base/alloc.h"

#define PIECE (256 * 1024)
#define PADDING_MAX (1024 * 1024) /* of a tar archive: header, zeros up to a whole record */

DEFINE_CLEANUP(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free)

struct pipe {
	const struct unpack *u;
	EVP_CIPHER_CTX *cipher;
	uint8_t *clear; /* decrypted */
	size_t clear_size;
	bool is_at_end; /* of the source */
	struct archive *gzip, *tar;
	EVP_MD_CTX *sha1;
	char *unzipped;
	uint64_t unzipped_bytes, written_bytes;
	struct err *e;
	int code; /* the first error, *e says it */
};

static int
wrong(struct pipe *p, const char *text)
{
	if (p->code == 0)
		p->code = err_set(p->e, ERR_INVALID, "%s", text);
	return p->code;
}

/* -- the source, decrypted -- */

static int
decrypt(struct pipe *p, struct str in, struct str *ret)
{
	int n = 0, last = 0;

	if (p->clear_size < in.n + EVP_MAX_BLOCK_LENGTH) {
		p->clear_size = in.n + EVP_MAX_BLOCK_LENGTH;
		p->clear = xrealloc(p->clear, p->clear_size);
	}
	if (in.n ? EVP_DecryptUpdate(p->cipher, p->clear, &n, (const uint8_t *)in.p, (int)in.n) != 1
		 : EVP_DecryptFinal_ex(p->cipher, p->clear, &last) != 1)
		return wrong(p, "The parts are not encrypted with the key of the manifest");
	*ret = (struct str){ (const char *)p->clear, (size_t)(n + last) };
	return 0;
}

/* n 0: the end. */
static int
next_clear(struct pipe *p, struct str *ret)
{
	*ret = (struct str){ NULL, 0 };
	while (p->code == 0 && ret->n == 0 && !p->is_at_end) {
		struct str piece = { NULL, 0 };

		p->code = p->u->read(p->u->arg, &piece, p->e);
		if (p->code < 0)
			break;
		p->is_at_end = piece.n == 0;
		if (p->cipher)
			p->code = decrypt(p, piece, ret);
		else
			*ret = piece;
	}
	return p->code;
}

static int
put(struct pipe *p, struct str bytes)
{
	p->written_bytes += bytes.n;
	if (p->written_bytes > p->u->bytes_max)
		return wrong(p, "The image is larger than an image may be");
	if (p->code == 0)
		p->code = p->u->write(p->u->arg, bytes, p->e);
	return p->code;
}

/* -- the archive -- */

static la_ssize_t
give_gzip(struct archive *a, void *arg, const void **ret)
{
	struct pipe *p = arg;
	struct str piece;

	if (next_clear(p, &piece) < 0) {
		archive_set_error(a, EIO, "the source failed");
		return ARCHIVE_FATAL;
	}
	*ret = piece.p;
	return (la_ssize_t)piece.n;
}

/* What is inside gzip; 0 at the end. */
static la_ssize_t
unzip(struct pipe *p)
{
	la_ssize_t n = archive_read_data(p->gzip, p->unzipped, PIECE);

	if (n < 0) {
		wrong(p, "The archive is damaged: what it was compressed with does not fit");
		return ARCHIVE_FATAL;
	}
	p->unzipped_bytes += (uint64_t)n;
	if (p->unzipped_bytes > p->u->bytes_max + PADDING_MAX) {
		wrong(p, "The archive is larger than an image may be");
		return ARCHIVE_FATAL;
	}
	EVP_DigestUpdate(p->sha1, p->unzipped, (size_t)n);
	return n;
}

static la_ssize_t
give_tar(struct archive *a, void *arg, const void **ret)
{
	struct pipe *p = arg;
	la_ssize_t n = unzip(p);

	if (n < 0)
		archive_set_error(a, EIO, "the archive is damaged");
	*ret = p->unzipped;
	return n;
}

static int
open_gzip(struct pipe *p)
{
	struct archive_entry *entry;

	p->gzip = archive_read_new();
	if (!p->gzip || archive_read_support_filter_gzip(p->gzip) != ARCHIVE_OK ||
	    archive_read_support_format_raw(p->gzip) != ARCHIVE_OK)
		return p->code = err_set(p->e, ERR_INTERNAL, "libarchive can't read gzip");
	if (archive_read_open(p->gzip, p, NULL, give_gzip, NULL) != ARCHIVE_OK ||
	    archive_read_next_header(p->gzip, &entry) != ARCHIVE_OK ||
	    archive_filter_code(p->gzip, 0) != ARCHIVE_FILTER_GZIP)
		return wrong(p, "The archive is not compressed with gzip");
	return 0;
}

static int
open_tar(struct pipe *p)
{
	struct archive_entry *entry;

	p->tar = archive_read_new();
	if (!p->tar || archive_read_support_format_tar(p->tar) != ARCHIVE_OK)
		return p->code = err_set(p->e, ERR_INTERNAL, "libarchive can't read tar");
	if (archive_read_open(p->tar, p, NULL, give_tar, NULL) != ARCHIVE_OK ||
	    archive_read_next_header(p->tar, &entry) != ARCHIVE_OK)
		return wrong(p, "The archive is no tar archive");
	if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) ||
	    !archive_entry_size_is_set(entry) || archive_entry_size(entry) <= 0)
		return wrong(p, "The archive holds something else than a file");
	if ((uint64_t)archive_entry_size(entry) > p->u->bytes_max)
		return wrong(p, "The image is larger than an image may be");
	if (p->u->file_bytes && (uint64_t)archive_entry_size(entry) != p->u->file_bytes)
		return wrong(p, "The file in the archive has another size than the manifest says");
	return 0;
}

static int
copy_file(struct pipe *p)
{
	_cleanup_free_ char *buffer = xmalloc(PIECE);
	la_ssize_t n;

	while (p->code == 0 && (n = archive_read_data(p->tar, buffer, PIECE)) != 0) {
		if (n < 0)
			return wrong(p, "The archive is damaged: its file is cut short");
		(void)put(p, (struct str){ buffer, (size_t)n });
	}
	return p->code;
}

/* Nothing may follow the file but padding, all of which the digest is of. */
static int
end_archive(struct pipe *p)
{
	struct archive_entry *entry;
	uint8_t sha1[20];
	char hex[41];
	la_ssize_t n;

	if (archive_read_next_header(p->tar, &entry) != ARCHIVE_EOF)
		return wrong(p, "The archive holds more than one file");
	while (p->code == 0 && (n = unzip(p)) > 0)
		;
	if (p->code < 0)
		return p->code;
	digest_end(TAKE(p->sha1), sha1);
	hex_encode(sha1, sizeof(sha1), hex);
	if (p->u->archive_sha1 && strcmp(hex, p->u->archive_sha1) != 0)
		return wrong(p, "The archive has another SHA-1 than the manifest says");
	return 0;
}

static int
take_apart(struct pipe *p)
{
	int r;

	p->sha1 = digest_begin(DIGEST_SHA1);
	p->unzipped = xmalloc(PIECE);
	r = open_gzip(p);
	if (r == 0)
		r = open_tar(p);
	if (r == 0)
		r = copy_file(p);
	if (r == 0)
		r = end_archive(p);
	if (r < 0)
		return r;
	if (p->u->file_bytes && p->written_bytes != p->u->file_bytes)
		return wrong(p, "The file in the archive has another size than the manifest says");
	return 0;
}

static int
pass_on(struct pipe *p)
{
	struct str piece;
	int r;

	while ((r = next_clear(p, &piece)) == 0 && piece.n > 0)
		if (put(p, piece) < 0)
			return p->code;
	if (r == 0 && p->u->file_bytes && p->written_bytes != p->u->file_bytes)
		return wrong(p, "The image has another size than it should have");
	return r;
}

static int
run(struct pipe *p)
{
	struct str rest;
	int r = p->u->is_archive ? take_apart(p) : pass_on(p);

	while (r == 0 && (r = next_clear(p, &rest)) == 0 && rest.n > 0)
		; /* behind the end of the archive */
	if (r == 0 && p->written_bytes == 0)
		return wrong(p, "The image is empty");
	return r;
}

int
unpack_run(const struct unpack *u, struct err *e)
{
	_cleanup_(EVP_CIPHER_CTX_freep) EVP_CIPHER_CTX *cipher = NULL;
	struct pipe p = { .u = u, .e = e };
	int r;

	if (u->key.n) {
		if (u->key.n != UNPACK_KEY_BYTES || u->iv.n != UNPACK_KEY_BYTES)
			return err_set(e, ERR_INVALID, "The key has another size than AES-128 has");
		cipher = EVP_CIPHER_CTX_new();
		if (!cipher || EVP_DecryptInit_ex(cipher, EVP_aes_128_cbc(), NULL,
				   (const uint8_t *)u->key.p, (const uint8_t *)u->iv.p) != 1)
			return err_set(e, ERR_INTERNAL, "OpenSSL can't decrypt AES-128-CBC");
		p.cipher = cipher;
	}
	r = run(&p);
	if (p.tar)
		archive_read_free(p.tar);
	if (p.gzip)
		archive_read_free(p.gzip);
	if (p.sha1)
		digest_end(p.sha1, NULL);
	free(p.unzipped);
	free(p.clear);
	return r;
}
