/* Bundles: the parts, joined and decrypted, are the export; the digest is that of the archive
 * unpacked; and what is not finished leaves nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>
#include <archive.h>
#include <archive_entry.h>
#include <openssl/evp.h>
#include "auth/digest.h"
#include "base/clock.h"
#include "bucket.h"
#include "bundle.h"
#include "content.h"
#include "object.h"
#include "run/loop.h"
#include "rpc/walrus.api.h"
#include "schema.h"
#include "tests/lib/net_peer.h"

int walrus_handle_open_export(struct rpc_request *rq, const struct walrus_open_export_in *in,
    struct walrus_open_export_out *out, struct err *e);
int walrus_handle_write_bundle(struct rpc_request *rq, const struct walrus_write_bundle_in *in,
    struct walrus_write_bundle_out *out, struct err *e);
int walrus_handle_write_object(struct rpc_request *rq, const struct walrus_write_object_in *in,
    struct empty *out, struct err *e);
int walrus_handle_delete_export(struct rpc_request *rq, const struct walrus_delete_export_in *in,
    struct empty *out, struct err *e);

#define ME "000000000001"
#define OTHER "000000000002"
#define KEY "0123456789abcdef"
#define IV "fedcba9876543210"
#define PART (10 * 1024 * 1024)

struct world {
	struct walrus w;
	struct walrus_conf conf;
	struct log log;
	struct arena *arena;
	struct rpc_request rq;
	struct loop *loop;
	struct workers *workers;
	char *directory;
};

static int
idle(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	return 0;
}

static int
setup(void **state)
{
	struct world *v = xcalloc(1, sizeof(*v));
	_cleanup_free_ char *url = NULL, *blobs = NULL;
	struct err e = { 0 };

	log_set_level(LOG_ERROR);
	v->directory = net_temporary_directory();
	url = xasprintf("sqlite:%s/walrus.db", v->directory);
	blobs = xasprintf("%s/blobs", v->directory);
	v->arena = arena_new(0);
	v->log.daemon = "walrus";
	v->conf.bucket_limit = 10;
	v->w.conf = &v->conf;
	v->w.log = &v->log;
	if (store_open(url, &walrus_schema, &v->log, &v->w.store, &e) < 0 ||
	    blobs_open(blobs, &v->w.blobs, &e) < 0 || bundles_new(&v->w, &v->w.bundles, &e) < 0 ||
	    loop_new(&v->loop, &e) < 0 || workers_new(1, 8, &v->workers, &e) < 0)
		fail_msg("%s", e.text);
	v->w.contents = contents_new();
	v->w.buckets = buckets_new();
	v->w.garbage = reconciler_new(v->loop, v->workers, "walrus", "garbage", 60000, idle, v);
	v->rq.state = &v->w;
	v->rq.arena = v->arena;
	*state = v;
	return 0;
}

static int
teardown(void **state)
{
	struct world *v = *state;

	bundles_free(v->w.bundles);
	reconciler_free(v->w.garbage);
	workers_free(v->workers);
	loop_free(v->loop);
	buckets_free(v->w.buckets);
	contents_free(v->w.contents);
	blobs_free(v->w.blobs);
	store_close(v->w.store);
	arena_free(v->arena);
	net_remove_directory(v->directory);
	free(v->directory);
	free(v);
	return 0;
}

/* A gzipped tar archive of `size` bytes that gzip can't make smaller; *ret_sha1 of it unpacked. */
static struct str
make_export(size_t size, char ret_sha1[41])
{
	size_t room = size + size / 8 + 100000, n = 0, unpacked = 0;
	char *file = xmalloc(size + 1), *packed = xmalloc(room), *tar = xmalloc(room);
	uint8_t sum[20];

	random_bytes(file, size);
	for (int pass = 0; pass < 2; pass++) { /* packed, and as it is */
		struct archive *a = archive_write_new();
		struct archive_entry *entry = archive_entry_new();

		if (pass == 0) {
			archive_write_add_filter_gzip(a);
			archive_write_set_filter_option(a, "gzip", "compression-level", "1");
		}
		archive_write_set_format_ustar(a);
		archive_write_set_bytes_in_last_block(a, 1);
		archive_write_open_memory(
		    a, pass == 0 ? packed : tar, room, pass == 0 ? &n : &unpacked);
		archive_entry_set_pathname(entry, "disk.raw");
		archive_entry_set_size(entry, (la_int64_t)size);
		archive_entry_set_filetype(entry, AE_IFREG);
		archive_entry_set_perm(entry, 0644);
		assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
		assert_int_equal(archive_write_data(a, file, size), size);
		assert_int_equal(archive_write_close(a), ARCHIVE_OK);
		archive_entry_free(entry);
		archive_write_free(a);
	}
	digest(DIGEST_SHA1, (struct str){ tar, unpacked }, sum);
	hex_encode(sum, sizeof(sum), ret_sha1);
	free(file);
	free(tar);
	return (struct str){ packed, n };
}

