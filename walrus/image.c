/* Making images. A job reads the parts one after the other, sends them through unpack.c and writes
 * blobs; one transaction then names them all, so that there is an object, whole, or nothing (what a
 * killed process leaves is found by the sweep of orphans). Jobs are in memory: what is done is
 * known by its object, what is not is begun anew when the clc asks again. Two at a time, on threads
 * of their own, so that they take no worker from those who wait for an answer. */
#include "image.h"

#include <stdatomic.h>

#include "auth/digest.h"
#include "base/map.h"
#include "base/qcow2.h"
#include "access.h"
#include "bucket.h"
#include "object.h"
#include "run/lock.h"
#include "schema.h"
#include "unpack.h"

#define JOBS_AT_ONCE 2
#define JOBS_MAX 256
#define EXTENT_BYTES (UINT64_C(1) << 30)

struct images {
	struct walrus *walrus;
	struct workers *workers;
	struct lock lock;
	struct map *jobs; /* under lock */
	atomic_bool is_stopping;
};

struct written {
	struct blob_writer *writer;
	struct blob blob;
};

struct job {
	struct images *images;
	struct arena *arena; /* of the job's thread */
	struct walrus_store_image_in in;
	char bucket_name[64];
	atomic_bool is_cancelled;
	atomic_uint progress;
	/* under images->lock */
	bool is_running, is_dropped;
	char *failure;

	/* the thread's */
	size_t part;
	struct content_reader *reader; /* of that part */
	struct object object;
	uint64_t offset, read_bytes, total_bytes;
	EVP_MD_CTX *part_sha1, *sha256, *md5;
	char *piece;
	VEC(struct written) extents;
	uint64_t extent_bytes, written_bytes;
	char content_id[CONTENT_ID_SIZE], digest[65], etag[33];
	bool was_there;
};

static void
job_free(void *p)
{
	struct job *j = p;

	OPENSSL_cleanse((void *)j->in.cipher_key.p, j->in.cipher_key.n);
	free(j->failure);
	arena_free(j->arena);
	free(j);
}

struct images *
images_new(struct walrus *w)
{
	struct images *i = xcalloc(1, sizeof(*i));
	struct err e = { 0 };

	i->walrus = w;
	lock_init(&i->lock, LOCK_STATE);
	i->jobs = map_new(job_free);
	if (workers_new(JOBS_AT_ONCE, JOBS_MAX, &i->workers, &e) < 0)
		log_error(w->log, "images.failed", "error=\"%s\"", e.text);
	return i;
}

void
images_free(struct images *i)
{
	if (!i)
		return;
	atomic_store(&i->is_stopping, true);
	workers_free(i->workers);
	map_free(i->jobs);
	lock_done(&i->lock);
	free(i);
}

static bool
is_over(struct job *j)
{
	return atomic_load(&j->is_cancelled) || atomic_load(&j->images->is_stopping);
}

/* -- reading the parts -- */

static const struct image_part *
part_of(const struct job *j)
{
	return &j->in.parts.items[j->part];
}

static int
missing(const struct job *j, const char *what, struct err *e)
{
	return err_set(
	    e, ERR_INVALID, "The object %.100s/%.200s %s", j->in.bucket, part_of(j)->key, what);
}

static int
open_part(struct job *j, struct err *e)
{
	struct walrus *w = j->images->walrus;
	_cleanup_(bucket_unrefp) struct bucket *bucket = NULL;
	struct object_name name = { .key = str_of(part_of(j)->key) };
	int r = bucket_get(w, j->in.bucket, &bucket, e);

	if (r == 0) {
		name.bucket_id = bucket->id;
		r = content_open(w, &name, j->arena, &j->object, &j->reader, e);
	}
	if (r == 0)
		r = access_as(w, j->in.reader_id, j->in.as_service, "s3:GetObject", bucket,
		    name.key, &j->object, e);
	if (r == ERR_BUCKET_NOT_FOUND || r == ERR_KEY_NOT_FOUND)
		return missing(j, "does not exist any more", e);
	if (r == ERR_ACCESS_DENIED)
		return missing(j, "may not be read any more", e);
	if (r == 0 && j->object.size_bytes != part_of(j)->size_bytes)
		return missing(j, "was replaced since the image was registered", e);
	if (r == 0)
		j->part_sha1 = digest_begin(DIGEST_SHA1);
	j->offset = 0;
	return r;
}

