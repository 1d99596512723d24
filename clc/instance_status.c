/* DescribeInstanceStatus: two checks of an instance that runs — of its node (system), and of its
 * own use of its network (instance), both from what the zone reported last. ReportInstanceStatus:
 * what users say themselves, kept for the administrator. */
#include "base/vec.h"
#include "clc/ec2.api.h"

#include "filter.h"
#include "instance.h"
#include "page.h"
#include "zone_name.h"

/* -- the checks -- */

static struct status_summary *
summary(struct arena *arena, const char *status, const char *reachability, int64_t impaired_us)
{
	struct status_summary *s = arena_alloc(arena, sizeof(*s));
	struct status_detail *detail = arena_alloc(arena, sizeof(*detail));

	s->status = status;
	if (!reachability)
		return s;
	detail->name = "reachability";
	detail->status = reachability;
	detail->has_impaired_since = impaired_us > 0;
	detail->impaired_since = impaired_us;
	s->details.items = detail;
	s->details.count = 1;
	return s;
}

static struct status_summary *
insufficient(struct arena *arena)
{
	return summary(arena, "insufficient-data", "insufficient-data", 0);
}

static int
system_status(struct store_tx *tx, const struct clc_instance *i, struct arena *arena,
    struct status_summary **ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r;

	*ret = insufficient(arena);
	if (!i->node_id)
		return 0;
	r = store_query(tx, Q_NODE_STATUS, &rows, e, i->node_id);
	if (r == 0)
		r = store_next(rows, e);
	if (r <= 0)
		return r;
	*ret = strings_equal(store_text(rows, 0), "up")
		   ? summary(arena, "ok", "passed", 0)
		   : summary(arena, "impaired", "failed", store_int(rows, 1));
	return 0;
}

static struct status_summary *
instance_status(const struct clc_instance *i, struct arena *arena)
{
	if (i->is_unreachable || !i->reachability)
		return insufficient(arena); /* what was seen last says nothing of now */
	if (strcmp(i->reachability, "passed") == 0)
		return summary(arena, "ok", "passed", 0);
	if (strcmp(i->reachability, "failed") == 0)
		return summary(arena, "impaired", "failed", i->reachability_us);
	return summary(arena, "initializing", "initializing", 0);
}

static int
describe(struct store_tx *tx, const struct clc_instance *i, struct arena *arena,
    struct instance_status *out, struct err *e)
{
	memset(out, 0, sizeof(*out));
	out->instance_id = i->instance_id;
	out->state = arena_alloc(arena, sizeof(*out->state));
	out->state->has_code = true;
	out->state->code = instance_state_code(i->state);
	out->state->name = instance_state_to_string(i->state);
	if (i->state != INSTANCE_RUNNING) {
		out->system_status = summary(arena, "not-applicable", NULL, 0);
		out->instance_status = summary(arena, "not-applicable", NULL, 0);
		return 0;
	}
	out->instance_status = instance_status(i, arena);
	return system_status(tx, i, arena, &out->system_status, e);
}

/* -- DescribeInstanceStatus -- */

struct listing {
	struct request *rq;
	const struct describe_instance_status_in *in;
	struct page page;
	size_t total;
	VEC(struct instance_status) found;
};

static int
add_if_wanted(struct store_tx *tx, struct listing *l, const struct clc_instance *i,
    struct arena *scratch, struct err *e)
{
	struct instance_status seen, kept;
	int r;

	if (i->state != INSTANCE_RUNNING && !l->in->include_all_instances)
		return 0;
	r = describe(tx, i, scratch, &seen, e);
	if (r == 0)
		r = clc_zone_name_show(tx, l->rq, i->zone, &seen.availability_zone, e);
	if (r < 0 ||
	    !filters_match(l->rq->operation, l->in->filters.items, l->in->filters.count, &seen))
		return r;
	if (l->total++ < l->page.first)
		return 0;
	if (l->page.limit && l->found.count == l->page.limit) {
		l->page.has_more = true;
		return 0;
	}
	codec_copy(&instance_status_shape, &seen, l->rq->arena, &kept);
	vec_add(&l->found, kept);
	return 0;
}

static bool
is_earlier(const char *const *ids, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (strcmp(ids[k], ids[n]) == 0)
			return true;
	return false;
}

static int
read_named(struct store_tx *tx, struct listing *l, struct err *e)
{
	int r = 0;

	for (size_t n = 0; r == 0 && n < l->in->instance_ids.count; n++) {
		_cleanup_arena_ struct arena *scratch = arena_new(0);
		struct clc_instance i;

		if (is_earlier(l->in->instance_ids.items, n))
			continue;
		r = clc_instance_load(
		    tx, l->rq->account_id, l->in->instance_ids.items[n], scratch, &i, e);
		if (r == 0)
			r = add_if_wanted(tx, l, &i, scratch, e);
	}
	return r;
}

