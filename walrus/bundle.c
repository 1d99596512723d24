/* Bundles: an export (a gzipped tar archive in a bucket that nobody is shown) is read once; what is
 * read is encrypted, cut into objects of 10 MiB in the user's bucket, and unpacked only to be
 * hashed. The archive's reader pulls the bytes, and whatever it pulls goes to the parts first. All
 * that is in memory at a time is one block of a mebibyte, and one of its ciphertext.
 *
 * Work is known by its export. It lives in this process only: who asks again after a restart begins
 * it anew, and with the same key and IV the same parts come out. */
#include "bundle.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>

#include "auth/digest.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/vec.h"
#include "access.h"
#include "bucket.h"
#include "content.h"
#include "object.h"
#include "rpc/walrus.api.h"
#include "run/lock.h"
#include "run/workers.h"
#include "store/outbox.h"
#include "schema.h"

#define PART_BYTES (10 * 1024 * 1024)
#define PARTS_MAX 2048
#define WORKERS 2
#define QUEUED_MAX 256
#define KEPT_MAX 4096 /* outcomes nobody asked for any more */
#define CIPHER_BYTES 16

struct part {
	char *key;
	uint64_t size_bytes;
	char sha1[41];
};

struct job {
	struct walrus *walrus;
	struct bundles *bundles;
	char *name; /* the export */
	char *export_bucket, *export_key, *writer_id, *bucket_name, *prefix;
	uint8_t cipher_key[CIPHER_BYTES], cipher_iv[CIPHER_BYTES];
	atomic_bool is_cancelled, must_undo;
	_Atomic uint64_t read_bytes, all_bytes;
	unsigned references; /* under the lock: the map's, and the worker's */
	bool is_over;        /* under the lock: what follows is set for good */
	struct err err;
	char archive_sha1[41];
	VEC(struct part) parts;

	/* the worker's own */
	struct arena *arena;
	struct bucket *bucket; /* NULL until the job has begun */
	struct content_reader *source;
	char *block;
	EVP_CIPHER_CTX *cipher;
	uint8_t *sealed;
	struct blob_writer *writer;
	EVP_MD_CTX *md5, *sha1, *sha256;
	uint64_t part_bytes;
	bool is_read;
};

struct bundles {
	struct walrus *walrus;
	struct lock lock;
	struct map *jobs; /* under lock: export id -> struct job */
	struct workers *workers;
	bool is_ending; /* under lock */
};

static void
job_unref_locked(struct job *j)
{
	if (--j->references > 0)
		return;
	VEC_FOREACH (&j->parts, p)
		free(p->key);
	vec_done(&j->parts);
	free(j->name);
	free(j->export_bucket);
	free(j->export_key);
	free(j->writer_id);
	free(j->bucket_name);
	bucket_unref(j->bucket);
	free(j->prefix);
	free(j);
}

/* -- buckets -- */

/* No name that a user's bucket could have. */
static char *
exports_bucket(const char *account_id)
{
	return xasprintf(".exports.%s", account_id);
}

struct making {
	struct walrus *walrus;
	const char *name, *account_id, *request_id;
	bool is_hidden;
	struct arena *arena;
};

static int
make_bucket(struct store_tx *tx, void *arg, struct err *e)
{
	struct making *m = arg;
	struct audit_record record = { .request_id = m->request_id,
		.account_id = m->account_id,
		.user_name = "",
		.service = "s3",
		.action = "CreateBucket",
		.resource = m->name };
	uint64_t id;
	struct bucket there;
	int r = bucket_find(tx, m->name, m->arena, &there, e);

	if (r != ERR_BUCKET_NOT_FOUND)
		return r;
	err_clear(e);
	if (!m->is_hidden) {
		_cleanup_(store_rows_freep) struct store_rows *count = NULL;

		r = store_query_one(tx, Q_BUCKET_COUNT, &count, "buckets", e, m->account_id);
		if (r == 0 && store_int(count, 0) >= m->walrus->conf->bucket_limit)
			r = err_set(e, ERR_TOO_MANY_BUCKETS,
			    "You have attempted to create more buckets than allowed");
		if (r < 0)
			return r;
	}
	random_bytes(&id, sizeof(id));
	r = store_exec(tx, Q_BUCKET_INSERT, NULL, e, (int64_t)(id >> 1), m->name, m->account_id, "",
	    store_now_us(tx));
	if (r == 0 && !m->is_hidden)
		r = audit_add(tx, &record, e);
	if (r == 0 && !m->is_hidden)
		r = outbox_add(tx, "bucket", m->name, m->account_id, "CreateBucket", e);
	return r;
}

