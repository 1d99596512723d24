/* Images whose bytes walrus makes. What is wanted is a row of image_source beside a pending image;
 * walrus is told of it again and again (StoreImage does nothing twice) until it says that it is
 * done or why it failed, whatever either daemon went through in between. Bytes are given back when
 * the image is deregistered and no instance is left that may have to fetch them. */
#include "base/clock.h"
#include "base/vec.h"
#include "net/url.h"

#include "image.h"
#include "manifest.h"
#include "peers.h"

#define ASK_AGAIN_MIN_MS 100
#define ASK_AGAIN_MAX_MS 5000
#define FAILED_CODE "Client.InvalidImage"

struct listed {
	const char *image_id, *account_id;
};

struct work {
	struct clc *clc;
	struct arena *arena;
	unsigned query;
	VEC(struct listed) images;

	struct clc_image image;
	struct walrus_store_image_in in;
	struct walrus_store_image_out out;
	const char *wrapped_key, *wrapped_iv;
	bool is_wanted;
	int64_t disk_bytes;
	const char *failure;
};

void
clc_images_poke(struct clc *clc)
{
	if (clc->images)
		reconciler_poke(clc->images);
}

char *
clc_bundle_key_path(const struct clc *clc)
{
	return xasprintf("%s/credentials/cloud-key.pem", clc->conf->daemon.state_dir);
}

char *
clc_bundle_certificate_path(const struct clc *clc)
{
	return xasprintf("%s/credentials/cloud-cert.pem", clc->conf->daemon.state_dir);
}

static int
list(struct store_tx *tx, void *arg, struct err *e)
{
	struct work *w = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, w->query, &rows, e);

	w->images.count = 0;
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct listed one = { arena_strdup(w->arena, store_text(rows, 0)),
			arena_strdup(w->arena, store_text(rows, 1)) };

		vec_add(&w->images, one);
	}
	return r;
}

/* -- what is wanted -- */

static int
read_parts(struct work *w, const char *text, struct err *e)
{
	VEC(struct image_part) parts = { 0 };
	struct str rest = str_of(text), line;
	int r = 0;

	while (r == 0 && str_split(&rest, '\n', &line)) {
		_cleanup_strbuf_ struct strbuf key = STRBUF_INIT;
		struct image_part part = { 0 };
		struct str size, sha1;

		if (line.n == 0)
			continue;
		if (!str_split(&line, ' ', &size) || !str_to_u64(size, &part.size_bytes) ||
		    !str_split(&line, ' ', &sha1)) {
			r = err_set(e, ERR_CORRUPT, "an image has a part that can't be read");
			break;
		}
		if (!str_is(sha1, "-"))
			part.sha1 = arena_str(w->arena, sha1);
		r = url_decode(&key, line, false, e);
		part.key = arena_str(w->arena, strbuf_str(&key));
		vec_add(&parts, part);
	}
	w->in.parts.items = arena_memdup(w->arena, parts.items, parts.count * sizeof(*parts.items));
	w->in.parts.count = parts.count;
	vec_done(&parts);
	return r;
}

static int
read_wanted(struct store_tx *tx, void *arg, struct err *e)
{
	struct work *w = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = clc_image_load(tx, w->in.image_id, w->arena, &w->image, e);

	if (r == 0)
		r = store_query(tx, Q_IMAGE_SOURCE_BY_ID, &rows, e, w->in.image_id);
	if (r == 0)
		r = store_next(rows, e);
	w->is_wanted = r > 0 && strcmp(w->image.state, "pending") == 0 && !w->image.is_deregistered;
	if (r <= 0)
		return r;
	w->in.account_id = w->image.account_id;
	w->in.reader_id = arena_strdup(w->arena, store_text(rows, 0));
	w->in.has_as_service = true;
	w->in.as_service = store_int(rows, 1);
	w->in.bucket = arena_strdup(w->arena, store_text(rows, 2));
	w->wrapped_key = arena_strdup(w->arena, store_text(rows, 4));
	w->wrapped_iv = arena_strdup(w->arena, store_text(rows, 5));
	w->in.has_archive = true;
	w->in.archive = store_int(rows, 6);
	w->in.archive_sha1 = arena_strdup(w->arena, store_text(rows, 7));
	w->in.has_file_bytes = store_int(rows, 8) > 0;
	w->in.file_bytes = (uint64_t)store_int(rows, 8);
	w->in.digest = arena_strdup(w->arena, store_text(rows, 9));
	return read_parts(w, store_text(rows, 3), e);
}

static int
unwrap(const struct clc *clc, const char *wrapped, uint8_t key[MANIFEST_KEY_HEX / 2],
    struct str *ret, struct err *e)
{
	_cleanup_free_ char *path = clc_bundle_key_path(clc);
	char hex[MANIFEST_KEY_HEX + 1];
	size_t n = 0;
	int r = manifest_unwrap(path, wrapped, hex, e);

	if (r == 0)
		(void)hex_decode(str_of(hex), key, MANIFEST_KEY_HEX / 2, &n);
	OPENSSL_cleanse(hex, sizeof(hex));
	*ret = (struct str){ (const char *)key, n };
	return r;
}

/* -- what became of it -- */

static int
write_done(struct store_tx *tx, void *arg, struct err *e)
{
	struct work *w = arg;
	int64_t changed = 0;
	int r = store_exec(tx, Q_IMAGE_STORED, &changed, e, w->image.image_id, w->out.bucket,
	    w->out.key, (int64_t)w->out.size_bytes, w->out.digest, w->disk_bytes, w->image.format);

	if (r == 0)
		r = store_exec(tx, Q_IMAGE_SOURCE_DELETE, NULL, e, w->image.image_id);
	return r < 0 || changed == 0 ? r
				     : outbox_add(tx, "image", w->image.image_id,
					   w->image.account_id, "available", e);
}