static int
close_part(struct job *j, struct err *e)
{
	uint8_t sha1[20];
	char hex[41];

	content_reader_free(TAKE(j->reader));
	digest_end(TAKE(j->part_sha1), sha1);
	hex_encode(sha1, sizeof(sha1), hex);
	if (part_of(j)->sha1 && strcmp(part_of(j)->sha1, hex) != 0)
		return missing(j, "has another SHA-1 than the manifest says", e);
	j->part++;
	return 0;
}

static int
read_piece(void *arg, struct str *ret, struct err *e)
{
	struct job *j = arg;
	int r = 0;

	free(TAKE(j->piece));
	if (is_over(j))
		return err_set(e, ERR_CANCELLED, "the image is not wanted any more");
	while (r == 0 && j->reader && j->offset == j->object.size_bytes)
		r = close_part(j, e);
	while (r == 0 && !j->reader && j->part < j->in.parts.count) {
		r = open_part(j, e);
		if (r == 0 && j->object.size_bytes == 0)
			r = close_part(j, e);
	}
	*ret = (struct str){ NULL, 0 };
	if (r < 0 || !j->reader)
		return r;
	r = content_reader_read(
	    j->reader, j->offset, j->object.size_bytes - j->offset, &j->piece, ret, e);
	if (r == ERR_CORRUPT)
		return missing(j, "is damaged", e);
	if (r < 0)
		return r;
	EVP_DigestUpdate(j->part_sha1, ret->p, ret->n);
	j->offset += ret->n;
	j->read_bytes += ret->n;
	atomic_store(&j->progress, (unsigned)(j->read_bytes * 100 / j->total_bytes));
	return 0;
}

/* -- writing the object -- */

static struct written *
last_extent(struct job *j)
{
	return &j->extents.items[j->extents.count - 1];
}

static int
finish_extent(struct job *j, struct err *e)
{
	j->extent_bytes = 0;
	return blob_writer_finish(last_extent(j)->writer, &last_extent(j)->blob, e);
}

static int
write_piece(void *arg, struct str bytes, struct err *e)
{
	struct job *j = arg;
	int r = 0;

	EVP_DigestUpdate(j->sha256, bytes.p, bytes.n);
	EVP_DigestUpdate(j->md5, bytes.p, bytes.n);
	j->written_bytes += bytes.n;
	while (r == 0 && bytes.n > 0) {
		uint64_t room = EXTENT_BYTES - j->extent_bytes;
		size_t n = bytes.n < room ? bytes.n : (size_t)room;

		if (j->extent_bytes == 0) {
			struct written x = { .writer = blob_writer_new(j->images->walrus->blobs) };

			vec_add(&j->extents, x);
		}
		r = blob_writer_add(last_extent(j)->writer, (struct str){ bytes.p, n }, e);
		bytes = (struct str){ bytes.p + n, bytes.n - n };
		j->extent_bytes += n;
		if (r == 0 && j->extent_bytes == EXTENT_BYTES)
			r = finish_extent(j, e);
	}
	return r;
}

static int
commit(struct store_tx *tx, void *arg, struct err *e)
{
	struct job *j = arg;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct object_put put = { .key = str_of(j->in.image_id),
		.content_id = j->content_id,
		.etag = j->etag,
		.sha256 = j->digest,
		.account_id = j->in.account_id,
		.size_bytes = j->written_bytes };
	struct object_name name = { .key = put.key };
	struct bucket bucket;
	struct object there;
	uint64_t at = 0;
	int r;

	if (atomic_load(&j->is_cancelled))
		return err_set(e, ERR_CANCELLED, "the image is not wanted any more");
	r = bucket_of_images(tx, j->in.account_id, arena, &bucket, e);
	if (r < 0)
		return r;
	name.bucket_id = bucket.id;
	j->was_there = object_find(tx, &name, arena, &there, e) == 0;
	if (j->was_there)
		return 0;
	for (size_t i = 0; r == 0 && i < j->extents.count; i++) {
		const struct blob *b = &j->extents.items[i].blob;

		r = content_add(tx, j->content_id, at, b, NULL, e);
		at += b->size_bytes;
	}
	return r < 0 ? r : object_replace(tx, &bucket, &put, e);
}

