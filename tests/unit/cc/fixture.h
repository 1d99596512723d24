#pragma once
/* A cc's store with nodes that have reported, for tests of what lives in its rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* after the above, as cmocka wants */
#include <cmocka.h>
#include "cc.h"
#include "instance.h"
#include "news.h"
#include "node.h"
#include "tests/lib/net_peer.h"

struct fixture {
	struct store *store;
	struct log log;
	char *directory, *url;
	struct arena *arena;
	struct report_set heard; /* of news(): where to go on */
};

static inline void
must(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%s", e->text);
}

/* -- a transaction as one call -- */

struct step {
	int (*fn)(struct store_tx *tx, struct step *s, struct err *e);
	const char *node_id, *why;
	const void *in;
	size_t count;
};

static inline int
run_step(struct store_tx *tx, void *arg, struct err *e)
{
	struct step *s = arg;

	return s->fn(tx, s, e);
}

static inline void
write_step(struct fixture *f, struct step s, size_t *ret_count)
{
	struct err e = { 0 };

	must(store_write(f->store, run_step, &s, &e), &e);
	if (ret_count)
		*ret_count = s.count;
}

static inline int
step_nodes(struct store_tx *tx, struct step *s, struct err *e)
{
	return cc_nodes_set(tx, s->in, e);
}

static inline int
step_answers(struct store_tx *tx, struct step *s, struct err *e)
{
	return cc_node_answers(tx, s->node_id, s->in, e);
}

static inline int
step_silent(struct store_tx *tx, struct step *s, struct err *e)
{
	return cc_node_set_silent(tx, s->node_id, s->why, e);
}

static inline int
step_news(struct store_tx *tx, struct step *s, struct err *e)
{
	return cc_node_news(tx, s->node_id, s->in, e);
}

static inline int
step_compare(struct store_tx *tx, struct step *s, struct err *e)
{
	return cc_node_compare(tx, s->node_id, s->in, &s->count, e);
}

static inline int
step_vpc(struct store_tx *tx, struct step *s, struct err *e)
{
	return cc_vpc_set(tx, s->in, e);
}

static inline void
set_nodes(struct fixture *f, uint64_t revision, const char *const *ids, size_t count)
{
	struct peer_record records[8] = { 0 };
	struct cc_put_nodes_in in = { .revision = revision,
		.nodes = { .items = records, .count = count } };

	for (size_t i = 0; i < count; i++)
		records[i] = (struct peer_record){ ids[i], "nc", "https://10.0.0.2:8775", "f",
			.removed = false };
	write_step(f, (struct step){ step_nodes, .in = &in }, NULL);
}

static inline void
node_says(struct fixture *f, const char *node_id, const char *state, uint32_t vcpus,
    uint32_t memory_mib, uint32_t disk_gib)
{
	struct node_report report = { .node_id = node_id,
		.state = state,
		.vcpus = vcpus,
		.memory_mib = memory_mib,
		.disk_gib = disk_gib };

	write_step(f, (struct step){ step_answers, .node_id = node_id, .in = &report }, NULL);
}

static inline int
fixture_setup(void **state)
{
	static const char *const ids[] = { "nc-1", "nc-2" };
	struct fixture *f = xcalloc(1, sizeof(*f));
	struct err e = { 0 };

	f->directory = net_temporary_directory();
	f->arena = arena_new(0);
	f->log.daemon = "cc";
	f->url = xasprintf("sqlite:%s/cc.db", f->directory);
	must(store_open(f->url, &cc_schema, &f->log, &f->store, &e), &e);
	set_nodes(f, 1, ids, 2);
	node_says(f, "nc-1", "up", 8, 8192, 100);
	node_says(f, "nc-2", "up", 8, 4096, 100);
	*state = f;
	return 0;
}

static inline int
fixture_teardown(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	arena_free(f->arena);
	net_remove_directory(f->directory);
	free(f->directory);
	free(f->url);
	free(f);
	return 0;
}

/* -- instances -- */

static struct image_file fixture_image = { .image_id = "ami-12345678",
	.digest = "0000000000000000000000000000000000000000000000000000000000000000",
	.size_bytes = 1 << 30,
	.format = "raw" };

