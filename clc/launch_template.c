/* Launch templates are rows, their versions rows that are only added and deleted. Numbers rise with
 * each version made and are never given again, also when the newest is deleted: what an instance
 * says it was launched from stays true. */
#include "launch_template.h"

#include <ctype.h>
#include <stdio.h>

#include "auth/digest.h"
#include "base/vec.h"

#include "tags.h"

#define NAME_MIN 3
#define NAME_MAX_LENGTH 128
#define TEMPLATES_MAX 5000 /* per account and region, unless its quota says otherwise */
#define VERSIONS_MAX 10000 /* per template */

/* -- rows -- */

void
clc_template_read(struct store_rows *rows, struct arena *arena, struct clc_template *ret)
{
	*ret = (struct clc_template){ .template_id = arena_strdup(arena, store_text(rows, 0)),
		.name = arena_strdup(arena, store_text(rows, 1)),
		.default_version = store_int(rows, 2),
		.last_version = store_int(rows, 3),
		.created_by = arena_strdup(arena, store_text(rows, 4)),
		.created_us = store_int(rows, 5),
		.latest_version = store_int(rows, 6) };
}

static int
check_reference(const char *id, const char *name, struct err *e)
{
	if (id && !id[0])
		id = NULL;
	if (name && !name[0])
		name = NULL;
	if (!id && !name)
		return err_set(e, ERR_MISSING_PARAMETER,
		    "The request must contain the parameter LaunchTemplateId or "
		    "LaunchTemplateName");
	if (id && name)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
		    "The parameters LaunchTemplateId and LaunchTemplateName cannot be used "
		    "together");
	if (id && !id_is_valid(id, "lt"))
		return err_set(e, ERR_LAUNCH_TEMPLATE_ID_MALFORMED,
		    "Invalid id: \"%.100s\" (expecting \"lt-...\")", id);
	return 0;
}

int
clc_template_load(struct store_tx *tx, struct request *rq, const char *id, const char *name,
    struct clc_template *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	bool by_id = id && id[0];
	int r = check_reference(id, name, e);

	if (r < 0)
		return r;
	r = store_query_one(tx, by_id ? Q_TEMPLATE_BY_ID : Q_TEMPLATE_BY_NAME, &rows,
	    "launch template", e, rq->account_id, rq->clc->conf->region, by_id ? id : name);
	if (r == ERR_NOT_FOUND && by_id)
		return err_set(e, ERR_LAUNCH_TEMPLATE_ID_NOT_FOUND,
		    "The specified launch template, with template ID %s, does not exist.", id);
	if (r == ERR_NOT_FOUND)
		return err_set(e, ERR_LAUNCH_TEMPLATE_NAME_NOT_FOUND,
		    "The specified launch template, with template name %.128s, does not exist.",
		    name);
	if (r == 0)
		clc_template_read(rows, rq->arena, ret);
	return r;
}

int
clc_template_describe(struct store_tx *tx, const struct clc_template *t, struct arena *arena,
    struct launch_template *ret, struct err *e)
{
	*ret = (struct launch_template){ .launch_template_id = t->template_id,
		.launch_template_name = t->name,
		.has_create_time = true,
		.create_time = t->created_us,
		.created_by = t->created_by,
		.has_default_version_number = true,
		.default_version_number = t->default_version,
		.has_latest_version_number = true,
		.latest_version_number = t->latest_version };
	return clc_tags_read(tx, t->template_id, arena, (void *)&ret->tags, e);
}

int
clc_template_version_parse(
    const struct clc_template *t, const char *text, int64_t *ret, struct err *e)
{
	int64_t number;

	if (!text || !text[0] || strcmp(text, "$Default") == 0)
		*ret = t->default_version;
	else if (strcmp(text, "$Latest") == 0)
		*ret = t->latest_version;
	else if (str_to_i64(str_of(text), &number) && number > 0)
		*ret = number;
	else
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Invalid launch template version '%.64s': either '$Default', '$Latest', or a "
		    "numeric version are allowed.",
		    text);
	return 0;
}