static int
write_failed(struct store_tx *tx, void *arg, struct err *e)
{
	struct work *w = arg;

	return clc_image_fail(tx, &w->image, FAILED_CODE, w->failure, e);
}

static int
fail(struct work *w, const char *why, struct err *e)
{
	w->failure = why;
	log_info(w->clc->log, "image.failed", "image=%s reason=\"%s\"", w->image.image_id, why);
	return store_write(w->clc->store, write_failed, w, e);
}

static int
finish(struct work *w, struct err *e)
{
	struct err why = { 0 };

	if (!w->out.bucket || !w->out.key || !w->out.digest || !w->out.size_bytes)
		return err_set(
		    e, ERR_INTERNAL, "walrus does not say where image '%s' is", w->image.image_id);
	w->disk_bytes = (int64_t)w->out.size_bytes;
	if (clc_image_check_format(&w->image, w->out.head, &w->disk_bytes, &why) < 0)
		return fail(w, arena_strdup(w->arena, why.text), e);
	log_info(w->clc->log, "image.available", "image=%s size_bytes=%llu", w->image.image_id,
	    (unsigned long long)w->out.size_bytes);
	return store_write(w->clc->store, write_done, w, e);
}

static uint32_t
ask_again_ms(const struct clc_image *image)
{
	int64_t tenth_ms = (clock_now_us() - image->created_us) / 10000;

	return tenth_ms < ASK_AGAIN_MIN_MS   ? ASK_AGAIN_MIN_MS
	       : tenth_ms > ASK_AGAIN_MAX_MS ? ASK_AGAIN_MAX_MS
					     : (uint32_t)tenth_ms;
}

static int
bring_on(struct clc *clc, const struct listed *listed, uint32_t *ret_again_ms, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct work w = { .clc = clc, .arena = arena, .in = { .image_id = listed->image_id } };
	struct rpc_context context = { .request_id = listed->image_id,
		.account_id = listed->account_id };
	uint8_t key[MANIFEST_KEY_HEX / 2] = { 0 }, iv[MANIFEST_KEY_HEX / 2] = { 0 };
	uint32_t again_ms;
	int r = store_read(clc->store, read_wanted, &w, e);

	if (r < 0 || !w.is_wanted)
		return r;
	if (w.wrapped_key)
		r = unwrap(clc, w.wrapped_key, key, &w.in.cipher_key, e);
	if (r == 0 && w.wrapped_iv)
		r = unwrap(clc, w.wrapped_iv, iv, &w.in.cipher_iv, e);
	if (r == ERR_INVALID_MANIFEST)
		return fail(
		    &w, "The key of the cloud is not the one that this was encrypted for", e);
	if (r == 0)
		r = clc_peers_walrus(
		    clc->peers, &walrus_store_image, &context, &w.in, &w.out, arena, e);
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(iv, sizeof(iv));
	if (r < 0)
		return r;
	if (strcmp(w.out.state, "done") == 0)
		return finish(&w, e);
	if (strcmp(w.out.state, "failed") == 0)
		return fail(&w, w.out.reason ? w.out.reason : "It can not be unpacked", e);
	again_ms = ask_again_ms(&w.image);
	if (again_ms < *ret_again_ms)
		*ret_again_ms = again_ms;
	return 0;
}

static int
write_forgotten(struct store_tx *tx, void *arg, struct err *e)
{
	const char *image_id = arg;

	return store_exec(tx, Q_IMAGE_FORGOTTEN, NULL, e, image_id);
}

static int
forget(struct clc *clc, const struct listed *listed, uint32_t *ret_again_ms, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct walrus_delete_stored_image_in in = { .image_id = listed->image_id,
		.account_id = listed->account_id };
	struct rpc_context context = { .request_id = listed->image_id,
		.account_id = listed->account_id };
	struct empty out = { 0 };
	int r = clc_peers_walrus(
	    clc->peers, &walrus_delete_stored_image, &context, &in, &out, arena, e);

	(void)ret_again_ms;
	if (r < 0)
		return r;
	log_info(clc->log, "image.forgotten", "image=%s", listed->image_id);
	return store_write(clc->store, write_forgotten, (void *)listed->image_id, e);
}

/* One that fails does not keep the others waiting; the first error is what is told. */
static int
each(struct clc *clc, unsigned query,
    int (*fn)(struct clc *, const struct listed *, uint32_t *, struct err *),
    uint32_t *ret_again_ms, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct work w = { .clc = clc, .arena = arena, .query = query };
	int first = store_read(clc->store, list, &w, e);

	VEC_FOREACH (&w.images, image) {
		struct err other = { 0 };
		int r = fn(clc, image, ret_again_ms, first < 0 ? &other : e);

		if (first >= 0 && r < 0)
			first = r;
	}
	vec_done(&w.images);
	return first < 0 ? first : 0;
}

int
clc_images_reconcile(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	struct clc *clc = arg;
	struct err other = { 0 };
	int r = each(clc, Q_IMAGES_TO_STORE, bring_on, ret_again_ms, e);
	int forgotten = each(clc, Q_IMAGES_TO_FORGET, forget, ret_again_ms, r < 0 ? &other : e);

	return r < 0 ? r : forgotten;
}