static int
read_listing(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct listing *l = arg;
	int r;

	l->found.count = l->total = 0;
	l->page.has_more = false;
	if (l->in->instance_ids.count)
		return read_named(tx, l, e);
	r = store_query(
	    tx, Q_INSTANCES_OF_ACCOUNT, &rows, e, l->rq->account_id, l->rq->clc->conf->region);
	while (r >= 0 && !l->page.has_more && (r = store_next(rows, e)) > 0) {
		_cleanup_arena_ struct arena *scratch = arena_new(0);
		struct clc_instance i;

		clc_instance_read(rows, scratch, &i);
		r = add_if_wanted(tx, l, &i, scratch, e);
	}
	return r < 0 ? r : 0;
}

int
ec2_handle_describe_instance_status(struct request *rq,
    const struct describe_instance_status_in *in, struct describe_instance_status_out *out,
    struct err *e)
{
	struct listing l = { .rq = rq, .in = in };
	int r = 0;

	for (size_t n = 0; r == 0 && n < in->instance_ids.count; n++)
		r = clc_instance_check_id(in->instance_ids.items[n], e);
	if (r == 0)
		r = page_begin(&l.page, in->next_token, in->has_max_results ? in->max_results : 0,
		    in->instance_ids.count && in->has_max_results, "instancesSet", e);
	if (r == 0)
		r = store_read(rq->clc->store, read_listing, &l, e);
	if (r == 0) {
		l.page.count = l.found.count;
		out->statuses.count = l.found.count;
		out->statuses.items =
		    arena_memdup(rq->arena, l.found.items, l.found.count * sizeof(*l.found.items));
		out->next_token = page_token(&l.page, rq->arena);
	}
	vec_done(&l.found);
	return r;
}

/* -- ReportInstanceStatus -- */

static const char *const reason_codes[] = { "instance-stuck-in-state", "unresponsive",
	"not-accepting-credentials", "password-not-available", "performance-network",
	"performance-instance-store", "performance-ebs-volume", "performance-other", "other" };

static bool
is_reason(const char *code)
{
	for (size_t n = 0; n < ARRAY_SIZE(reason_codes); n++)
		if (strcmp(reason_codes[n], code) == 0)
			return true;
	return false;
}

struct user_report {
	struct request *rq;
	const struct report_instance_status_in *in;
	const char *reasons; /* joined by spaces */
};

static int
check_report(struct user_report *p, struct err *e)
{
	const struct report_instance_status_in *in = p->in;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	for (size_t n = 0; n < in->instance_ids.count; n++) {
		int r = clc_instance_check_id(in->instance_ids.items[n], e);

		if (r < 0)
			return r;
	}
	for (size_t n = 0; n < in->reason_codes.count; n++) {
		if (!is_reason(in->reason_codes.items[n]))
			return err_set(e, ERR_INVALID_PARAMETER_VALUE,
			    "Value (%.100s) for parameter reasonCode is invalid",
			    in->reason_codes.items[n]);
		if (n)
			strbuf_adds(&text, " ");
		strbuf_adds(&text, in->reason_codes.items[n]);
	}
	if (in->has_start_time && in->has_end_time && in->end_time < in->start_time)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "The end time of the report is before its start time");
	p->reasons = arena_strdup(p->rq->arena, strbuf_c(&text));
	return 0;
}

static int
write_report(struct store_tx *tx, void *arg, struct err *e)
{
	const struct user_report *p = arg;
	const struct report_instance_status_in *in = p->in;
	struct request *rq = p->rq;
	int r = 0;

	for (size_t n = 0; r == 0 && n < in->instance_ids.count; n++) {
		const char *id = in->instance_ids.items[n];
		struct clc_instance i;
		char report_id[ID_MAX];

		if (is_earlier(in->instance_ids.items, n))
			continue;
		r = clc_instance_load(tx, rq->account_id, id, rq->arena, &i, e);
		if (r < 0)
			break;
		id_new(report_id, "report");
		r = store_exec(tx, Q_INSTANCE_STATUS_REPORT_INSERT, NULL, e, report_id,
		    rq->account_id, rq->clc->conf->region, id, in->status, p->reasons,
		    in->description, in->has_start_time ? in->start_time : INT64_C(0),
		    in->has_end_time ? in->end_time : INT64_C(0), store_now_us(tx));
		if (r == 0)
			r = request_record(tx, rq, "instance", id, e);
	}
	return r;
}

int
ec2_handle_report_instance_status(struct request *rq, const struct report_instance_status_in *in,
    struct report_instance_status_out *out, struct err *e)
{
	struct user_report p = { .rq = rq, .in = in };
	int r = check_report(&p, e);

	if (r == 0)
		r = store_write(rq->clc->store, write_report, &p, e);
	if (r == 0)
		log_info(&rq->log, "instance.status.reported", "status=%s reasons=\"%s\" count=%zu",
		    in->status, p.reasons, in->instance_ids.count);
	out->has_result = out->result = r == 0;
	return r;
}
