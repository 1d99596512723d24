/* What is decided for an instance beside what it is made of: monitoring, metadata, recovery,
 * credits. Each is written with its audit record in one transaction; what a node has to know
 * reaches it by a new revision of the instance's record. */
#include "base/vec.h"
#include "clc/ec2.api.h"

#include "filter.h"
#include "instance.h"
#include "instance_describe.h"
#include "page.h"
#include "zone.h"

int
clc_instance_tell(struct store_tx *tx, const char *instance_id, struct err *e)
{
	return store_exec(tx, Q_INSTANCE_TELL, NULL, e, instance_id);
}

/* One that is there and has not ended. */
static int
load_living(struct store_tx *tx, const struct request *rq, const char *id, struct clc_instance *ret,
    struct err *e)
{
	int r = clc_instance_load(tx, rq->account_id, id, rq->arena, ret, e);

	if (r < 0 || (ret->state != INSTANCE_SHUTTING_DOWN && ret->state != INSTANCE_TERMINATED))
		return r;
	return err_set(e, ERR_INCORRECT_INSTANCE_STATE,
	    "The instance '%s' is in the state '%s': it can't be modified.", id,
	    instance_state_to_string(ret->state));
}

/* -- MonitorInstances, UnmonitorInstances -- */

struct monitor {
	struct request *rq;
	const char *const *ids;
	size_t count;
	bool wanted;
	struct instance_monitoring *out;
	size_t out_count;
};

static bool
is_earlier(const char *const *ids, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (strcmp(ids[k], ids[n]) == 0)
			return true;
	return false;
}

static int
set_monitored(struct store_tx *tx, void *arg, struct err *e)
{
	struct monitor *m = arg;
	int r = 0;

	m->out_count = 0;
	for (size_t n = 0; r == 0 && n < m->count; n++) {
		struct monitoring_state *state = arena_alloc(m->rq->arena, sizeof(*state));
		struct clc_instance i;

		if (is_earlier(m->ids, n))
			continue;
		r = load_living(tx, m->rq, m->ids[n], &i, e);
		if (r == 0)
			r = store_exec(
			    tx, Q_INSTANCE_SET_MONITORED, NULL, e, m->ids[n], (int64_t)m->wanted);
		if (r == 0)
			r = request_record(tx, m->rq, "instance", m->ids[n], e);
		/* What changes is said to be on its way, as Amazon does; asked next it is there. */
		state->state = m->wanted        ? i.is_monitored ? "enabled" : "pending"
			       : i.is_monitored ? "disabling"
						: "disabled";
		m->out[m->out_count++] = (struct instance_monitoring){ m->ids[n], state };
	}
	return r;
}

static int
monitor(struct monitor *m, struct err *e)
{
	int r = 0;

	for (size_t n = 0; r == 0 && n < m->count; n++)
		r = clc_instance_check_id(m->ids[n], e);
	m->out = arena_alloc(m->rq->arena, m->count * sizeof(*m->out));
	return r < 0 ? r : store_write(m->rq->clc->store, set_monitored, m, e);
}

int
ec2_handle_monitor_instances(struct request *rq, const struct monitor_instances_in *in,
    struct monitor_instances_out *out, struct err *e)
{
	struct monitor m = { .rq = rq,
		.ids = in->instance_ids.items,
		.count = in->instance_ids.count,
		.wanted = true };
	int r = monitor(&m, e);

	out->monitorings.items = m.out;
	out->monitorings.count = m.out_count;
	return r;
}

int
ec2_handle_unmonitor_instances(struct request *rq, const struct unmonitor_instances_in *in,
    struct unmonitor_instances_out *out, struct err *e)
{
	struct monitor m = {
		.rq = rq, .ids = in->instance_ids.items, .count = in->instance_ids.count
	};
	int r = monitor(&m, e);

	out->monitorings.items = m.out;
	out->monitorings.count = m.out_count;
	return r;
}

/* -- ModifyInstanceMetadataOptions -- */

struct metadata_change {
	struct request *rq;
	const struct modify_instance_metadata_options_in *in;
	struct clc_instance instance;
};

static const char *
either(const char *asked, const char *otherwise)
{
	return asked ? asked : otherwise;
}

static int
set_metadata(struct store_tx *tx, void *arg, struct err *e)
{
	struct metadata_change *c = arg;
	const struct modify_instance_metadata_options_in *in = c->in;
	struct clc_instance *i = &c->instance;
	int r = load_living(tx, c->rq, in->instance_id, i, e);

	if (r < 0)
		return r;
	r = store_exec(tx, Q_INSTANCE_SET_METADATA, NULL, e, in->instance_id,
	    either(in->http_endpoint, i->http_endpoint), either(in->http_tokens, i->http_tokens),
	    in->has_http_put_response_hop_limit ? (int64_t)in->http_put_response_hop_limit
						: i->http_hop_limit,
	    either(in->instance_metadata_tags, i->metadata_tags));
	if (r == 0)
		r = clc_instance_tell(tx, in->instance_id, e);
	if (r == 0)
		r = request_record(tx, c->rq, "instance", in->instance_id, e);
	return r < 0 ? r : clc_instance_load(tx, NULL, in->instance_id, c->rq->arena, i, e);
}