int
walrus_handle_open_export(struct rpc_request *rq, const struct walrus_open_export_in *in,
    struct walrus_open_export_out *out, struct err *e)
{
	struct walrus *w = rq->state;
	_cleanup_free_ char *name = exports_bucket(in->account_id);
	struct making m = { w, name, in->account_id, "", true, rq->arena };
	int r = store_write(w->store, make_bucket, &m, e);

	if (r < 0)
		return r;
	out->bucket = arena_strdup(rq->arena, name);
	out->key = in->export_id;
	return 0;
}

/* -- parts -- */

static int
part_begin(struct job *j, struct err *e)
{
	if (j->parts.count == PARTS_MAX)
		return err_set(
		    e, ERR_ENTITY_TOO_LARGE, "the bundle would have more than %d parts", PARTS_MAX);
	j->writer = blob_writer_new(j->walrus->blobs);
	j->md5 = digest_begin(DIGEST_MD5);
	j->sha1 = digest_begin(DIGEST_SHA1);
	j->sha256 = digest_begin(DIGEST_SHA256);
	j->part_bytes = 0;
	return 0;
}

struct part_commit {
	struct job *job;
	const struct blob *blob;
	struct object_put put;
};

static int
commit_part(struct store_tx *tx, void *arg, struct err *e)
{
	struct part_commit *c = arg;
	int r = content_add(tx, c->put.content_id, 0, c->blob, NULL, e);

	return r < 0 ? r : object_replace(tx, c->job->bucket, &c->put, e);
}

static void
part_drop(struct job *j)
{
	blob_writer_free(TAKE(j->writer));
	if (j->md5) {
		digest_end(TAKE(j->md5), NULL);
		digest_end(TAKE(j->sha1), NULL);
		digest_end(TAKE(j->sha256), NULL);
	}
}

static int
part_end(struct job *j, struct err *e)
{
	char content_id[CONTENT_ID_SIZE], etag[33], sha256[65];
	struct part part = { .size_bytes = j->part_bytes };
	struct part_commit c = { .job = j };
	char type[] = "Content-Type: application/octet-stream\n";
	uint8_t md5_bytes[16], sha1_bytes[20], sha256_bytes[32];
	struct blob blob;
	int r;

	digest_end(TAKE(j->md5), md5_bytes);
	digest_end(TAKE(j->sha1), sha1_bytes);
	digest_end(TAKE(j->sha256), sha256_bytes);
	hex_encode(md5_bytes, sizeof(md5_bytes), etag);
	hex_encode(sha1_bytes, sizeof(sha1_bytes), part.sha1);
	hex_encode(sha256_bytes, sizeof(sha256_bytes), sha256);
	content_id_new(content_id);
	part.key = xasprintf("%s.part.%02zu", j->prefix, j->parts.count);
	r = blob_writer_finish(j->writer, &blob, e);
	c.blob = &blob;
	c.put = (struct object_put){ .key = str_of(part.key),
		.content_id = content_id,
		.etag = etag,
		.sha256 = sha256,
		.account_id = j->bucket->account_id,
		.attributes.headers = type,
		.size_bytes = blob.size_bytes };
	if (r == 0)
		r = store_write(j->walrus->store, commit_part, &c, e);
	if (r == 0)
		blob_writer_keep(j->writer);
	blob_writer_free(TAKE(j->writer));
	if (r < 0) {
		free(part.key);
		return r;
	}
	vec_add(&j->parts, part);
	return 0;
}

