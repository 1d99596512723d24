/* The record that a zone is told of an instance: tags are in it when the guest may see them. */
#include "fixture.h"

#include "tags.h"

#define IMAGE FIXTURE_IMAGE

static const struct tag tags[] = { { "Name", "one" }, { "empty", NULL } };

struct look {
	struct fixture *f;
	const char *metadata_tags;
	struct instance_spec spec;
};

static int
make(struct store_tx *tx, const struct look *l, char id[ID_MAX], struct err *e)
{
	struct fixture *f = l->f;
	struct clc_subnet subnet;
	struct clc_interface_new nic = { .account_id = f->account.account_id,
		.region = f->conf.region,
		.subnet = &subnet,
		.instance_id = id };
	char interface_id[ID_MAX];
	struct str no_data = { 0 };
	int r;

	id_new(id, "i");
	r = clc_subnet_default(tx, f->account.account_id, f->conf.region, "zone-a", &subnet, e);
	if (r == 0)
		r = store_exec(tx, Q_INSTANCE_INSERT, NULL, e, id, f->account.account_id,
		    f->conf.region, "r-12345678", (int64_t)0, "zone-a", IMAGE, NULL, NULL,
		    "m1.small", (int64_t)1, (int64_t)256, (int64_t)0, (int64_t)1, (int64_t)2, NULL,
		    NULL, no_data, "stop", (int64_t)0, (int64_t)0, NULL, "optional", (int64_t)1,
		    store_now_us(tx), "enabled", l->metadata_tags, NULL, (int64_t)0, NULL,
		    (int64_t)0, (int64_t)0, NULL, (int64_t)0, (int64_t)0, "default");
	if (r == 0)
		r = clc_interface_create(tx, &nic, interface_id, e);
	return r == 0 ? clc_tags_insert(tx, f->account.account_id, id, tags, ARRAY_SIZE(tags), e)
		      : r;
}

static int
spec_of_new(struct store_tx *tx, void *arg, struct err *e)
{
	struct look *l = arg;
	struct fixture *f = l->f;
	struct clc_instance i;
	char id[ID_MAX];
	int r = fixture_image(tx, f, e);

	if (r == 0)
		r = make(tx, l, id, e);
	if (r == 0)
		r = clc_instance_load(tx, NULL, id, f->arena, &i, e);
	return r == 0 ? clc_instance_spec(tx, &f->clc, &i, f->arena, &l->spec, e) : r;
}

static void
look_at(struct look *l)
{
	l->f->conf.image_url = (char *)"http://127.0.0.1:8773";
	l->f->conf.url_life_s = 3600;
	fixture_write(l->f, spec_of_new, l);
}

static void
test_tags_shown(void **state)
{
	struct look l = { .f = *state, .metadata_tags = "enabled" };

	look_at(&l);
	assert_int_equal(l.spec.tags.count, 2);
	assert_string_equal(l.spec.tags.items[0].key, "Name");
	assert_string_equal(l.spec.tags.items[0].value, "one");
	assert_string_equal(l.spec.tags.items[1].value, "");
}

static void
test_tags_hidden(void **state)
{
	struct look l = { .f = *state, .metadata_tags = "disabled" };

	look_at(&l);
	assert_int_equal(l.spec.tags.count, 0);
	assert_string_equal(l.spec.instance_metadata_tags, "disabled");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tags_shown, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_tags_hidden, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
