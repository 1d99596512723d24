/* Instance types and DescribeInstanceTypes. */
#include "instance_type.h"

#include "base/vec.h"

#include "filter.h"
#include "page.h"

/* Sizes by Amazon's names, small enough for one machine to hold several. root 0: as large as the
 * image. */
static const struct clc_instance_type defaults[] = {
	{ "t2.nano", 1, 256, 0, 0 },
	{ "t2.micro", 1, 512, 0, 0 },
	{ "t2.small", 1, 1024, 0, 0 },
	{ "m1.small", 1, 256, 0, 1 },
	{ "m1.medium", 1, 512, 10, 4 },
	{ "m1.large", 2, 1024, 10, 10 },
	{ "m1.xlarge", 4, 2048, 10, 20 },
	{ "c1.medium", 2, 512, 10, 10 },
	{ "c1.xlarge", 8, 2048, 10, 20 },
	{ "m3.xlarge", 4, 4096, 15, 20 },
	{ "m3.2xlarge", 8, 8192, 30, 40 },
};

int
clc_instance_types_create(struct store_tx *tx, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(defaults); i++)
		r = store_exec(tx, Q_INSTANCE_TYPE_INSERT, NULL, e, defaults[i].name, (int64_t)i,
		    defaults[i].vcpus, defaults[i].memory_mib, defaults[i].root_disk_gib,
		    defaults[i].ephemeral_gib);
	return r;
}

static void
read_type(struct store_rows *rows, struct arena *arena, struct clc_instance_type *ret)
{
	ret->name = arena_strdup(arena, store_text(rows, 0));
	ret->vcpus = store_int(rows, 1);
	ret->memory_mib = store_int(rows, 2);
	ret->root_disk_gib = store_int(rows, 3);
	ret->ephemeral_gib = store_int(rows, 4);
}

int
clc_instance_type_get(struct store_tx *tx, const char *name, struct arena *arena,
    struct clc_instance_type *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_INSTANCE_TYPE_BY_NAME, &rows, "instance type", e, name);

	if (r == ERR_NOT_FOUND)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Invalid value '%.100s' for InstanceType.", name);
	if (r == 0)
		read_type(rows, arena, ret);
	return r;
}

#define LIST_OF(list, ...)                                                                         \
	do {                                                                                       \
		static const char *words[] = { __VA_ARGS__ };                                      \
		(list).items = words;                                                              \
		(list).count = ARRAY_SIZE(words);                                                  \
	} while (0)

static void
describe_storage(
    const struct clc_instance_type *t, struct arena *arena, struct instance_type_info *out)
{
	struct instance_type_storage *s;
	struct instance_type_storage_disk *disk;

	out->has_storage_supported = true;
	out->storage_supported = t->ephemeral_gib > 0;
	if (!out->storage_supported)
		return;
	out->storage_info = s = arena_alloc(arena, sizeof(*s));
	disk = arena_alloc(arena, sizeof(*disk));
	s->has_total_gib = disk->has_size_gib = disk->has_count = true;
	s->total_gib = disk->size_gib = (uint64_t)t->ephemeral_gib;
	disk->count = 1;
	disk->type = "hdd";
	s->disks.items = disk;
	s->disks.count = 1;
}

static void
describe(const struct clc_instance_type *t, struct arena *arena, struct instance_type_info *out)
{
	memset(out, 0, sizeof(*out));
	out->instance_type = t->name;
	out->has_current_generation = out->current_generation = true;
	out->has_free_tier_eligible = out->has_bare_metal = out->has_hibernation_supported = true;
	out->has_burstable_supported = out->has_dedicated_hosts_supported = true;
	out->has_auto_recovery_supported = true;
	LIST_OF(out->usage_classes, "on-demand");
	LIST_OF(out->root_device_types, "instance-store");
	LIST_OF(out->virtualization_types, "hvm");
	out->hypervisor = "xen";
	out->processor_info = arena_alloc(arena, sizeof(*out->processor_info));
	LIST_OF(out->processor_info->architectures, "x86_64");
	out->vcpu_info = arena_alloc(arena, sizeof(*out->vcpu_info));
	*out->vcpu_info = (struct instance_type_vcpu){ .has_vcpus = true,
		.vcpus = (uint32_t)t->vcpus,
		.has_cores = true,
		.cores = (uint32_t)t->vcpus,
		.has_threads = true,
		.threads = 1 };
	out->memory_info = arena_alloc(arena, sizeof(*out->memory_info));
	out->memory_info->has_size_mib = true;
	out->memory_info->size_mib = (uint64_t)t->memory_mib;
	out->network_info = arena_alloc(arena, sizeof(*out->network_info));
	*out->network_info = (struct instance_type_network){ .has_maximum_interfaces = true,
		.maximum_interfaces = 1,
		.has_addresses_per_interface = true,
		.addresses_per_interface = 1,
		.has_ipv6_supported = true,
		.ena_support = "unsupported" };
	describe_storage(t, arena, out);
}

struct listing {
	struct request *rq;
	const struct describe_instance_types_in *in;
	VEC(struct instance_type_info) types;
};

static bool
is_asked_for(const struct describe_instance_types_in *in, const char *name)
{
	for (size_t i = 0; i < in->instance_types.count; i++)
		if (glob_match(in->instance_types.items[i], name))
			return true;
	return in->instance_types.count == 0;
}

static int
read_listing(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct listing *l = arg;
	int r = store_query(tx, Q_INSTANCE_TYPES, &rows, e);

	l->types.count = 0;
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct clc_instance_type t;
		struct instance_type_info info;

		read_type(rows, l->rq->arena, &t);
		describe(&t, l->rq->arena, &info);
		if (is_asked_for(l->in, t.name) &&
		    filters_match(
			l->rq->operation, l->in->filters.items, l->in->filters.count, &info))
			vec_add(&l->types, info);
	}
	return r;
}

int
ec2_handle_describe_instance_types(struct request *rq, const struct describe_instance_types_in *in,
    struct describe_instance_types_out *out, struct err *e)
{
	struct listing l = { .rq = rq, .in = in };
	struct page page;
	int r = page_begin(&page, in->next_token, in->has_max_results ? in->max_results : 0,
	    in->instance_types.count && in->has_max_results, "instanceTypeSet", e);
	if (r == 0)
		r = store_read(rq->clc->store, read_listing, &l, e);
	for (size_t n = 0; r == 0 && n < in->instance_types.count; n++) {
		bool found = in->filters.count || strpbrk(in->instance_types.items[n], "*?");

		for (size_t k = 0; !found && k < l.types.count; k++)
			found = strcmp(l.types.items[k].instance_type,
				    in->instance_types.items[n]) == 0;
		if (!found)
			r = err_set(e, ERR_INSTANCE_TYPE_INVALID,
			    "The following supplied instance types do not exist: [%.100s]",
			    in->instance_types.items[n]);
	}
	if (r == 0) {
		page_cut(&page, l.types.count);
		out->instance_types.count = page.count;
		out->instance_types.items = arena_memdup(
		    rq->arena, l.types.items + page.first, page.count * sizeof(*l.types.items));
		out->next_token = page_token(&page, rq->arena);
	}
	vec_done(&l.types);
	return r;
}