int
ec2_handle_modify_instance_metadata_options(struct request *rq,
    const struct modify_instance_metadata_options_in *in,
    struct modify_instance_metadata_options_out *out, struct err *e)
{
	struct metadata_change c = { .rq = rq, .in = in };
	int r = clc_instance_check_id(in->instance_id, e);

	if (r == 0 && !in->http_tokens && !in->has_http_put_response_hop_limit &&
	    !in->http_endpoint && !in->instance_metadata_tags)
		r = err_set(e, ERR_MISSING_PARAMETER,
		    "The request must contain at least one of the metadata options");
	if (r == 0)
		r = store_write(rq->clc->store, set_metadata, &c, e);
	if (r < 0)
		return r;
	out->instance_id = in->instance_id;
	out->options = clc_describe_metadata_options(&c.instance, rq->arena);
	clc_zones_poke(rq->clc, c.instance.zone);
	return 0;
}

/* -- defaults of an account -- */

int
clc_metadata_defaults(struct store_tx *tx, const char *account_id, const char *region,
    struct arena *arena, struct clc_metadata_defaults *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_METADATA_DEFAULTS, &rows, e, account_id, region);

	*ret = (struct clc_metadata_defaults){ 0 };
	if (r == 0)
		r = store_next(rows, e);
	if (r <= 0)
		return r;
	ret->http_tokens = arena_strdup(arena, store_text(rows, 0));
	ret->http_hop_limit = store_int(rows, 1);
	ret->http_endpoint = arena_strdup(arena, store_text(rows, 2));
	ret->metadata_tags = arena_strdup(arena, store_text(rows, 3));
	return 0;
}

struct defaults_call {
	struct request *rq;
	const struct modify_instance_metadata_defaults_in *in;
	struct clc_metadata_defaults defaults;
};

static int
read_defaults(struct store_tx *tx, void *arg, struct err *e)
{
	struct defaults_call *d = arg;

	return clc_metadata_defaults(
	    tx, d->rq->account_id, d->rq->clc->conf->region, d->rq->arena, &d->defaults, e);
}

int
ec2_handle_get_instance_metadata_defaults(struct request *rq,
    const struct get_instance_metadata_defaults_in *in,
    struct get_instance_metadata_defaults_out *out, struct err *e)
{
	struct defaults_call d = { .rq = rq };
	struct metadata_defaults *level;
	int r = store_read(rq->clc->store, read_defaults, &d, e);

	if (r < 0)
		return r;
	level = out->account_level = arena_alloc(rq->arena, sizeof(*level));
	level->http_tokens = d.defaults.http_tokens;
	level->http_endpoint = d.defaults.http_endpoint;
	level->instance_metadata_tags = d.defaults.metadata_tags;
	level->has_http_put_response_hop_limit = d.defaults.http_hop_limit > 0;
	level->http_put_response_hop_limit = (uint32_t)d.defaults.http_hop_limit;
	level->managed_by = "account";
	return 0;
}

/* Left out: as it was. "no-preference": nothing is said any more. */
static const char *
preference(const char *asked, const char *known)
{
	if (!asked)
		return known;
	return strcmp(asked, "no-preference") == 0 ? NULL : asked;
}

static int
write_defaults(struct store_tx *tx, void *arg, struct err *e)
{
	struct defaults_call *d = arg;
	const struct modify_instance_metadata_defaults_in *in = d->in;
	struct clc_metadata_defaults *known = &d->defaults;
	int r = read_defaults(tx, d, e);

	if (r < 0)
		return r;
	if (in->has_http_put_response_hop_limit)
		known->http_hop_limit =
		    in->http_put_response_hop_limit < 0 ? 0 : in->http_put_response_hop_limit;
	r = store_exec(tx, Q_METADATA_DEFAULTS_PUT, NULL, e, d->rq->account_id,
	    d->rq->clc->conf->region, preference(in->http_tokens, known->http_tokens),
	    known->http_hop_limit, preference(in->http_endpoint, known->http_endpoint),
	    preference(in->instance_metadata_tags, known->metadata_tags));
	return r < 0 ? r : request_record(tx, d->rq, "account", d->rq->account_id, e);
}

int
ec2_handle_modify_instance_metadata_defaults(struct request *rq,
    const struct modify_instance_metadata_defaults_in *in,
    struct modify_instance_metadata_defaults_out *out, struct err *e)
{
	struct defaults_call d = { .rq = rq, .in = in };
	int r = 0;

