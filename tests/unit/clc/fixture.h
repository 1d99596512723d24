#pragma once
/* A clc's store with one account and one zone of one node, for tests of what lives in its rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
/* after the above, as cmocka wants */
#include <cmocka.h>
#include "account.h"
#include "clc.h"
#include "image.h"
#include "instance.h"
#include "instance_type.h"
#include "tests/lib/net_peer.h"
#include "request.h"
#include "vpc.h"

struct fixture {
	struct clc clc;
	struct clc_conf conf;
	struct log log;
	char *directory;
	struct clc_account account;
	struct arena *arena;
};

static inline void
fixture_write(struct fixture *f, store_fn fn, void *arg)
{
	struct err e = { 0 };

	if (store_write(f->clc.store, fn, arg, &e) < 0)
		fail_msg("%s", e.text);
}

#define FIXTURE_IMAGE "ami-12345678"

static inline int
fixture_image(struct store_tx *tx, struct fixture *f, struct err *e)
{
	const struct clc_image image = { .image_id = FIXTURE_IMAGE,
		.account_id = f->account.account_id,
		.name = "image",
		.location = "b/k",
		.bucket = "b",
		.object_key = "k",
		.type = "machine",
		.architecture = "x86_64",
		.format = "raw",
		.virtualization = "hvm",
		.size_bytes = 1 << 20,
		.disk_bytes = 1 << 20,
		.digest = "digest",
		.root_device_name = "/dev/vda",
		.state = "available" };

	return clc_image_insert(tx, f->conf.region, &image, e);
}

static inline int
fixture_fill(struct store_tx *tx, void *arg, struct err *e)
{
	struct fixture *f = arg;
	int r = clc_instance_types_create(tx, e);

	if (r == 0)
		r = clc_account_create(tx, &f->conf, "tester", &f->account, e);
	if (r == 0)
		r = store_exec(tx, Q_ZONE_INSERT, NULL, e, "zone-a", "m1-az", "zone-a", store_now_us(tx));
	if (r == 0)
		r = clc_vpc_add_zone(tx, "zone-a", e);
	if (r == 0)
		r = clc_public_addresses_set(tx, "203.0.113.10-203.0.113.11", e);
	return r == 0 ? store_exec(tx, Q_NODE_PUT, NULL, e, "nc-1", "zone-a", "up", NULL, "qemu", (int64_t)8,
			    (int64_t)8192, (int64_t)100, (int64_t)0, (int64_t)0, (int64_t)0,
			    store_now_us(tx)) :
			r;
}

static inline int
fixture_setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	_cleanup_free_ char *url = NULL;
	struct err e = { 0 };

	f->directory = net_temporary_directory();
	f->arena = arena_new(0);
	f->log.daemon = "clc";
	f->conf.region = (char *)"mallee-1";
	f->conf.default_vpc_cidr = (char *)"172.31.0.0/16";
	f->conf.default_group_ingress = (char *)"tcp:22:0.0.0.0/0";
	f->conf.instance_limit = 100;
	f->clc.conf = &f->conf;
	f->clc.log = &f->log;
	url = xasprintf("sqlite:%s/clc.db", f->directory);
	if (store_open(url, &clc_schema, &f->log, &f->clc.store, &e) < 0)
		fail_msg("%s", e.text);
	fixture_write(f, fixture_fill, f);
	*state = f;
	return 0;
}

static inline int
fixture_teardown(void **state)
{
	struct fixture *f = *state;

	store_close(f->clc.store);
	arena_free(f->arena);
	net_remove_directory(f->directory);
	free(f->directory);
	free(f);
	return 0;
}

/* Rows of one launched instance, as RunInstances writes them. */
struct fixture_launch {
	struct fixture *f;
	const char *private_ip;
	char id[ID_MAX];
};

static inline int
fixture_launch(struct store_tx *tx, void *arg, struct err *e)
{
	struct fixture_launch *l = arg;
	struct fixture *f = l->f;
	struct clc_subnet subnet;
	struct clc_interface_new nic = { .account_id = f->account.account_id,
		.region = f->conf.region,
		.subnet = &subnet,
		.private_ip = l->private_ip,
		.wants_public_ip = true };
	char reservation[ID_MAX], interface_id[ID_MAX];
	const char **groups = NULL;
	struct str no_data = { 0 };
	int r;

	id_new(l->id, "i");
	id_new(reservation, "r");
	nic.instance_id = l->id;
	r = clc_subnet_default(tx, f->account.account_id, f->conf.region, "zone-a", &subnet, e);
	if (r == 0)
		r = clc_groups_resolve(tx, f->account.account_id, subnet.vpc_id, NULL, 0, NULL, 0, f->arena,
		    &groups, &nic.group_count, e);
	nic.group_ids = groups;
	if (r == 0)
		r = store_exec(tx, Q_RESERVATION_INSERT, NULL, e, reservation, f->account.account_id,
		    f->conf.region, NULL, "", store_now_us(tx));
	if (r == 0)
		r = store_exec(tx, Q_INSTANCE_INSERT, NULL, e, l->id, f->account.account_id, f->conf.region,
		    reservation, (int64_t)0, "zone-a", "ami-12345678", NULL, NULL, "m1.small", (int64_t)1,
		    (int64_t)256, (int64_t)0, (int64_t)1, (int64_t)2, NULL, NULL, no_data, "stop",
		    (int64_t)0, (int64_t)0, NULL, "optional", (int64_t)1, store_now_us(tx), "enabled",
		    "disabled", NULL, (int64_t)0, NULL, (int64_t)0, (int64_t)0, NULL, (int64_t)0, (int64_t)0,
		    "default");
	return r == 0 ? clc_interface_create(tx, &nic, interface_id, e) : r;
}