static int
add_sealed(struct job *j, const uint8_t *p, size_t n, struct err *e)
{
	while (n > 0) {
		int r = j->writer ? 0 : part_begin(j, e);
		size_t fits = PART_BYTES - (size_t)j->part_bytes;

		if (r < 0)
			return r;
		if (fits > n)
			fits = n;
		r = blob_writer_add(j->writer, (struct str){ (const char *)p, fits }, e);
		if (r < 0)
			return r;
		EVP_DigestUpdate(j->md5, p, fits);
		EVP_DigestUpdate(j->sha1, p, fits);
		EVP_DigestUpdate(j->sha256, p, fits);
		j->part_bytes += fits;
		p += fits;
		n -= fits;
		if (j->part_bytes == PART_BYTES && (r = part_end(j, e)) < 0)
			return r;
	}
	return 0;
}

/* -- reading, sealing, hashing -- */

/* The next block of the export; it is sealed before anybody sees it. 0 at the end. */
static int
next_block(struct job *j, struct str *ret, struct err *e)
{
	uint64_t at = atomic_load(&j->read_bytes), all = atomic_load(&j->all_bytes);
	int n = 0, r;

	*ret = (struct str){ NULL, 0 };
	if (atomic_load(&j->is_cancelled))
		return err_set(e, ERR_CANCELLED, "it is wanted no more");
	if (j->is_read)
		return 0;
	free(TAKE(j->block));
	if (at < all) {
		r = content_reader_read(j->source, at, BLOB_BLOCK, &j->block, ret, e);
		if (r < 0)
			return r;
		if (EVP_EncryptUpdate(
			j->cipher, j->sealed, &n, (const uint8_t *)ret->p, (int)ret->n) != 1)
			return err_set(e, ERR_INTERNAL, "cannot encrypt");
		atomic_store(&j->read_bytes, at + ret->n);
	} else {
		j->is_read = true;
		if (EVP_EncryptFinal_ex(j->cipher, j->sealed, &n) != 1)
			return err_set(e, ERR_INTERNAL, "cannot encrypt");
	}
	r = add_sealed(j, j->sealed, (size_t)n, e);
	if (r == 0 && j->is_read && j->writer)
		r = part_end(j, e);
	return r;
}

static la_ssize_t
pull(struct archive *a, void *arg, const void **ret)
{
	struct job *j = arg;
	struct str block;

	if (next_block(j, &block, &j->err) < 0) {
		archive_set_error(a, EIO, "cannot read");
		return -1;
	}
	*ret = block.p;
	return (la_ssize_t)block.n;
}

static int
unpack_error(struct job *j, struct archive *a, struct err *e)
{
	if (j->err.code) {
		*e = j->err;
		return e->code;
	}
	return err_set(e, ERR_CORRUPT, "the export cannot be unpacked: %s",
	    archive_error_string(a) ? archive_error_string(a) : "unknown error");
}

static int
hash_archive(struct job *j, struct archive *a, EVP_MD_CTX *hash, struct err *e)
{
	struct archive_entry *entry;
	const void *p;
	size_t n;
	la_int64_t offset;
	int r;

	archive_read_support_filter_gzip(a);
	archive_read_support_format_raw(a);
	if (archive_read_open(a, j, NULL, pull, NULL) != ARCHIVE_OK ||
	    archive_read_next_header(a, &entry) != ARCHIVE_OK)
		return unpack_error(j, a, e);
	while ((r = archive_read_data_block(a, &p, &n, &offset)) == ARCHIVE_OK)
		EVP_DigestUpdate(hash, p, n);
	return r == ARCHIVE_EOF ? 0 : unpack_error(j, a, e);
}

static int
seal(struct job *j, struct err *e)
{
	struct archive *a = archive_read_new();
	EVP_MD_CTX *hash = digest_begin(DIGEST_SHA1);
	uint8_t bytes[20];
	struct str rest;
	int r;

	if (EVP_EncryptInit_ex(j->cipher, EVP_aes_128_cbc(), NULL, j->cipher_key, j->cipher_iv) !=
	    1)
		r = err_set(e, ERR_INTERNAL, "cannot encrypt");
	else
		r = hash_archive(j, a, hash, e);
	(void)archive_read_free(a);
	digest_end(hash, bytes);
	hex_encode(bytes, sizeof(bytes), j->archive_sha1);
	while (r == 0 && !j->is_read) /* what unpacking had no need of */
		r = next_block(j, &rest, e);
	return r;
}