	if (in->has_http_put_response_hop_limit && in->http_put_response_hop_limit == 0)
		r = err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Value (0) for parameter HttpPutResponseHopLimit is invalid. It must be 1 to "
		    "64, or -1 for no preference");
	if (r == 0)
		r = store_write(rq->clc->store, write_defaults, &d, e);
	out->has_result = out->result = r == 0;
	return r;
}

/* -- ModifyInstanceMaintenanceOptions -- */

struct maintenance {
	struct request *rq;
	const struct modify_instance_maintenance_options_in *in;
	struct clc_instance instance;
};

static int
set_recovery(struct store_tx *tx, void *arg, struct err *e)
{
	struct maintenance *m = arg;
	int r = load_living(tx, m->rq, m->in->instance_id, &m->instance, e);

	if (r < 0 || !m->in->auto_recovery)
		return r;
	m->instance.auto_recovery = m->in->auto_recovery;
	r = store_exec(
	    tx, Q_INSTANCE_SET_RECOVERY, NULL, e, m->in->instance_id, m->in->auto_recovery);
	return r < 0 ? r : request_record(tx, m->rq, "instance", m->in->instance_id, e);
}

int
ec2_handle_modify_instance_maintenance_options(struct request *rq,
    const struct modify_instance_maintenance_options_in *in,
    struct modify_instance_maintenance_options_out *out, struct err *e)
{
	struct maintenance m = { .rq = rq, .in = in };
	int r = clc_instance_check_id(in->instance_id, e);

	if (r == 0)
		r = store_write(rq->clc->store, set_recovery, &m, e);
	out->instance_id = in->instance_id;
	out->auto_recovery = m.instance.auto_recovery;
	return r;
}

/* -- credits -- */

bool
clc_type_is_burstable(const char *type)
{
	return type[0] == 't' && type[1] >= '1' && type[1] <= '9';
}

struct credits {
	struct request *rq;
	const struct describe_instance_credit_specifications_in *in;
	VEC(struct instance_credits) found;
};

static void
add_credits(struct credits *c, const char *id, const struct clc_instance *i)
{
	struct instance_credits one = { arena_strdup(c->rq->arena, id),
		arena_strdup(c->rq->arena, i->cpu_credits) };

	if (filters_match(c->rq->operation, c->in->filters.items, c->in->filters.count, &one))
		vec_add(&c->found, one);
}

/* Without ids Amazon lists the unlimited ones alone. */
static int
read_credits(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct credits *c = arg;
	int r = 0;

	c->found.count = 0;
	for (size_t n = 0; r == 0 && n < c->in->instance_ids.count; n++) {
		const char *id = c->in->instance_ids.items[n];
		struct clc_instance i;

		if (is_earlier(c->in->instance_ids.items, n))
			continue;
		r = clc_instance_load(tx, c->rq->account_id, id, c->rq->arena, &i, e);
		if (r == 0 && !clc_type_is_burstable(i.instance_type))
			r = err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
			    "The instance '%s' is not of a burstable type: '%s' has no CPU credits",
			    id, i.instance_type);
		if (r == 0)
			add_credits(c, id, &i);
	}
	if (r < 0 || c->in->instance_ids.count)
		return r;
	r = store_query(
	    tx, Q_INSTANCES_OF_ACCOUNT, &rows, e, c->rq->account_id, c->rq->clc->conf->region);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		_cleanup_arena_ struct arena *scratch = arena_new(0);
		struct clc_instance i;

		clc_instance_read(rows, scratch, &i);
		if (clc_type_is_burstable(i.instance_type) && i.state != INSTANCE_TERMINATED &&
		    strcmp(i.cpu_credits, "unlimited") == 0)
			add_credits(c, i.instance_id, &i);
	}
	return r < 0 ? r : 0;
}

int
ec2_handle_describe_instance_credit_specifications(struct request *rq,
    const struct describe_instance_credit_specifications_in *in,
    struct describe_instance_credit_specifications_out *out, struct err *e)
{
	struct credits c = { .rq = rq, .in = in };
	struct page page;
	int r = 0;

	for (size_t n = 0; r == 0 && n < in->instance_ids.count; n++)
		r = clc_instance_check_id(in->instance_ids.items[n], e);
	if (r == 0)
		r = page_begin(&page, in->next_token, in->has_max_results ? in->max_results : 0,
		    in->instance_ids.count && in->has_max_results, "instancesSet", e);
	if (r == 0)
		r = store_read(rq->clc->store, read_credits, &c, e);
	if (r == 0) {
		page_cut(&page, c.found.count);
		out->specifications.count = page.count;
		out->specifications.items = arena_memdup(
		    rq->arena, c.found.items + page.first, page.count * sizeof(*c.found.items));
		out->next_token = page_token(&page, rq->arena);
	}
	vec_done(&c.found);
	return r;
}