int
clc_template_version_load(struct store_tx *tx, const struct clc_template *t, int64_t version,
    struct arena *arena, struct launch_template_version *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(
	    tx, Q_TEMPLATE_VERSION, &rows, "launch template version", e, t->template_id, version);

	if (r == ERR_NOT_FOUND)
		return err_set(e, ERR_LAUNCH_TEMPLATE_VERSION_NOT_FOUND,
		    "Could not find the specified version %lld for the launch template with ID "
		    "%s.",
		    (long long)version, t->template_id);
	return r < 0 ? r : clc_template_version_read(rows, t, arena, ret, e);
}

/* -- making them -- */

struct creation {
	struct request *rq;
	const char *id, *name, *source; /* a new version's: of what, from which */
	const char *description, *token;
	bool resolves_alias;
	const struct launch_template_data *data;
	const struct tag *tags;
	size_t tag_count;
	char parameters[65]; /* digest, for the client token */
	struct clc_template template;
	struct launch_template_version version;
	struct launch_template shown;
};

static void
digest_parameters(const struct shape *shape, const void *in, char out[65])
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct xml_writer w;

	xml_writer_init(&w, &text, true);
	codec_to_xml(shape, in, &w);
	digest_hex(DIGEST_SHA256, strbuf_str(&text), out);
}

static const char *
creator(struct request *rq)
{
	return arena_printf(rq->arena, "arn:aws:iam::%s:user/%s", rq->account_id, rq->user_name);
}

static int
check_name(const char *name, struct err *e)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("-()./_", name[i]))
			n = 0;
	if (n < NAME_MIN || n > NAME_MAX_LENGTH)
		return err_set(e, ERR_LAUNCH_TEMPLATE_NAME_MALFORMED,
		    "A launch template name must be between 3 and 128 characters, and may contain "
		    "letters, numbers, and the following characters: - ( ) . / _.");
	return 0;
}

static int
check_creation(struct creation *c, struct err *e)
{
	_cleanup_free_ void *bytes = NULL;
	size_t n;

	if (c->data->user_data && !base64_decode(str_of(c->data->user_data), &bytes, &n))
		return err_set(e, ERR_USER_DATA_MALFORMED, "Invalid BASE64 encoding of user data.");
	return request_token(c->token, &c->token, e);
}

static int
check_count(struct store_tx *tx, struct request *rq, struct store_rows *count, const char *quota,
    int64_t limit, int fault, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_QUOTA, &rows, e, rq->account_id, quota);

	if (r == 0 && (r = store_next(rows, e)) > 0)
		limit = store_int(rows, 0);
	if (r >= 0 && store_int(count, 0) >= limit)
		return err_set(e, fault, "The limit of %lld has been reached.", (long long)limit);
	return r < 0 ? r : 0;
}

/* 1 and *ret_rows at the row that was made with this token; 0 when there is none. */
static int
find_repeat(const char *parameters, struct store_rows *rows, struct err *e)
{
	int r = store_next(rows, e);

	if (r <= 0)
		return r;
	if (!strings_equal(store_text(rows, 1), parameters))
		return err_set(e, ERR_IDEMPOTENT_PARAMETER_MISMATCH,
		    "Arguments on this idempotent request are inconsistent with arguments used in "
		    "previous request(s).");
	return 1;
}

static int
insert_version(struct store_tx *tx, struct creation *c, const char *id, int64_t version,
    const char *token, struct err *e)
{
	return store_exec(tx, Q_TEMPLATE_VERSION_INSERT, NULL, e, id, version, c->description,
	    clc_template_data_format(c->data, c->rq->arena), creator(c->rq), token,
	    token ? c->parameters : NULL, store_now_us(tx));
}

static int
insert_template(struct store_tx *tx, struct creation *c, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *count = NULL;
	struct request *rq = c->rq;
	int64_t changed = 0;
	char id[ID_MAX];
	int r = store_query_one(tx, Q_TEMPLATE_COUNT, &count, "count of launch templates", e,
	    rq->account_id, rq->clc->conf->region);

	if (r == 0)
		r = check_count(tx, rq, count, "launch-templates", TEMPLATES_MAX,
		    ERR_LAUNCH_TEMPLATE_LIMIT_EXCEEDED, e);
	if (r < 0)
		return r;
	id_new(id, "lt");
	c->id = arena_strdup(rq->arena, id);
	r = store_exec(tx, Q_TEMPLATE_INSERT, &changed, e, id, rq->account_id,
	    rq->clc->conf->region, c->name, INT64_C(1), creator(rq), c->token,
	    c->token ? c->parameters : NULL, store_now_us(tx));
	if (r == 0 && changed == 0)
		return err_set(
		    e, ERR_LAUNCH_TEMPLATE_NAME_EXISTS, "Launch template name already in use.");
	if (r == 0)
		r = insert_version(tx, c, id, 1, NULL, e);
	if (r == 0)
		r = clc_tags_insert(tx, rq->account_id, id, c->tags, c->tag_count, e);
	return r == 0 ? request_record(tx, rq, "launch_template", id, e) : r;
}

