/* CopyImage: an image of the caller's own with the bytes of one that it may launch, as they were
 * when that one was registered: walrus checks the copy against the digest recorded. The bytes are
 * read by the right of the source's owner, who gave it with the permission to launch. */
#include "clc/ec2.api.h"
#include "image.h"
#include "tags.h"

struct copy {
	struct request *rq;
	const struct copy_image_in *in;
	const char *token;
	char *image_id;
	const char *found_id; /* made by an earlier call with this token */
};

static int
find_earlier(struct store_tx *tx, struct copy *c, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r;

	c->found_id = NULL;
	if (!c->token)
		return 0;
	r = store_query(
	    tx, Q_IMAGE_BY_TOKEN, &rows, e, c->rq->account_id, c->rq->clc->conf->region, c->token);
	if (r == 0)
		r = store_next(rows, e);
	if (r <= 0)
		return r;
	if (!strings_equal(store_text(rows, 1), c->rq->parameters))
		return err_set(e, ERR_IDEMPOTENT_PARAMETER_MISMATCH,
		    "Arguments on this idempotent request are inconsistent with arguments used in "
		    "previous request(s).");
	c->found_id = arena_strdup(c->rq->arena, store_text(rows, 0));
	return 0;
}

static int
copy_tags(struct store_tx *tx, struct copy *c, const struct clc_image *from, struct err *e)
{
	struct tag_list tags = { 0 };
	int r;

	if (!c->in->copy_image_tags || strcmp(from->account_id, c->rq->account_id) != 0)
		return 0;
	r = clc_tags_read(tx, from->image_id, c->rq->arena, &tags, e);
	return r < 0
		   ? r
		   : clc_tags_insert(tx, c->rq->account_id, c->image_id, tags.items, tags.count, e);
}

static int
begin(struct store_tx *tx, void *arg, struct err *e)
{
	struct copy *c = arg;
	struct request *rq = c->rq;
	struct clc_image from, to;
	struct image_part part = { 0 };
	struct clc_image_source source = { .as_service = true, .parts = &part, .part_count = 1 };
	char id[ID_MAX];
	int r = find_earlier(tx, c, e);

	if (r < 0 || c->found_id)
		return r;
	r = clc_image_visible(tx, rq->account_id, c->in->source_image_id, rq->arena, &from, e);
	/* The type decides which ids are right; the rest is as for a launch. */
	if (r == 0)
		r = clc_image_get(
		    tx, rq->account_id, from.image_id, from.type, rq->arena, &from, e);
	if (r < 0)
		return r;
	id_new(id, clc_image_prefix(from.type));
	c->image_id = arena_strdup(rq->arena, id);
	to = from;
	to.image_id = c->image_id;
	to.account_id = rq->account_id;
	to.name = c->in->name;
	to.description = c->in->description ? c->in->description : from.description;
	to.is_public = false;
	to.state = "pending";
	to.deprecation_us = 0;
	to.is_stored = false;
	part.key = from.object_key;
	part.size_bytes = (uint64_t)from.size_bytes;
	source.reader_id = from.account_id;
	source.bucket = from.bucket;
	source.sha256 = from.digest;
	r = clc_image_check_quota(tx, rq, e);
	if (r == 0)
		r = clc_image_insert(tx, rq->clc->conf->region, &to, e);
	if (r == 0)
		r = clc_image_set_source(tx, to.image_id, &source, e);
	if (r == 0 && c->token)
		r = store_exec(
		    tx, Q_IMAGE_TOKEN_SET, NULL, e, to.image_id, c->token, rq->parameters);
	if (r == 0)
		r = copy_tags(tx, c, &from, e);
	return r < 0 ? r : request_record(tx, rq, "image", to.image_id, e);
}

int
ec2_handle_copy_image(
    struct request *rq, const struct copy_image_in *in, struct copy_image_out *out, struct err *e)
{
	struct copy c = { .rq = rq, .in = in };
	int r;

	if (strcmp(in->source_region, rq->clc->conf->region) != 0)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Value (%.100s) for parameter sourceRegion is invalid. The only region is %s",
		    in->source_region, rq->clc->conf->region);
	if (in->encrypted)
		return err_set(e, ERR_UNSUPPORTED_OPERATION,
		    "Images have no snapshots here that could be encrypted");
	r = clc_image_check_name(in->name, e);
	if (r == 0)
		r = request_token(in->client_token, &c.token, e);
	if (r == 0)
		r = store_write(rq->clc->store, begin, &c, e);
	if (r < 0)
		return r;
	if (!c.found_id)
		clc_images_poke(rq->clc);
	out->image_id = c.found_id ? c.found_id : c.image_id;
	return 0;
}