/* 1 processor, 1 GiB of memory, 1 GiB of disk. */
static inline struct instance_spec
spec_of(const char *id, uint64_t generation, const char *wanted)
{
	return (struct instance_spec){ .instance_id = id,
		.account_id = "000000000001",
		.reservation_id = "r-12345678",
		.generation = generation,
		.wanted = wanted,
		.has_reboot_serial = true,
		.instance_type = "t2.micro",
		.vcpus = 1,
		.memory_mib = 1024,
		.image = &fixture_image,
		.shutdown_behavior = "stop",
		.region = "mallee-1",
		.zone = "zone-a",
		.hostname = "h",
		.domain = "d" };
}

static inline int
try_put(struct fixture *f, const struct instance_spec *spec, struct cc_instance *ret, struct err *e)
{
	return cc_instance_accept(f->store, spec, f->arena, ret, e);
}

static inline struct cc_instance
put(struct fixture *f, const char *id, uint64_t generation, const char *wanted)
{
	struct instance_spec spec = spec_of(id, generation, wanted);
	struct cc_instance i;
	struct err e = { 0 };

	must(try_put(f, &spec, &i, &e), &e);
	return i;
}

struct fixture_load {
	struct fixture *f;
	const char *id;
	struct cc_instance i;
	bool is_there;
};

static inline int
fixture_load(struct store_tx *tx, void *arg, struct err *e)
{
	struct fixture_load *l = arg;
	int r = cc_instance_load(tx, l->id, l->f->arena, &l->i, e);

	l->is_there = r == 0;
	return r == ERR_NOT_FOUND ? 0 : r;
}

static inline bool
is_known(struct fixture *f, const char *id, struct cc_instance *ret)
{
	struct fixture_load l = { .f = f, .id = id };
	struct err e = { 0 };

	must(store_read(f->store, fixture_load, &l, &e), &e);
	if (ret)
		*ret = l.i;
	return l.is_there;
}

static inline struct cc_instance
get(struct fixture *f, const char *id)
{
	struct cc_instance i;

	assert_true(is_known(f, id, &i));
	return i;
}

/* The node was told what there was to tell. */
static inline int
mark_told(struct store_tx *tx, struct step *s, struct err *e)
{
	const struct cc_instance *i = s->in;

	return store_exec(tx, Q_INSTANCE_PUT_DONE, NULL, e, i->instance_id, i->serial, i->to_put);
}

static inline void
told(struct fixture *f, const char *id)
{
	struct cc_instance i = get(f, id);

	write_step(f, (struct step){ mark_told, .in = &i }, NULL);
}

static inline void
instance_says(
    struct fixture *f, const char *node_id, const char *id, uint64_t generation, const char *state)
{
	struct instance_report report = {
		.instance_id = id, .generation = generation, .state = state, .boot_count = 1
	};
	struct report_set set = {
		.epoch = 7, .revision = 1, .instances = { .items = &report, .count = 1 }
	};

	write_step(f, (struct step){ step_news, .node_id = node_id, .in = &set }, NULL);
}

static inline struct cc_node node_of(struct fixture *f, const char *id);

struct fixture_nodes {
	struct fixture *f;
	struct cc_node_vec all;
};

static inline int
fixture_nodes(struct store_tx *tx, void *arg, struct err *e)
{
	struct fixture_nodes *n = arg;

	return cc_nodes_read(tx, n->f->arena, &n->all, e);
}

/* state NULL when it is not of this zone. */
static inline struct cc_node
node_of(struct fixture *f, const char *id)
{
	struct fixture_nodes nodes = { .f = f };
	struct cc_node found = { 0 };
	struct err e = { 0 };

	must(store_read(f->store, fixture_nodes, &nodes, &e), &e);
	VEC_FOREACH (&nodes.all, n)
		if (strcmp(n->node_id, id) == 0)
			found = *n;
	vec_done(&nodes.all);
	return found;
}

/* -- what the clc hears -- */

/* What came since the last call; the first gives everything. */
static inline struct report_set
news(struct fixture *f)
{
	struct changes_since since = { .epoch = f->heard.epoch, .revision = f->heard.revision };
	struct err e = { 0 };

	must(cc_news_read(f->store, &since, f->arena, &f->heard, &e), &e);
	return f->heard;
}

static inline const struct instance_report *
told_of(const struct report_set *set, const char *id)
{
	for (size_t i = 0; i < set->instances.count; i++)
		if (strcmp(set->instances.items[i].instance_id, id) == 0)
			return &set->instances.items[i];
	return NULL;
}