static int
create_template(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct creation *c = arg;
	struct request *rq = c->rq;
	int r = 0;

	if (c->token)
		r = store_query(tx, Q_TEMPLATE_BY_TOKEN, &rows, e, rq->account_id,
		    rq->clc->conf->region, c->token);
	if (r == 0 && rows)
		r = find_repeat(c->parameters, rows, e);
	if (r < 0)
		return r;
	if (r > 0) {
		c->id = arena_strdup(rq->arena, store_text(rows, 0));
		r = 0;
	} else {
		r = insert_template(tx, c, e);
	}
	if (r == 0)
		r = clc_template_load(tx, rq, c->id, NULL, &c->template, e);
	return r == 0 ? clc_template_describe(tx, &c->template, rq->arena, &c->shown, e) : r;
}

int
ec2_handle_create_launch_template(struct request *rq, const struct create_launch_template_in *in,
    struct create_launch_template_out *out, struct err *e)
{
	struct creation c = { .rq = rq,
		.name = in->launch_template_name,
		.description = in->version_description,
		.token = in->client_token,
		.data = in->launch_template_data };
	int r = check_name(in->launch_template_name, e);

	if (r == 0)
		r = check_creation(&c, e);
	if (r == 0)
		r = clc_tags_of(in->tag_specifications.items, in->tag_specifications.count,
		    "launch-template", &c.tags, &c.tag_count, e);
	if (r < 0)
		return r;
	digest_parameters(&create_launch_template_in_shape, in, c.parameters);
	r = store_write(rq->clc->store, create_template, &c, e);
	if (r < 0)
		return r;
	out->launch_template = arena_memdup(rq->arena, &c.shown, sizeof(c.shown));
	out->warning = clc_template_warning(c.data, rq->arena);
	return 0;
}

/* Parameters of the source that the new version does not give; its snapshots are not inherited. */
static int
inherit(struct store_tx *tx, struct creation *c, struct err *e)
{
	struct launch_template_version source;
	struct launch_template_data *merged = arena_alloc(c->rq->arena, sizeof(*merged));
	int64_t version;
	int r = clc_template_version_parse(&c->template, c->source, &version, e);

	if (r == 0)
		r = clc_template_version_load(tx, &c->template, version, c->rq->arena, &source, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < source.launch_template_data->block_devices.count; i++)
		if (source.launch_template_data->block_devices.items[i].ebs)
			source.launch_template_data->block_devices.items[i].ebs->snapshot_id = NULL;
	r = codec_merge(&launch_template_data_shape, c->data, source.launch_template_data,
	    c->rq->arena, merged, e);
	c->data = merged;
	return r;
}

static int
check_alias(const struct launch_template_data *data, struct err *e)
{
	if (data->image_id && strncmp(data->image_id, "resolve:", 8) == 0)
		return err_set(e, ERR_UNSUPPORTED_OPERATION,
		    "The image '%.200s' cannot be resolved: there is no parameter store",
		    data->image_id);
	return 0;
}

static int
add_version(struct store_tx *tx, struct creation *c, int64_t *ret_version, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *count = NULL;
	const char *id = c->template.template_id;
	int64_t version = c->template.last_version + 1;
	int r = 0;

	if (c->source && c->source[0])
		r = inherit(tx, c, e);
	if (r == 0 && c->resolves_alias)
		r = check_alias(c->data, e);
	if (r == 0)
		r = store_query_one(
		    tx, Q_TEMPLATE_VERSION_COUNT, &count, "count of versions", e, id);
	if (r == 0)
		r = check_count(tx, c->rq, count, "launch-template-versions", VERSIONS_MAX,
		    ERR_LAUNCH_TEMPLATE_VERSION_LIMIT_EXCEEDED, e);
	if (r == 0)
		r = insert_version(tx, c, id, version, c->token, e);
	if (r == 0)
		r = store_exec(tx, Q_TEMPLATE_SET_LAST, NULL, e, id, version);
	*ret_version = version;
	return r == 0 ? request_record(tx, c->rq, "launch_template", id, e) : r;
}