/* -- one job, on a worker -- */

static int
open_source(struct job *j, struct err *e)
{
	_cleanup_(bucket_unrefp) struct bucket *exports = NULL;
	struct object_name name = { .key = str_of(j->export_key) };
	struct object o;
	int r = bucket_get(j->walrus, j->export_bucket, &exports, e);

	if (r == 0) {
		name.bucket_id = exports->id;
		r = content_open(j->walrus, &name, j->arena, &o, &j->source, e);
	}
	if (r == ERR_KEY_NOT_FOUND || r == ERR_BUCKET_NOT_FOUND)
		return err_set(e, ERR_KEY_NOT_FOUND, "the export is not there");
	if (r == 0)
		atomic_store(&j->all_bytes, o.size_bytes);
	return r;
}

static int
open_target(struct job *j, struct err *e)
{
	struct making m = { j->walrus, j->bucket_name, j->writer_id, j->name, false, j->arena };
	int r = bucket_get(j->walrus, j->bucket_name, &j->bucket, e);

	if (r == ERR_BUCKET_NOT_FOUND) {
		err_clear(e);
		if (!bucket_name_is_valid(j->bucket_name))
			return err_set(e, ERR_BUCKET_NAME, "The specified bucket is not valid.");
		r = store_write(j->walrus->store, make_bucket, &m, e);
		if (r == 0)
			r = bucket_get(j->walrus, j->bucket_name, &j->bucket, e);
	}
	return r == 0 ? access_as(j->walrus, j->writer_id, false, "s3:PutObject", j->bucket,
			    str_of(j->prefix), NULL, e)
		      : r;
}

struct removal {
	const char *bucket_name, *key;
	struct arena *arena;
};

static int
remove_object(struct store_tx *tx, void *arg, struct err *e)
{
	struct removal *d = arg;
	struct object_removal removal = { .key = str_of(d->key) };
	struct bucket bucket;
	int r = bucket_find(tx, d->bucket_name, d->arena, &bucket, e);

	if (r == ERR_BUCKET_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	return r == 0 ? object_remove(tx, &bucket, &removal, e) : r;
}

/* Parts of a bundle that will never be whole. */
static void
undo(struct job *j)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);

	VEC_FOREACH (&j->parts, p) {
		struct removal d = { j->bucket_name, p->key, arena };
		struct err e = { 0 };

		if (store_write(j->walrus->store, remove_object, &d, &e) < 0)
			log_warn(
			    j->walrus->log, "bundle.undo", "key=%s error=\"%s\"", p->key, e.text);
	}
	reconciler_poke(j->walrus->garbage);
}

static int
run(struct job *j, struct err *e)
{
	int r =
	    atomic_load(&j->is_cancelled) ? err_set(e, ERR_CANCELLED, "it is wanted no more") : 0;

	if (r == 0)
		r = open_source(j, e);
	if (r == 0)
		r = open_target(j, e);
	if (r == 0)
		r = seal(j, e);
	return r;
}

static void
work(void *arg)
{
	struct job *j = arg;
	struct bundles *b = j->bundles;
	uint64_t began = clock_monotonic_ms();
	struct err e = { 0 };
	int r;

	j->arena = arena_new(0);
	j->cipher = EVP_CIPHER_CTX_new();
	j->sealed = xmalloc(BLOB_BLOCK + CIPHER_BYTES);
	r = run(j, &e);
	part_drop(j);
	if (r < 0 && (r != ERR_CANCELLED || atomic_load(&j->must_undo)))
		undo(j);
	EVP_CIPHER_CTX_free(TAKE(j->cipher));
	OPENSSL_cleanse(j->cipher_key, sizeof(j->cipher_key));
	free(TAKE(j->sealed));
	free(TAKE(j->block));
	content_reader_free(TAKE(j->source));
	arena_free(TAKE(j->arena));
	reconciler_poke(j->walrus->garbage); /* of what the parts replaced */
	log_info(j->walrus->log, "bundle.written",
	    "export=%s bucket=%s parts=%zu ms=%llu error=\"%s\"", j->name, j->bucket_name,
	    j->parts.count, (unsigned long long)(clock_monotonic_ms() - began), e.text);
	LOCK_SCOPE(&b->lock);
	j->err = e;
	j->is_over = true;
	job_unref_locked(j);
}

