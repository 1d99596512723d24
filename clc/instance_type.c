/* Instance types and DescribeInstanceTypes. */
#include "instance_type.h"

#include "base/vec.h"

#include "filter.h"
#include "page.h"

/* Sizes by Amazon's names, small enough for one machine to hold several. root 0: as large as the
 * image. */
static const struct clc_instance_type defaults[] = {
	{ .name = "t2.nano", .vcpus = 1, .memory_mib = 256 },
	{ .name = "t2.micro", .vcpus = 1, .memory_mib = 512 },
	{ .name = "t2.small", .vcpus = 1, .memory_mib = 1024 },
	{ .name = "m1.small", .vcpus = 1, .memory_mib = 256, .ephemeral_disks = "1" },
	{ .name = "m1.medium",
	    .vcpus = 1,
	    .memory_mib = 512,
	    .root_disk_gib = 10,
	    .ephemeral_disks = "4" },
	{ .name = "m1.large",
	    .vcpus = 2,
	    .memory_mib = 1024,
	    .root_disk_gib = 10,
	    .ephemeral_disks = "10" },
	{ .name = "m1.xlarge",
	    .vcpus = 4,
	    .memory_mib = 2048,
	    .root_disk_gib = 10,
	    .ephemeral_disks = "20" },
	{ .name = "c1.medium",
	    .vcpus = 2,
	    .memory_mib = 512,
	    .root_disk_gib = 10,
	    .ephemeral_disks = "10" },
	{ .name = "c1.xlarge",
	    .vcpus = 8,
	    .memory_mib = 2048,
	    .root_disk_gib = 10,
	    .ephemeral_disks = "20" },
	{ .name = "m3.xlarge",
	    .vcpus = 4,
	    .memory_mib = 4096,
	    .root_disk_gib = 15,
	    .ephemeral_disks = "20" },
	{ .name = "m3.2xlarge",
	    .vcpus = 8,
	    .memory_mib = 8192,
	    .root_disk_gib = 30,
	    .ephemeral_disks = "40" },
};

size_t
clc_instance_type_disks(
    const struct clc_instance_type *t, uint32_t sizes_gib[INSTANCE_TYPE_DISKS_MAX])
{
	struct str rest = str_of(t->ephemeral_disks ? t->ephemeral_disks : ""), word;
	size_t n = 0;

	while (n < INSTANCE_TYPE_DISKS_MAX && str_split(&rest, ' ', &word))
		if (str_to_u32(word, &sizes_gib[n]))
			n++;
	return n;
}

int
clc_instance_type_put(struct store_tx *tx, const struct clc_instance_type *t, struct err *e)
{
	uint32_t sizes[INSTANCE_TYPE_DISKS_MAX];
	size_t count = clc_instance_type_disks(t, sizes);
	int64_t all = 0;

	for (size_t i = 0; i < count; i++)
		all += sizes[i];
	return store_exec(tx, Q_INSTANCE_TYPE_PUT, NULL, e, t->name, t->vcpus, t->memory_mib,
	    t->root_disk_gib, all, t->ephemeral_disks, t->cpu_shares, (int64_t)t->is_pinned,
	    t->description);
}

int
clc_instance_types_create(struct store_tx *tx, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(defaults); i++)
		r = clc_instance_type_put(tx, &defaults[i], e);
	return r;
}

void
clc_instance_type_read(struct store_rows *rows, struct arena *arena, struct clc_instance_type *ret)
{
	ret->name = arena_strdup(arena, store_text(rows, 0));
	ret->vcpus = store_int(rows, 1);
	ret->memory_mib = store_int(rows, 2);
	ret->root_disk_gib = store_int(rows, 3);
	ret->ephemeral_gib = store_int(rows, 4);
	ret->ephemeral_disks = arena_strdup(arena, store_text(rows, 5));
	ret->cpu_shares = store_int(rows, 6);
	ret->is_pinned = store_int(rows, 7) != 0;
	ret->description = arena_strdup(arena, store_text(rows, 8));
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
		clc_instance_type_read(rows, arena, ret);
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
	uint32_t sizes[INSTANCE_TYPE_DISKS_MAX];
	size_t count = clc_instance_type_disks(t, sizes);

	out->has_storage_supported = true;
	out->storage_supported = count > 0;
	if (!out->storage_supported)
		return;
	out->storage_info = s = arena_alloc(arena, sizeof(*s));
	s->has_total_gib = true;
	s->nvme_support = s->encryption_support = "unsupported";
	s->disks.items = arena_alloc(arena, count * sizeof(*s->disks.items));
	for (size_t i = 0; i < count; i++) {
		struct instance_type_storage_disk *disk = s->disks.items;

		s->total_gib += sizes[i];
		while (disk < s->disks.items + s->disks.count && disk->size_gib != sizes[i])
			disk++;
		if (disk == s->disks.items + s->disks.count) {
			*disk = (struct instance_type_storage_disk){ .has_size_gib = true,
				.size_gib = sizes[i],
				.has_count = true,
				.type = "hdd" };
			s->disks.count++;
		}
		disk->count++;
	}
}

static void
describe_network(struct arena *arena, struct instance_type_info *out)
{
	static const char performance[] = "Moderate";
	struct instance_type_network *n = arena_alloc(arena, sizeof(*n));
	struct instance_type_network_card *card = arena_alloc(arena, sizeof(*card));

	*card = (struct instance_type_network_card){ .has_index = true,
		.network_performance = performance,
		.has_maximum_interfaces = true,
		.maximum_interfaces = 1 };
	*n = (struct instance_type_network){ .network_performance = performance,
		.has_maximum_interfaces = true,
		.maximum_interfaces = 1,
		.has_maximum_cards = true,
		.maximum_cards = 1,
		.has_default_card = true,
		.has_addresses_per_interface = true,
		.addresses_per_interface = 1,
		.has_ipv6_addresses_per_interface = true,
		.has_ipv6_supported = true,
		.ena_support = "unsupported",
		.has_efa_supported = true,
		.has_encryption_in_transit_supported = true,
		.has_ena_srd_supported = true };
	n->cards.items = card;
	n->cards.count = 1;
	out->network_info = n;
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
	out->vcpu_info->valid_cores.items = arena_alloc(arena, sizeof(char *));
	out->vcpu_info->valid_cores.items[0] = arena_printf(arena, "%lld", (long long)t->vcpus);
	out->vcpu_info->valid_cores.count = 1;
	LIST_OF(out->vcpu_info->valid_threads, "1");
	out->memory_info = arena_alloc(arena, sizeof(*out->memory_info));
	out->memory_info->has_size_mib = true;
	out->memory_info->size_mib = (uint64_t)t->memory_mib;
	out->ebs_info = arena_alloc(arena, sizeof(*out->ebs_info));
	*out->ebs_info = (struct instance_type_ebs){ "unsupported", "unsupported", "unsupported" };
	out->placement_group_info = arena_alloc(arena, sizeof(*out->placement_group_info));
	LIST_OF(out->placement_group_info->strategies, "cluster", "partition", "spread");
	LIST_OF(out->boot_modes, "legacy-bios");
	describe_network(arena, out);
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

		clc_instance_type_read(rows, l->rq->arena, &t);
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