static int
create_version(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct creation *c = arg;
	const struct launch_template_data *given = c->data;
	int64_t version = 0;
	int r = clc_template_load(tx, c->rq, c->id, c->name, &c->template, e);

	if (r == 0 && c->token)
		r = store_query(
		    tx, Q_TEMPLATE_VERSION_BY_TOKEN, &rows, e, c->template.template_id, c->token);
	if (r == 0 && rows)
		r = find_repeat(c->parameters, rows, e);
	if (r > 0)
		version = store_int(rows, 0);
	else if (r == 0)
		r = add_version(tx, c, &version, e);
	c->data = given;
	return r < 0 ? r
		     : clc_template_version_load(
			   tx, &c->template, version, c->rq->arena, &c->version, e);
}

int
ec2_handle_create_launch_template_version(struct request *rq,
    const struct create_launch_template_version_in *in,
    struct create_launch_template_version_out *out, struct err *e)
{
	struct creation c = { .rq = rq,
		.id = in->launch_template_id,
		.name = in->launch_template_name,
		.source = in->source_version,
		.description = in->version_description,
		.token = in->client_token,
		.resolves_alias = in->resolve_alias,
		.data = in->launch_template_data };
	int r = check_creation(&c, e);

	if (r < 0)
		return r;
	digest_parameters(&create_launch_template_version_in_shape, in, c.parameters);
	r = store_write(rq->clc->store, create_version, &c, e);
	if (r < 0)
		return r;
	out->launch_template_version = arena_memdup(rq->arena, &c.version, sizeof(c.version));
	out->warning = clc_template_warning(c.version.launch_template_data, rq->arena);
	return 0;
}

/* -- ModifyLaunchTemplate, DeleteLaunchTemplate -- */

struct change {
	struct request *rq;
	const char *id, *name, *default_version;
	struct launch_template shown;
};

static int
set_default(struct store_tx *tx, void *arg, struct err *e)
{
	struct change *c = arg;
	struct launch_template_version version;
	struct clc_template t;
	int64_t number = 0;
	int r = clc_template_load(tx, c->rq, c->id, c->name, &t, e);

	if (r == 0)
		r = clc_template_version_parse(&t, c->default_version, &number, e);
	if (r == 0)
		r = clc_template_version_load(tx, &t, number, c->rq->arena, &version, e);
	if (r == 0)
		r = store_exec(tx, Q_TEMPLATE_SET_DEFAULT, NULL, e, t.template_id, number);
	if (r == 0)
		r = request_record(tx, c->rq, "launch_template", t.template_id, e);
	if (r < 0)
		return r;
	t.default_version = number;
	return clc_template_describe(tx, &t, c->rq->arena, &c->shown, e);
}

int
ec2_handle_modify_launch_template(struct request *rq, const struct modify_launch_template_in *in,
    struct modify_launch_template_out *out, struct err *e)
{
	struct change c = { .rq = rq,
		.id = in->launch_template_id,
		.name = in->launch_template_name,
		.default_version = in->default_version };
	int r;

	if (!in->default_version || !in->default_version[0])
		return err_set(e, ERR_MISSING_PARAMETER,
		    "The request must contain the parameter SetDefaultVersion");
	r = store_write(rq->clc->store, set_default, &c, e);
	if (r == 0)
		out->launch_template = arena_memdup(rq->arena, &c.shown, sizeof(c.shown));
	return r;
}

static int
delete_template(struct store_tx *tx, void *arg, struct err *e)
{
	struct change *c = arg;
	struct clc_template t;
	int r = clc_template_load(tx, c->rq, c->id, c->name, &t, e);

	if (r == 0)
		r = clc_template_describe(tx, &t, c->rq->arena, &c->shown, e);
	if (r == 0)
		r = store_exec(tx, Q_TEMPLATE_VERSIONS_DELETE, NULL, e, t.template_id);
	if (r == 0)
		r = store_exec(tx, Q_TAGS_DELETE, NULL, e, t.template_id);
	if (r == 0)
		r = store_exec(tx, Q_TEMPLATE_DELETE, NULL, e, t.template_id);
	return r == 0 ? request_record(tx, c->rq, "launch_template", t.template_id, e) : r;
}