/* -- asking -- */

static int
check_bundle(const struct walrus_write_bundle_in *in, struct err *e)
{
	if (in->cipher_key.n != CIPHER_BYTES || in->cipher_iv.n != CIPHER_BYTES)
		return err_set(e, ERR_INVALID, "key and IV have %d bytes", CIPHER_BYTES);
	if (strlen(in->prefix) > S3_KEY_MAX - strlen(".part.0000"))
		return err_set(e, ERR_KEY_TOO_LONG, "Your key is too long");
	return 0;
}

static struct job *
job_new(struct bundles *b, const struct walrus_write_bundle_in *in)
{
	struct job *j = xcalloc(1, sizeof(*j));

	j->walrus = b->walrus;
	j->bundles = b;
	j->name = xstrdup(in->export_id);
	j->export_bucket = exports_bucket(in->account_id);
	j->export_key = xstrdup(in->export_id);
	j->writer_id = xstrdup(in->writer_id);
	j->bucket_name = xstrdup(in->bucket);
	j->prefix = xstrdup(in->prefix);
	memcpy(j->cipher_key, in->cipher_key.p, CIPHER_BYTES);
	memcpy(j->cipher_iv, in->cipher_iv.p, CIPHER_BYTES);
	return j;
}

static int
begin_locked(
    struct bundles *b, const struct walrus_write_bundle_in *in, struct job **ret, struct err *e)
{
	struct job *j;
	int r;

	if (b->is_ending)
		return err_set(e, ERR_CANCELLED, "walrus stops");
	if (map_count(b->jobs) >= KEPT_MAX)
		return err_set(e, ERR_LIMIT, "too many bundles are being written");
	j = job_new(b, in);
	j->references = 2;
	r = workers_run(b->workers, work, j, e);
	if (r < 0) {
		j->references = 1;
		job_unref_locked(j);
		return r;
	}
	map_set(b->jobs, in->export_id, j);
	*ret = j;
	return 0;
}

static void
describe_locked(struct job *j, struct arena *arena, struct walrus_write_bundle_out *out)
{
	uint64_t all = atomic_load(&j->all_bytes);

	out->has_progress = true;
	out->progress = all ? (uint32_t)(atomic_load(&j->read_bytes) * 100 / all) : 0;
	out->state = "running";
	if (!j->is_over)
		return;
	if (j->err.code) {
		out->state = "failed";
		out->reason_code = fault_code(j->err.code);
		out->reason = arena_strdup(arena, j->err.text);
		return;
	}
	out->state = "done";
	out->archive_sha1 = arena_strdup(arena, j->archive_sha1);
	out->parts.items = arena_alloc(arena, (j->parts.count + 1) * sizeof(*out->parts.items));
	VEC_FOREACH (&j->parts, p)
		out->parts.items[out->parts.count++] = (struct bundle_part){
			.key = arena_strdup(arena, p->key),
			.size_bytes = p->size_bytes,
			.sha1 = arena_strdup(arena, p->sha1),
		};
}

int
walrus_handle_write_bundle(struct rpc_request *rq, const struct walrus_write_bundle_in *in,
    struct walrus_write_bundle_out *out, struct err *e)
{
	struct walrus *w = rq->state;
	struct bundles *b = w->bundles;
	struct job *j;
	int r = check_bundle(in, e);

	if (r < 0)
		return r;
	LOCK_SCOPE(&b->lock);
	j = map_find(b->jobs, in->export_id);
	if (!j)
		r = begin_locked(b, in, &j, e);
	if (r < 0)
		return r;
	describe_locked(j, rq->arena, out);
	return 0;
}

struct object_write {
	const struct bucket *bucket;
	struct object_put put;
	const struct blob *blob;
};

static int
commit_object(struct store_tx *tx, void *arg, struct err *e)
{
	struct object_write *o = arg;
	int r = content_add(tx, o->put.content_id, 0, o->blob, NULL, e);

	return r < 0 ? r : object_replace(tx, o->bucket, &o->put, e);
}

