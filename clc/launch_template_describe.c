/* DescribeLaunchTemplates and DescribeLaunchTemplateVersions: rows, filters, pages. */
#include "launch_template.h"

#include "base/vec.h"

#include "filter.h"
#include "page.h"
#include "tags.h"

/* What an answer may take of its arena: a call without MaxResults ends there, with a token for the
 * rest. */
#define ANSWER_MAX (32 << 20)

/* -- templates -- */

struct listing {
	struct request *rq;
	const struct describe_launch_templates_in *in;
	VEC(struct launch_template) found;
};

static int
add_template(struct store_tx *tx, struct listing *l, const struct clc_template *t, struct err *e)
{
	struct launch_template shown;
	int r = clc_template_describe(tx, t, l->rq->arena, &shown, e);

	for (size_t i = 0; i < l->found.count; i++)
		if (strcmp(l->found.items[i].launch_template_id, t->template_id) == 0)
			return r; /* named twice */
	if (r == 0 &&
	    filters_match(l->rq->operation, l->in->filters.items, l->in->filters.count, &shown))
		vec_add(&l->found, shown);
	return r;
}

static int
read_templates(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct listing *l = arg;
	struct clc_template t;
	int r = 0;

	l->found.count = 0;
	for (size_t i = 0; r == 0 && i < l->in->launch_template_ids.count; i++) {
		r = clc_template_load(tx, l->rq, l->in->launch_template_ids.items[i], NULL, &t, e);
		if (r == 0)
			r = add_template(tx, l, &t, e);
	}
	for (size_t i = 0; r == 0 && i < l->in->launch_template_names.count; i++) {
		r = clc_template_load(
		    tx, l->rq, NULL, l->in->launch_template_names.items[i], &t, e);
		if (r == 0)
			r = add_template(tx, l, &t, e);
	}
	if (r < 0 || l->in->launch_template_ids.count || l->in->launch_template_names.count)
		return r;
	r = store_query(tx, Q_TEMPLATES, &rows, e, l->rq->account_id, l->rq->clc->conf->region);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		clc_template_read(rows, l->rq->arena, &t);
		r = add_template(tx, l, &t, e);
	}
	return r;
}

int
ec2_handle_describe_launch_templates(struct request *rq,
    const struct describe_launch_templates_in *in, struct describe_launch_templates_out *out,
    struct err *e)
{
	struct listing l = { .rq = rq, .in = in };
	struct page page;
	int r = page_begin(
	    &page, in->next_token, in->has_max_results ? in->max_results : 0, false, "", e);

	if (r == 0)
		r = store_read(rq->clc->store, read_templates, &l, e);
	if (r == 0) {
		page_cut(&page, l.found.count);
		out->launch_templates.count = page.count;
		out->launch_templates.items =
		    page.count ? arena_memdup(rq->arena, l.found.items + page.first,
				     page.count * sizeof(*l.found.items))
			       : NULL;
		out->next_token = page_token(&page, rq->arena);
	}
	vec_done(&l.found);
	return r;
}

/* -- versions -- */

struct versions {
	struct request *rq;
	const struct describe_launch_template_versions_in *in;
	int64_t min, max;
	struct page page;
	size_t total; /* how many passed so far, those of other pages too */
	VEC(struct launch_template_version) found;
};

static int
check_alias(const struct launch_template_version *v, struct err *e)
{
	const char *image = v->launch_template_data->image_id;

	if (image && strncmp(image, "resolve:", 8) == 0)
		return err_set(e, ERR_UNSUPPORTED_OPERATION,
		    "The image '%.200s' of version %lld cannot be resolved: there is no parameter "
		    "store",
		    image, (long long)v->version_number);
	return 0;
}

/* Looked at in memory that goes at once: only what is answered stays. */
static int
add_version(
    struct versions *v, const struct clc_template *t, struct store_rows *rows, struct err *e)
{
	_cleanup_arena_ struct arena *scratch = arena_new(0);
	struct launch_template_version seen, kept;
	int r;

	if (v->page.has_more || store_int(rows, 0) < v->min || store_int(rows, 0) > v->max)
		return 0;
	r = clc_template_version_read(rows, t, scratch, &seen, e);
	if (r < 0 ||
	    !filters_match(v->rq->operation, v->in->filters.items, v->in->filters.count, &seen))
		return r;
	if (v->in->resolve_alias)
		r = check_alias(&seen, e);
	if (r < 0)
		return r;
	if (v->total >= v->page.first && ((v->page.limit && v->found.count == v->page.limit) ||
					     arena_used(v->rq->arena) >= ANSWER_MAX)) {
		v->page.has_more = true;
		return 0;
	}
	if (v->total >= v->page.first) {
		codec_copy(&launch_template_version_shape, &seen, v->rq->arena, &kept);
		vec_add(&v->found, kept);
	}
	v->total++;
	return 0;
}

