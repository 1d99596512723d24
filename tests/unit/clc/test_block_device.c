/* Block device mappings: what is refused, and what lies over what. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "block_device.h"

#define EPHEMERAL(device, name)                                                                    \
	{                                                                                          \
		.device_name = (device), .virtual_name = (name)                                    \
	}
#define NOTHING(device)                                                                            \
	{                                                                                          \
		.device_name = (device), .no_device = ""                                           \
	}

static void
names(void **state)
{
	static const struct {
		const char *name;
		int result;
	} cases[] = {
		{ "/dev/sdb", 0 },
		{ "sdb", 0 },
		{ "xvdca", 0 },
		{ "/dev/vdz15", 0 },
		{ "/dev/hda1", 0 },
		{ NULL, ERR_INVALID_BLOCK_DEVICE_MAPPING },
		{ "", ERR_INVALID_BLOCK_DEVICE_MAPPING },
		{ "/dev/", ERR_INVALID_BLOCK_DEVICE_MAPPING },
		{ "/dev/sd", ERR_INVALID_BLOCK_DEVICE_MAPPING },
		{ "/dev/sd1", ERR_INVALID_BLOCK_DEVICE_MAPPING },
		{ "/dev/sdabc", ERR_INVALID_BLOCK_DEVICE_MAPPING },
		{ "/dev/sdb123", ERR_INVALID_BLOCK_DEVICE_MAPPING },
		{ "/dev/sdb=x", ERR_INVALID_BLOCK_DEVICE_MAPPING },
		{ "/dev/nvme0n1", ERR_INVALID_BLOCK_DEVICE_MAPPING },
		{ "/dev/../sdb", ERR_INVALID_BLOCK_DEVICE_MAPPING },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct block_device d = EPHEMERAL(cases[i].name, "ephemeral0");

		assert_int_equal(clc_devices_check(&d, 1, NULL), cases[i].result);
	}
}

static void
virtual_names(void **state)
{
	static const char *const wrong[] = { "", "ephemeral", "ephemeralx", "ephemeral24",
		"ephemeral-1", "swap", "Ephemeral0", "ephemeral0 " };
	struct block_device d = EPHEMERAL("/dev/sdb", "ephemeral23");

	assert_int_equal(clc_devices_check(&d, 1, NULL), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		d.virtual_name = wrong[i];
		assert_int_equal(clc_devices_check(&d, 1, NULL), ERR_INVALID_PARAMETER_VALUE);
	}
}

static void
each_device_says_one_thing(void **state)
{
	struct block_device_ebs ebs = { 0 };
	struct block_device d = { .device_name = "/dev/sdb" };
	struct block_device two[] = { EPHEMERAL("/dev/sdb", "ephemeral0"),
		EPHEMERAL("xvdb", "ephemeral1") };
	struct err e = { 0 };

	assert_int_equal(clc_devices_check(&d, 1, NULL), ERR_INVALID_BLOCK_DEVICE_MAPPING);
	d.ebs = &ebs;
	assert_int_equal(clc_devices_check(&d, 1, NULL), 0);
	d.no_device = "";
	assert_int_equal(clc_devices_check(&d, 1, NULL), ERR_INVALID_BLOCK_DEVICE_MAPPING);
	assert_int_equal(clc_devices_check(two, 2, &e), ERR_INVALID_BLOCK_DEVICE_MAPPING);
	assert_non_null(strstr(e.text, "The device 'xvdb' is used in more than one"));
	two[1].device_name = "/dev/sdc";
	assert_int_equal(clc_devices_check(two, 2, NULL), 0);
	two[1].virtual_name = "ephemeral0";
	assert_int_equal(clc_devices_check(two, 2, NULL), ERR_INVALID_BLOCK_DEVICE_MAPPING);
}

static void
volumes(void **state)
{
	const struct {
		struct block_device_ebs ebs;
		int result;
	} cases[] = {
		{ { .has_delete_on_termination = true, .delete_on_termination = true }, 0 },
		{ { .has_delete_on_termination = true }, ERR_UNSUPPORTED_OPERATION },
		{ { .volume_type = "gp3", .has_encrypted = true }, 0 },
		{ { .volume_type = "io1" }, ERR_UNSUPPORTED_OPERATION },
		{ { .encrypted = true, .has_encrypted = true }, ERR_UNSUPPORTED_OPERATION },
		{ { .snapshot_id = "snap-1" }, ERR_UNSUPPORTED_OPERATION },
		{ { .has_iops = true, .iops = 100 }, ERR_UNSUPPORTED_OPERATION },
		{ { .has_volume_size = true, .volume_size = 0 }, ERR_INVALID_PARAMETER_VALUE },
		{ { .has_volume_size = true, .volume_size = 16384 }, 0 },
		{ { .has_volume_size = true, .volume_size = 16385 }, ERR_INVALID_PARAMETER_VALUE },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct block_device_ebs ebs = cases[i].ebs;
		struct block_device d = { .device_name = "/dev/sda1", .ebs = &ebs };

		assert_int_equal(clc_devices_check(&d, 1, NULL), cases[i].result);
	}
}

static void
one_over_the_other(void **state)
{
	static const struct {
		const char *disks, *image;
		struct block_device asked[3];
		size_t count;
		const char *wanted;
		int64_t gib;
	} cases[] = {
		{ NULL, NULL, { { 0 } }, 0, NULL, 0 },
		{ "4", NULL, { { 0 } }, 0, "/dev/vdb=ephemeral0:4", 4 },
		{ "4 7", NULL, { { 0 } }, 0, "/dev/vdb=ephemeral0:4 /dev/vdc=ephemeral1:7", 11 },
		/* the request moves a disk, or says that there is none */
		{ "4 7", NULL, { EPHEMERAL("/dev/sdd", "ephemeral0") }, 1,
		    "/dev/vdc=ephemeral1:7 /dev/sdd=ephemeral0:4", 11 },
		{ "4 7", NULL, { NOTHING("/dev/sdb") }, 1, "/dev/vdc=ephemeral1:7", 7 },
		{ "4", NULL, { NOTHING("/dev/sdx") }, 1, "/dev/vdb=ephemeral0:4", 4 },
		{ "4 7", NULL, { EPHEMERAL("sdb", "ephemeral1"), EPHEMERAL("sdc", "ephemeral0") },
		    2, "sdb=ephemeral1:7 sdc=ephemeral0:4", 11 },
		{ "4", NULL, { EPHEMERAL("/dev/xvdca", "ephemeral0") }, 1,
		    "/dev/xvdca=ephemeral0:4", 4 },
		/* more than the type has is ignored */
		{ "4", NULL, { EPHEMERAL("/dev/sdc", "ephemeral1") }, 1, "/dev/vdb=ephemeral0:4",
		    4 },
		{ NULL, "/dev/sdb=ephemeral0", { { 0 } }, 0, NULL, 0 },
		/* the image's lies between */
		{ "4 7", "/dev/sdb=ephemeral1 /dev/sdc=", { { 0 } }, 0, "/dev/sdb=ephemeral1:7",
		    7 },
		{ "4", "/dev/sdb=", { { 0 } }, 0, NULL, 0 },
		{ "4", "/dev/sdb=", { EPHEMERAL("/dev/sdb", "ephemeral0") }, 1,
		    "/dev/sdb=ephemeral0:4", 4 },
		{ "4", "/dev/sda1=ephemeral0", { { 0 } }, 0, "/dev/vdb=ephemeral0:4", 4 },
		{ "4", "nonsense /dev/nonsense=ephemeral0 /dev/sdb=nonsense", { { 0 } }, 0, NULL,
		    0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		struct clc_instance_type type = { .ephemeral_disks = cases[i].disks };
		struct clc_devices got;

		assert_int_equal(clc_devices_resolve(cases[i].asked, cases[i].count, cases[i].image,
				     "/dev/vda", 1, &type, arena, &got, NULL),
		    0);
		if (!strings_equal(got.ephemeral_disks, cases[i].wanted))
			fail_msg(
			    "case %u: '%s'", i, got.ephemeral_disks ? got.ephemeral_disks : "none");
		assert_int_equal(got.ephemeral_gib, cases[i].gib);
	}
}