/* As the node puts it. */
struct stored {
	struct world *v;
	const char *bucket, *key;
	const struct blob *blob;
};

static int
commit(struct store_tx *tx, void *arg, struct err *e)
{
	struct stored *s = arg;
	struct bucket bucket;
	struct object_put put = { .key = str_of(s->key),
		.content_id = "c0ffee",
		.etag = "etag",
		.sha256 = "sum",
		.account_id = ME,
		.size_bytes = s->blob->size_bytes };
	int r = bucket_find(tx, s->bucket, s->v->arena, &bucket, e);

	if (r == 0)
		r = content_add(tx, "c0ffee", 0, s->blob, NULL, e);
	return r == 0 ? object_replace(tx, &bucket, &put, e) : r;
}

static void
put_export(struct world *v, struct str bytes)
{
	struct walrus_open_export_in in = { ME, "export-1" };
	struct walrus_open_export_out out = { 0 };
	struct blob_writer *writer = blob_writer_new(v->w.blobs);
	struct blob blob;
	struct stored s = { .v = v, .blob = &blob };
	struct err e = { 0 };

	assert_int_equal(walrus_handle_open_export(&v->rq, &in, &out, &e), 0);
	assert_int_equal(out.bucket[0], '.');
	s.bucket = out.bucket;
	s.key = out.key;
	if (blob_writer_add(writer, bytes, &e) < 0 || blob_writer_finish(writer, &blob, &e) < 0 ||
	    store_write(v->w.store, commit, &s, &e) < 0)
		fail_msg("%s", e.text);
	blob_writer_keep(writer);
	blob_writer_free(writer);
}

static struct walrus_write_bundle_in
wanted(const char *writer_id, const char *bucket)
{
	return (struct walrus_write_bundle_in){ .account_id = ME,
		.export_id = "export-1",
		.writer_id = writer_id,
		.bucket = bucket,
		.prefix = "disks/mine",
		.cipher_key = STR(KEY),
		.cipher_iv = STR(IV) };
}

static struct walrus_write_bundle_out
write_it(struct world *v, const struct walrus_write_bundle_in *in)
{
	struct walrus_write_bundle_out out;
	struct err e = { 0 };

	for (;;) {
		out = (struct walrus_write_bundle_out){ 0 };
		if (walrus_handle_write_bundle(&v->rq, in, &out, &e) < 0)
			fail_msg("%s", e.text);
		if (strcmp(out.state, "running") != 0)
			return out;
		(void)usleep(5000);
	}
}

/* The object's bytes; p NULL: there is none. Heap. */
static struct str
read_object(struct world *v, const char *bucket_name, const char *key)
{
	_cleanup_(content_reader_freep) struct content_reader *reader = NULL;
	_cleanup_strbuf_ struct strbuf all = STRBUF_INIT;
	_cleanup_(bucket_unrefp) struct bucket *bucket = NULL;
	struct object_name name = { .key = str_of(key) };
	struct object o;
	struct str none = { NULL, 0 };

	if (bucket_get(&v->w, bucket_name, &bucket, NULL) < 0)
		return none;
	name.bucket_id = bucket->id;
	if (content_open(&v->w, &name, v->arena, &o, &reader, NULL) < 0)
		return none;
	while (all.n < o.size_bytes) {
		_cleanup_free_ char *buffer = NULL;
		struct str bytes;

		assert_int_equal(
		    content_reader_read(reader, all.n, BLOB_BLOCK, &buffer, &bytes, NULL), 0);
		strbuf_addstr(&all, bytes);
	}
	none.n = all.n;
	none.p = strbuf_take(&all);
	return none;
}