static int
finish(struct job *j, struct err *e)
{
	uint8_t sha256[32], md5[16];
	int r = j->extent_bytes ? finish_extent(j, e) : 0;

	digest_end(TAKE(j->sha256), sha256);
	digest_end(TAKE(j->md5), md5);
	hex_encode(sha256, sizeof(sha256), j->digest);
	hex_encode(md5, sizeof(md5), j->etag);
	if (r == 0 && j->in.digest && strcmp(j->in.digest, j->digest) != 0)
		return err_set(
		    e, ERR_INVALID, "The bytes are not those that were registered any more");
	content_id_new(j->content_id);
	if (r == 0)
		r = store_write(j->images->walrus->store, commit, j, e);
	for (size_t i = 0; r == 0 && !j->was_there && i < j->extents.count; i++)
		blob_writer_keep(j->extents.items[i].writer);
	return r;
}

/* -- a job -- */

static int
make(struct job *j, struct err *e)
{
	struct unpack u = { .read = read_piece,
		.write = write_piece,
		.arg = j,
		.key = j->in.cipher_key,
		.iv = j->in.cipher_iv,
		.is_archive = j->in.archive,
		.archive_sha1 = j->in.archive_sha1,
		.file_bytes = j->in.file_bytes,
		.bytes_max = j->images->walrus->conf->image_bytes_max };
	int r;

	for (size_t i = 0; i < j->in.parts.count; i++)
		j->total_bytes += j->in.parts.items[i].size_bytes;
	if (j->total_bytes == 0)
		return err_set(e, ERR_INVALID, "The image is empty");
	j->sha256 = digest_begin(DIGEST_SHA256);
	j->md5 = digest_begin(DIGEST_MD5);
	r = unpack_run(&u, e);
	return r < 0 ? r : finish(j, e);
}

static void
drop_work(struct job *j)
{
	content_reader_free(TAKE(j->reader));
	if (j->part_sha1)
		digest_end(TAKE(j->part_sha1), NULL);
	if (j->sha256)
		digest_end(TAKE(j->sha256), NULL);
	if (j->md5)
		digest_end(TAKE(j->md5), NULL);
	free(TAKE(j->piece));
	VEC_FOREACH (&j->extents, x)
		blob_writer_free(x->writer); /* removes what is not kept */
	vec_done(&j->extents);
}

/* Bytes that are wrong stay wrong, and a disk that is full will hardly be emptied by trying: these
 * are told. Anything else is tried again when the clc asks. */
static bool
is_final(int code)
{
	return code == ERR_INVALID || code == ERR_NO_SPACE;
}

static void
run(void *arg)
{
	struct job *j = arg;
	struct images *i = j->images;
	struct err e = { 0 };
	int r = is_over(j) ? err_set(&e, ERR_CANCELLED, "the image is not wanted any more")
			   : make(j, &e);

	if (r < 0)
		log_info(i->walrus->log, "image.failed", "image=%s error=\"%s\"", j->in.image_id,
		    e.text);
	else
		log_info(i->walrus->log, "image.stored", "image=%s size_bytes=%llu", j->in.image_id,
		    (unsigned long long)j->written_bytes);
	drop_work(j);
	LOCK_SCOPE(&i->lock);
	j->is_running = false;
	if (j->is_dropped)
		job_free(j);
	else if (r < 0 && is_final(r))
		j->failure =
		    xstrdup(r == ERR_NO_SPACE ? "There is no room for the image in the object store"
					      : e.text);
	else
		(void)map_remove(i->jobs, j->in.image_id);
}

static struct job *
job_new(struct images *i, const struct walrus_store_image_in *in)
{
	struct job *j = xcalloc(1, sizeof(*j));

	j->images = i;
	j->arena = arena_new(0);
	codec_copy(&walrus_store_image_in_shape, in, j->arena, &j->in);
	j->is_running = true;
	return j;
}

/* Failures that nobody asks about any more make room. */
static void
forget_failures(struct images *i)
{
	size_t cursor = 0;
	const char *id;
	void *p;

	while (map_count(i->jobs) >= JOBS_MAX && map_next(i->jobs, &cursor, &id, &p)) {
		const struct job *j = p;

		if (j->is_running)
			continue;
		(void)map_remove(i->jobs, j->in.image_id);
		cursor = 0;
	}
}

/* -- what the clc asks -- */