static int
add_numbered(struct store_tx *tx, struct versions *v, const struct clc_template *t, int64_t number,
    struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct launch_template_version absent;
	int r = store_query(tx, Q_TEMPLATE_VERSION, &rows, e, t->template_id, number);

	if (r == 0)
		r = store_next(rows, e);
	if (r == 0) /* says which */
		return clc_template_version_load(tx, t, number, v->rq->arena, &absent, e);
	return r < 0 ? r : add_version(v, t, rows, e);
}

/* Those asked for by number or name, each once. */
static int
add_named(struct store_tx *tx, struct versions *v, const struct clc_template *t, struct err *e)
{
	size_t count = v->in->versions.count;
	int64_t *numbers = arena_alloc(v->rq->arena, (count + 1) * sizeof(*numbers));
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		bool is_new = true;

		r = clc_template_version_parse(t, v->in->versions.items[i], &numbers[i], e);
		for (size_t k = 0; r == 0 && k < i; k++)
			is_new = is_new && numbers[k] != numbers[i];
		if (r == 0 && is_new)
			r = add_numbered(tx, v, t, numbers[i], e);
	}
	return r;
}

static int
read_one_template(struct store_tx *tx, struct versions *v, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct clc_template t;
	int r = clc_template_load(
	    tx, v->rq, v->in->launch_template_id, v->in->launch_template_name, &t, e);

	if (r < 0 || v->in->versions.count)
		return r < 0 ? r : add_named(tx, v, &t, e);
	r = store_query(tx, Q_TEMPLATE_VERSIONS, &rows, e, t.template_id, v->min, v->max);
	while (r >= 0 && !v->page.has_more && (r = store_next(rows, e)) > 0)
		r = add_version(v, &t, rows, e);
	return r < 0 ? r : 0;
}

static int
read_all_templates(struct store_tx *tx, struct versions *v, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct clc_template t;
	int r = store_query(tx, Q_TEMPLATES, &rows, e, v->rq->account_id, v->rq->clc->conf->region);

	while (r >= 0 && !v->page.has_more && (r = store_next(rows, e)) > 0) {
		clc_template_read(rows, v->rq->arena, &t);
		r = add_named(tx, v, &t, e);
	}
	return r < 0 ? r : 0;
}

static bool
is_given(const char *text)
{
	return text && text[0];
}

static int
read_versions(struct store_tx *tx, void *arg, struct err *e)
{
	struct versions *v = arg;

	v->found.count = v->total = 0;
	v->page.has_more = false;
	return is_given(v->in->launch_template_id) || is_given(v->in->launch_template_name)
		   ? read_one_template(tx, v, e)
		   : read_all_templates(tx, v, e);
}

static int
parse_bound(const char *text, const char *name, int64_t *ret, struct err *e)
{
	if (is_given(text) && (!str_to_i64(str_of(text), ret) || *ret < 1))
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Value (%.64s) for parameter %s is invalid. Expecting a version number.", text,
		    name);
	return 0;
}

/* Of all templates: the latest and the default versions. */
static int
check_all(const struct describe_launch_template_versions_in *in, struct err *e)
{
	if (is_given(in->launch_template_id) || is_given(in->launch_template_name))
		return 0;
	if (!in->versions.count)
		return err_set(e, ERR_MISSING_PARAMETER,
		    "The request must contain the parameter LaunchTemplateId or "
		    "LaunchTemplateName, or the versions $Latest or $Default");
	for (size_t i = 0; i < in->versions.count; i++)
		if (strcmp(in->versions.items[i], "$Latest") != 0 &&
		    strcmp(in->versions.items[i], "$Default") != 0)
			return err_set(e, ERR_INVALID_PARAMETER_VALUE,
			    "Invalid launch template version '%.64s': without a launch template, "
			    "either '$Default' or '$Latest' is allowed.",
			    in->versions.items[i]);
	if (is_given(in->min_version) || is_given(in->max_version))
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
		    "MinVersion and MaxVersion need a launch template");
	return 0;
}

int
ec2_handle_describe_launch_template_versions(struct request *rq,
    const struct describe_launch_template_versions_in *in,
    struct describe_launch_template_versions_out *out, struct err *e)
{
	struct versions v = { .rq = rq, .in = in, .min = 1, .max = INT64_MAX };
	int r = page_begin(
	    &v.page, in->next_token, in->has_max_results ? in->max_results : 0, false, "", e);

	if (r == 0)
		r = check_all(in, e);
	if (r == 0)
		r = parse_bound(in->min_version, "MinVersion", &v.min, e);
	if (r == 0)
		r = parse_bound(in->max_version, "MaxVersion", &v.max, e);
	if (r == 0)
		r = store_read(rq->clc->store, read_versions, &v, e);
	if (r == 0) {
		v.page.count = v.found.count;
		out->launch_template_versions.count = v.found.count;
		out->launch_template_versions.items =
		    arena_memdup(rq->arena, v.found.items, v.found.count * sizeof(*v.found.items));
		out->next_token = page_token(&v.page, rq->arena);
	}
	vec_done(&v.found);
	return r;
}