int
ec2_handle_delete_launch_template(struct request *rq, const struct delete_launch_template_in *in,
    struct delete_launch_template_out *out, struct err *e)
{
	struct change c = {
		.rq = rq, .id = in->launch_template_id, .name = in->launch_template_name
	};
	int r = store_write(rq->clc->store, delete_template, &c, e);

	if (r == 0)
		out->launch_template = arena_memdup(rq->arena, &c.shown, sizeof(c.shown));
	return r;
}

/* -- DeleteLaunchTemplateVersions -- */

struct version_deletion {
	struct request *rq;
	const struct delete_launch_template_versions_in *in;
	VEC(struct deleted_template_version) deleted, not_deleted;
};

/* NULL: it is gone. */
static int
delete_version(struct store_tx *tx, struct version_deletion *d, const struct clc_template *t,
    int64_t version, struct template_response_error **ret_why, struct err *e)
{
	struct template_response_error why = { 0 };
	int64_t changed = 0;
	int r = 0;

	*ret_why = NULL;
	if (version == t->default_version) {
		why.code = "unexpectedError";
		why.message = arena_printf(d->rq->arena,
		    "Version %lld is the default version of the launch template: it cannot be "
		    "deleted before another is.",
		    (long long)version);
	} else {
		r = store_exec(tx, Q_TEMPLATE_VERSION_DELETE, &changed, e, t->template_id, version);
		why.code = changed ? NULL : "launchTemplateVersionDoesNotExist";
		why.message = "The specified launch template version does not exist.";
	}
	if (r == 0 && why.code)
		*ret_why = arena_memdup(d->rq->arena, &why, sizeof(why));
	return r;
}

static int
delete_versions(struct store_tx *tx, void *arg, struct err *e)
{
	struct version_deletion *d = arg;
	struct clc_template t;
	int r = clc_template_load(
	    tx, d->rq, d->in->launch_template_id, d->in->launch_template_name, &t, e);

	d->deleted.count = d->not_deleted.count = 0;
	for (size_t i = 0; r == 0 && i < d->in->versions.count; i++) {
		struct deleted_template_version one = { .launch_template_id = t.template_id,
			.launch_template_name = t.name,
			.has_version_number = true };

		(void)str_to_i64(str_of(d->in->versions.items[i]), &one.version_number);
		r = delete_version(tx, d, &t, one.version_number, &one.response_error, e);
		if (r == 0 && one.response_error)
			vec_add(&d->not_deleted, one);
		else if (r == 0)
			vec_add(&d->deleted, one);
	}
	return r == 0 && d->deleted.count
		   ? request_record(tx, d->rq, "launch_template", t.template_id, e)
		   : r;
}

int
ec2_handle_delete_launch_template_versions(struct request *rq,
    const struct delete_launch_template_versions_in *in,
    struct delete_launch_template_versions_out *out, struct err *e)
{
	struct version_deletion d = { .rq = rq, .in = in };
	int64_t number;
	int r;

	for (size_t i = 0; i < in->versions.count; i++)
		if (!str_to_i64(str_of(in->versions.items[i]), &number) || number < 1)
			return err_set(e, ERR_INVALID_PARAMETER_VALUE,
			    "Invalid launch template version '%.64s': a numeric version is "
			    "expected.",
			    in->versions.items[i]);
	r = store_write(rq->clc->store, delete_versions, &d, e);
	if (r == 0) {
		out->deleted.count = d.deleted.count;
		out->deleted.items = arena_memdup(
		    rq->arena, d.deleted.items, d.deleted.count * sizeof(*d.deleted.items));
		out->not_deleted.count = d.not_deleted.count;
		out->not_deleted.items = arena_memdup(rq->arena, d.not_deleted.items,
		    d.not_deleted.count * sizeof(*d.not_deleted.items));
	}
	vec_done(&d.deleted);
	vec_done(&d.not_deleted);
	return r;
}