static void
test_parts_are_the_export(void **state)
{
	static const size_t sizes[] = { 1, 100000, PART + 12345 };
	struct world *v = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		char sha1[41];
		struct str export = make_export(sizes[i], sha1);
		struct walrus_write_bundle_in in = wanted(ME, "mine");
		struct walrus_write_bundle_out out;
		struct walrus_delete_export_in over = { ME, "export-1", .has_undo = true };
		_cleanup_strbuf_ struct strbuf sealed = STRBUF_INIT;
		EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
		uint8_t *opened;
		int n = 0, rest = 0;

		put_export(v, export);
		out = write_it(v, &in);
		assert_string_equal(out.state, "done");
		assert_string_equal(out.archive_sha1, sha1);
		for (size_t k = 0; k < out.parts.count; k++) {
			struct str part = read_object(v, "mine", out.parts.items[k].key);
			char digest_text[41];

			assert_non_null(part.p);
			assert_int_equal(part.n, out.parts.items[k].size_bytes);
			assert_true(part.n == PART || k + 1 == out.parts.count);
			digest_hex(DIGEST_SHA1, part, digest_text);
			assert_string_equal(digest_text, out.parts.items[k].sha1);
			strbuf_addstr(&sealed, part);
			free((char *)part.p);
		}
		assert_string_equal(out.parts.items[0].key, "disks/mine.part.00");
		opened = xmalloc(sealed.n + 16);
		EVP_DecryptInit_ex(
		    c, EVP_aes_128_cbc(), NULL, (const uint8_t *)KEY, (const uint8_t *)IV);
		EVP_DecryptUpdate(c, opened, &n, (const uint8_t *)sealed.p, (int)sealed.n);
		assert_int_equal(EVP_DecryptFinal_ex(c, opened + n, &rest), 1);
		assert_int_equal(n + rest, export.n);
		assert_memory_equal(opened, export.p, export.n);
		EVP_CIPHER_CTX_free(c);
		free(opened);
		/* asked again, it is done still; deleted, the parts stay and the export does not */
		assert_string_equal(write_it(v, &in).state, "done");
		assert_int_equal(
		    walrus_handle_delete_export(&v->rq, &over, &(struct empty){ 0 }, NULL), 0);
		assert_null(read_object(v, ".exports." ME, "export-1").p);
		opened = (uint8_t *)read_object(v, "mine", "disks/mine.part.00").p;
		assert_non_null(opened);
		free(opened);
		free((char *)export.p);
	}
}