static void
the_root_device(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	const struct clc_instance_type type = { .root_disk_gib = 10, .ephemeral_disks = "4" };
	struct block_device_ebs ebs = { .has_volume_size = true };
	struct block_device d = { .device_name = "/dev/sda1", .ebs = &ebs };
	static const struct {
		uint32_t asked;
		int64_t image, got; /* 0: refused */
	} sizes[] = { { 1, 2, 0 }, { 2, 2, 10 }, { 10, 2, 10 }, { 11, 2, 11 }, { 20, 20, 20 },
		{ 19, 20, 0 } };
	struct clc_devices got;
	struct err e = { 0 };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		int r;

		ebs.volume_size = sizes[i].asked;
		r = clc_devices_resolve(
		    &d, 1, NULL, "/dev/vda", sizes[i].image, &type, arena, &got, NULL);
		assert_int_equal(r, sizes[i].got ? 0 : ERR_INVALID_BLOCK_DEVICE_MAPPING);
		if (r == 0)
			assert_int_equal(got.root_disk_gib, sizes[i].got);
	}
	d.ebs = NULL;
	d.no_device = "";
	assert_int_equal(clc_devices_resolve(&d, 1, NULL, "/dev/vda", 1, &type, arena, &got, &e),
	    ERR_INVALID_BLOCK_DEVICE_MAPPING);
	/* The image may call another one its root. */
	d.device_name = "/dev/sdf1";
	assert_int_equal(clc_devices_resolve(&d, 1, NULL, "/dev/xvdf", 1, &type, arena, &got, &e),
	    ERR_INVALID_BLOCK_DEVICE_MAPPING);
	d = (struct block_device){ .device_name = "/dev/sdf", .ebs = &ebs };
	assert_int_equal(clc_devices_resolve(&d, 1, NULL, "/dev/vda", 1, &type, arena, &got, &e),
	    ERR_UNSUPPORTED_OPERATION);
}

static void
the_record_for_the_zone(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct instance_spec spec = { 0 };

	clc_devices_spec("/dev/sdb=ephemeral1:7 xvdc=ephemeral0:4", arena, &spec);
	assert_int_equal(spec.ephemeral_disks.count, 2);
	assert_string_equal(spec.ephemeral_disks.items[0].device_name, "/dev/sdb");
	assert_string_equal(spec.ephemeral_disks.items[0].virtual_name, "ephemeral1");
	assert_int_equal(spec.ephemeral_disks.items[0].size_gib, 7);
	assert_string_equal(spec.ephemeral_disks.items[1].virtual_name, "ephemeral0");
	spec = (struct instance_spec){ 0 };
	clc_devices_spec(NULL, arena, &spec);
	assert_int_equal(spec.ephemeral_disks.count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(virtual_names),
		cmocka_unit_test(each_device_says_one_thing),
		cmocka_unit_test(volumes),
		cmocka_unit_test(one_over_the_other),
		cmocka_unit_test(the_root_device),
		cmocka_unit_test(the_record_for_the_zone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