struct lookup {
	const char *account_id, *image_id;
	struct arena *arena;
	struct bucket bucket;
	struct object_name name;
	struct object object;
};

static int
find(struct store_tx *tx, void *arg, struct err *e)
{
	struct lookup *l = arg;
	char name[BUCKET_OF_IMAGES_SIZE];
	int r;

	bucket_of_images_name(l->account_id, name);
	r = bucket_find(tx, name, l->arena, &l->bucket, e);
	l->name = (struct object_name){ .bucket_id = l->bucket.id, .key = str_of(l->image_id) };
	return r < 0 ? r : object_find(tx, &l->name, l->arena, &l->object, e);
}

static int
answer_done(struct walrus *w, struct lookup *l, struct walrus_store_image_out *out, struct err *e)
{
	_cleanup_(content_reader_freep) struct content_reader *reader = NULL;
	_cleanup_free_ char *buffer = NULL;
	struct str head;
	int r = content_open(w, &l->name, l->arena, &l->object, &reader, e);

	if (r == 0)
		r = content_reader_read(reader, 0, QCOW2_HEADER_MAX, &buffer, &head, e);
	if (r < 0)
		return r;
	out->state = "done";
	out->has_progress = true;
	out->progress = 100;
	out->bucket = l->bucket.name;
	out->key = l->image_id;
	out->has_size_bytes = true;
	out->size_bytes = l->object.size_bytes;
	out->digest = l->object.sha256;
	out->head = (struct str){ arena_memdup(l->arena, head.p, head.n), head.n };
	return 0;
}

static void
answer_job(const struct job *j, struct arena *arena, struct walrus_store_image_out *out)
{
	out->state = j->failure ? "failed" : "running";
	out->has_progress = true;
	out->progress = atomic_load(&j->progress);
	out->reason = arena_strdup(arena, j->failure);
}

/* Whatever is known of the job, or a new one. */
static int
ask_job(struct images *i, const struct walrus_store_image_in *in, struct arena *arena,
    struct walrus_store_image_out *out, struct err *e)
{
	struct job *j;
	int r;

	LOCK_SCOPE(&i->lock);
	j = map_find(i->jobs, in->image_id);
	if (!j) {
		forget_failures(i);
		if (map_count(i->jobs) >= JOBS_MAX)
			return err_set(e, ERR_UNAVAILABLE, "too many images are being made");
		j = job_new(i, in);
		r = workers_run(i->workers, run, j, e);
		if (r < 0) {
			job_free(j);
			return r;
		}
		map_set(i->jobs, in->image_id, j);
	}
	answer_job(j, arena, out);
	return 0;
}

int
image_store(struct walrus *w, const struct walrus_store_image_in *in, struct arena *arena,
    struct walrus_store_image_out *out, struct err *e)
{
	struct lookup l = {
		.account_id = in->account_id, .image_id = in->image_id, .arena = arena
	};
	struct err none;
	int r;

	if (in->parts.count == 0)
		return err_set(e, ERR_INVALID, "an image of no parts");
	r = store_read(w->store, find, &l, &none);
	if (r == 0)
		return answer_done(w, &l, out, e);
	if (r == ERR_BUCKET_NOT_FOUND || r == ERR_KEY_NOT_FOUND)
		return ask_job(w->images, in, arena, out, e);
	*e = none;
	return r;
}

static int
remove_object(struct store_tx *tx, void *arg, struct err *e)
{
	struct lookup *l = arg;
	struct object_removal removal = { .key = str_of(l->image_id) };
	int r = find(tx, l, e);

	if (r == ERR_BUCKET_NOT_FOUND || r == ERR_KEY_NOT_FOUND)
		return 0;
	return r < 0 ? r : object_remove(tx, &l->bucket, &removal, e);
}

int
image_delete(struct walrus *w, const char *account_id, const char *image_id, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct lookup l = { .account_id = account_id, .image_id = image_id, .arena = arena };
	struct job *j;
	int r;

	/* First the job, whose commit looks at it: then nothing comes after the removal. */
	lock_take(&w->images->lock);
	j = map_take(w->images->jobs, image_id);
	if (j) {
		atomic_store(&j->is_cancelled, true);
		j->is_dropped = true;
		if (!j->is_running)
			job_free(j);
	}
	lock_release(&w->images->lock);
	r = store_write(w->store, remove_object, &l, e);
	reconciler_poke(w->garbage);
	return r;
}