int
walrus_handle_write_object(struct rpc_request *rq, const struct walrus_write_object_in *in,
    struct empty *out, struct err *e)
{
	struct walrus *w = rq->state;
	_cleanup_(blob_writer_freep) struct blob_writer *writer = blob_writer_new(w->blobs);
	_cleanup_(bucket_unrefp) struct bucket *bucket = NULL;
	char content_id[CONTENT_ID_SIZE], etag[33], sha256[65];
	struct object_write o = { 0 };
	struct blob blob;
	int r = bucket_get(w, in->bucket, &bucket, e);

	o.bucket = bucket;
	if (r == 0)
		r = access_as(
		    w, in->writer_id, false, "s3:PutObject", bucket, str_of(in->key), NULL, e);
	if (r == 0 && strlen(in->key) > S3_KEY_MAX)
		r = err_set(e, ERR_KEY_TOO_LONG, "Your key is too long");
	if (r == 0)
		r = blob_writer_add(writer, in->content, e);
	if (r == 0)
		r = blob_writer_finish(writer, &blob, e);
	if (r < 0)
		return r;
	content_id_new(content_id);
	digest_hex(DIGEST_MD5, in->content, etag);
	digest_hex(DIGEST_SHA256, in->content, sha256);
	o.blob = &blob;
	o.put = (struct object_put){ .key = str_of(in->key),
		.content_id = content_id,
		.etag = etag,
		.sha256 = sha256,
		.account_id = bucket->account_id,
		.attributes.headers = in->content_type ? arena_printf(rq->arena,
							     "Content-Type: %s\n", in->content_type)
						       : NULL,
		.size_bytes = blob.size_bytes };
	r = store_write(w->store, commit_object, &o, e);
	if (r == 0)
		blob_writer_keep(writer);
	reconciler_poke(w->garbage);
	return r;
}

int
walrus_handle_delete_export(struct rpc_request *rq, const struct walrus_delete_export_in *in,
    struct empty *out, struct err *e)
{
	struct walrus *w = rq->state;
	struct bundles *b = w->bundles;
	_cleanup_free_ char *name = exports_bucket(in->account_id);
	struct removal d = { name, in->export_id, rq->arena };
	struct job *j;
	int r;

	{
		LOCK_SCOPE(&b->lock);
		j = map_find(b->jobs, in->export_id);
		if (j && !j->is_over) {
			if (in->undo)
				atomic_store(&j->must_undo, true);
			atomic_store(&j->is_cancelled, true);
			return err_set(e, ERR_CONFLICT, "its bundle is still being written");
		}
		if (j)
			j->references++;
	}
	if (j) {
		if (in->undo && !j->err.code)
			undo(j);
		LOCK_SCOPE(&b->lock);
		if (map_find(b->jobs, in->export_id) == j) {
			(void)map_take(b->jobs, in->export_id);
			job_unref_locked(j);
		}
		job_unref_locked(j);
	}
	r = store_write(w->store, remove_object, &d, e);
	reconciler_poke(w->garbage);
	return r;
}

/* -- life -- */

int
bundles_new(struct walrus *w, struct bundles **ret, struct err *e)
{
	struct bundles *b = xcalloc(1, sizeof(*b));
	int r = workers_new(WORKERS, QUEUED_MAX, &b->workers, e);

	if (r < 0) {
		free(b);
		return r;
	}
	b->walrus = w;
	b->jobs = map_new(NULL);
	lock_init(&b->lock, LOCK_CACHE);
	*ret = b;
	return 0;
}

void
bundles_cancel(struct bundles *b)
{
	size_t cursor = 0;
	const char *id;
	void *job;

	if (!b)
		return;
	LOCK_SCOPE(&b->lock);
	b->is_ending = true;
	while (map_next(b->jobs, &cursor, &id, &job))
		atomic_store(&((struct job *)job)->is_cancelled, true);
}

void
bundles_free(struct bundles *b)
{
	size_t cursor = 0;
	const char *id;
	void *job;

	if (!b)
		return;
	bundles_cancel(b);
	workers_free(b->workers);
	while (map_next(b->jobs, &cursor, &id, &job))
		job_unref_locked(job);
	map_free(b->jobs);
	lock_done(&b->lock);
	free(b);
}