static void
test_what_fails_says_why_and_leaves_nothing(void **state)
{
	struct world *v = *state;
	struct walrus_write_bundle_in in = wanted(ME, "mine");
	struct walrus_delete_export_in over = { ME, "export-1", .has_undo = true };
	struct walrus_write_bundle_out out = write_it(v, &in);
	struct bucket *bucket;
	char *noise = xmalloc(1 << 20);

	assert_string_equal(out.state, "failed");
	assert_string_equal(out.reason_code, "NoSuchKey");
	assert_int_equal(walrus_handle_delete_export(&v->rq, &over, &(struct empty){ 0 }, NULL), 0);
	/* no archive: noticed on the way, and no part stays */
	random_bytes(noise, 1 << 20);
	put_export(v, (struct str){ noise, 1 << 20 });
	out = write_it(v, &in);
	if (strcmp(out.state, "failed") == 0)
		assert_null(read_object(v, "mine", "disks/mine.part.00").p);
	assert_int_equal(walrus_handle_delete_export(&v->rq, &over, &(struct empty){ 0 }, NULL), 0);
	/* somebody else's bucket */
	put_export(v, (struct str){ noise, 1 << 20 });
	in.writer_id = OTHER;
	out = write_it(v, &in);
	assert_string_equal(out.state, "failed");
	assert_string_equal(out.reason_code, "AccessDenied");
	assert_int_equal(walrus_handle_delete_export(&v->rq, &over, &(struct empty){ 0 }, NULL), 0);
	/* a name that is none, and those of ours */
	for (size_t i = 0; i < 2; i++) {
		put_export(v, (struct str){ noise, 1 << 20 });
		in = wanted(ME, i ? ".exports." ME : "No_Name");
		out = write_it(v, &in);
		assert_string_equal(out.state, "failed");
		assert_int_equal(
		    walrus_handle_delete_export(&v->rq, &over, &(struct empty){ 0 }, NULL), 0);
	}
	assert_int_equal(bucket_get(&v->w, "No_Name", &bucket, NULL), ERR_BUCKET_NOT_FOUND);
	in = wanted(ME, "mine");
	in.cipher_key.n = 15;
	assert_int_equal(walrus_handle_write_bundle(&v->rq, &in, &out, NULL), ERR_INVALID);
	free(noise);
}

static void
test_undone(void **state)
{
	struct world *v = *state;
	char sha1[41];
	struct str export = make_export(PART + 1000, sha1);
	struct walrus_write_bundle_in in = wanted(ME, "mine");
	struct walrus_write_bundle_out out = { 0 };
	struct walrus_delete_export_in undo = { ME, "export-1", .has_undo = true, .undo = true };
	int r;

	/* on its way, and done */
	for (int is_done = 0; is_done < 2; is_done++) {
		put_export(v, export);
		if (is_done)
			assert_string_equal(write_it(v, &in).state, "done");
		else
			assert_int_equal(walrus_handle_write_bundle(&v->rq, &in, &out, NULL), 0);
		while ((r = walrus_handle_delete_export(
			    &v->rq, &undo, &(struct empty){ 0 }, NULL)) == ERR_CONFLICT)
			(void)usleep(2000);
		assert_int_equal(r, 0);
		for (unsigned i = 0; i < 4; i++) {
			_cleanup_free_ char *key = xasprintf("disks/mine.part.%02u", i);

			assert_null(read_object(v, "mine", key).p);
		}
		assert_null(read_object(v, ".exports." ME, "export-1").p);
	}
	free((char *)export.p);
}

static void
test_objects(void **state)
{
	struct world *v = *state;
	struct walrus_write_object_in in = { .writer_id = ME,
		.bucket = "mine",
		.key = "a.manifest.xml",
		.content = STR("<manifest/>"),
		.content_type = "application/xml" };
	struct walrus_write_bundle_in bundle = wanted(ME, "mine");
	char sha1[41];
	struct str export = make_export(10, sha1), got;

	assert_int_equal(walrus_handle_write_object(&v->rq, &in, &(struct empty){ 0 }, NULL),
	    ERR_BUCKET_NOT_FOUND);
	put_export(v, export);
	assert_string_equal(write_it(v, &bundle).state, "done"); /* makes the bucket */
	for (int i = 0; i < 2; i++)
		assert_int_equal(
		    walrus_handle_write_object(&v->rq, &in, &(struct empty){ 0 }, NULL), 0);
	got = read_object(v, "mine", "a.manifest.xml");
	assert_int_equal(got.n, 11);
	assert_memory_equal(got.p, "<manifest/>", 11);
	in.writer_id = OTHER;
	assert_int_equal(
	    walrus_handle_write_object(&v->rq, &in, &(struct empty){ 0 }, NULL), ERR_ACCESS_DENIED);
	free((char *)got.p);
	free((char *)export.p);
}

int
main(void)
{
#define IN_A_WORLD(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		IN_A_WORLD(test_parts_are_the_export),
		IN_A_WORLD(test_what_fails_says_why_and_leaves_nothing),
		IN_A_WORLD(test_undone),
		IN_A_WORLD(test_objects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