struct credits_change {
	struct request *rq;
	const struct modify_instance_credit_specification_in *in;
	struct modify_instance_credit_specification_out *out;
};

/* Why not, as the code of one line of the answer; NULL: it has been done. */
static int
set_credits(struct store_tx *tx, struct request *rq, const struct credits_request *one,
    struct err *why, struct err *e)
{
	struct clc_instance i;
	int r = clc_instance_check_id(one->instance_id, why);

	if (r == 0)
		r = load_living(tx, rq, one->instance_id, &i, why);
	if (r == 0 && !clc_type_is_burstable(i.instance_type))
		r = err_set(why, ERR_CREDITS_NOT_SUPPORTED,
		    "The instance '%s' is not of a burstable type: '%s' has no CPU credits",
		    one->instance_id, i.instance_type);
	if (r < 0)
		return 0;
	r = store_exec(tx, Q_INSTANCE_SET_CREDITS, NULL, e, one->instance_id, one->cpu_credits);
	return r < 0 ? r : request_record(tx, rq, "instance", one->instance_id, e);
}

static bool
is_of_line(int code)
{
	return code == ERR_INSTANCE_MALFORMED || code == ERR_INSTANCE_NOT_FOUND ||
	       code == ERR_INCORRECT_INSTANCE_STATE || code == ERR_CREDITS_NOT_SUPPORTED;
}

/* Those that can be are changed; of the others each says why. */
static int
set_all_credits(struct store_tx *tx, void *arg, struct err *e)
{
	struct credits_change *c = arg;
	int r = 0;

	c->out->changed.count = c->out->unchanged.count = 0;
	for (size_t n = 0; r == 0 && n < c->in->specifications.count; n++) {
		const struct credits_request *one = &c->in->specifications.items[n];
		struct credits_unchanged *failed;
		struct err why = { 0 };

		r = set_credits(tx, c->rq, one, &why, e);
		if (r < 0)
			break;
		if (!why.code) {
			c->out->changed.items[c->out->changed.count++].instance_id =
			    one->instance_id;
			continue;
		}
		if (!is_of_line(why.code)) {
			*e = why;
			return why.code;
		}
		failed = &c->out->unchanged.items[c->out->unchanged.count++];
		failed->instance_id = one->instance_id;
		failed->error = arena_alloc(c->rq->arena, sizeof(*failed->error));
		failed->error->code = fault_code(why.code);
		failed->error->message = arena_strdup(c->rq->arena, why.text);
	}
	return r;
}

int
ec2_handle_modify_instance_credit_specification(struct request *rq,
    const struct modify_instance_credit_specification_in *in,
    struct modify_instance_credit_specification_out *out, struct err *e)
{
	struct credits_change c = { .rq = rq, .in = in, .out = out };
	size_t count = in->specifications.count;

	for (size_t n = 0; n < count; n++) {
		const struct credits_request *one = &in->specifications.items[n];

		if (!one->instance_id || !one->instance_id[0])
			return err_set(e, ERR_MISSING_PARAMETER,
			    "The request must contain the parameter "
			    "InstanceCreditSpecification.InstanceId");
		if (!one->cpu_credits || (strcmp(one->cpu_credits, "standard") != 0 &&
					     strcmp(one->cpu_credits, "unlimited") != 0))
			return err_set(e, ERR_INVALID_PARAMETER_VALUE,
			    "Value (%.100s) for parameter CpuCredits is invalid. Valid values are "
			    "standard and unlimited",
			    one->cpu_credits ? one->cpu_credits : "");
	}
	out->changed.items = arena_alloc(rq->arena, count * sizeof(*out->changed.items));
	out->unchanged.items = arena_alloc(rq->arena, count * sizeof(*out->unchanged.items));
	return store_write(rq->clc->store, set_all_credits, &c, e);
}

/* -- ConfirmProductInstance -- */

struct product {
	struct request *rq;
	const char *id;
	struct clc_instance instance;
};

static int
load(struct store_tx *tx, void *arg, struct err *e)
{
	struct product *p = arg;

	return clc_instance_load(tx, p->rq->account_id, p->id, p->rq->arena, &p->instance, e);
}

/* No product code was ever attached to anything: what is asked is not so. */
int
ec2_handle_confirm_product_instance(struct request *rq,
    const struct confirm_product_instance_in *in, struct confirm_product_instance_out *out,
    struct err *e)
{
	struct product p = { .rq = rq, .id = in->instance_id };
	int r = clc_instance_check_id(in->instance_id, e);

	if (r == 0)
		r = store_read(rq->clc->store, load, &p, e);
	out->has_result = true;
	return r;
}
