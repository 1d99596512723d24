/* Definitions of guests, against files: tests/data/domain_xml/NAME.xml. REGENERATE=1 writes them
 * anew. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <stdio.h>
#include "helper/domain_xml.h"
#include "run/fs.h"
#include "tests/lib/helper_specs.h"

static const struct domain_surroundings around = { .type = "qemu",
	.emulator = "/usr/bin/qemu-system-x86_64",
	.instances_dir = "/var/lib/mallee/nc/instances",
	.cache_dir = "/var/lib/mallee/nc/cache",
	.console_dir = "/var/lib/mallee/nc-helper/consoles",
	.screen_dir = "/run/mallee/nc-helper/screens",
	.disk_cache = "none",
	.default_shares = 1024,
	.seclabel = "+64055:+108" };

/* One element per line, so that a diff of the files reads well. */
static void
split_lines(struct strbuf *b)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	for (size_t i = 0; i < b->n; i++) {
		strbuf_addc(&out, b->p[i]);
		if (b->p[i] == '>' && (i + 1 == b->n || b->p[i + 1] == '<'))
			strbuf_addc(&out, '\n');
	}
	strbuf_reset(b);
	strbuf_addstr(b, strbuf_str(&out));
}

static void
check(const char *name, const struct helper_guest_spec *spec, const struct domain_surroundings *a)
{
	_cleanup_free_ char *path = xasprintf("tests/data/domain_xml/%s.xml", name);
	_cleanup_strbuf_ struct strbuf got = STRBUF_INIT, wanted = STRBUF_INIT;
	struct err e = { 0 };

	domain_xml_write(spec, a, &got);
	split_lines(&got);
	if (getenv("REGENERATE"))
		assert_int_equal(fs_write_atomic(path, strbuf_str(&got), 0644, &e), 0);
	if (fs_read(path, 1 << 20, &wanted, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(strbuf_c(&got), strbuf_c(&wanted));
}

static void
a_disk_that_boots(void **state)
{
	struct helper_guest_spec s;

	spec_guest(&s);
	check("boot-disk", &s, &around);
}

static void
a_kernel_and_two_disks(void **state)
{
	struct helper_guest_spec s;

	spec_guest(&s);
	s.base.format = HELPER_FORMAT_QCOW2;
	memset(s.kernel.digest, 0xcd, sizeof(s.kernel.digest));
	s.kernel.format = HELPER_FORMAT_RAW;
	memset(s.ramdisk.digest, 0xef, sizeof(s.ramdisk.digest));
	s.ramdisk.format = HELPER_FORMAT_RAW;
	s.ephemeral_count = 2;
	s.nic_count = 2;
	spec_nic(&s.nics[1], 99999999);
	strcpy(s.kernel_arguments, "root=/dev/vda x=\"<&>'\" console=ttyS0");
	check("kernel-two-disks", &s, &around);
}

static void
processors_of_its_own(void **state)
{
	struct helper_guest_spec s;

	spec_guest(&s);
	s.is_pinned = 1;
	helper_cpus_add(&s.cpus, 3);
	helper_cpus_add(&s.cpus, 17);
	check("pinned", &s, &around);
}

static void
shares_fit_the_kernel(void **state)
{
	static const struct {
		uint32_t shares, default_shares;
		const char *wanted;
	} cases[] = {
		{ 2, 1024, "<shares>2</shares>" },
		{ 1024, 1024, "<shares>1024</shares>" },
		{ 262144, 1024, "<shares>262144</shares>" },
		{ 2, 100, "<shares>1</shares>" },
		{ 1024, 100, "<shares>100</shares>" },
		{ 3072, 100, "<shares>300</shares>" },
		{ 262144, 100, "<shares>10000</shares>" },
		{ 1024, 0, NULL },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf got = STRBUF_INIT;
		struct domain_surroundings a = around;
		struct helper_guest_spec s;

		spec_guest(&s);
		s.cpu_shares = cases[i].shares;
		a.default_shares = cases[i].default_shares;
		domain_xml_write(&s, &a, &got);
		if (cases[i].wanted)
			assert_non_null(strstr(strbuf_c(&got), cases[i].wanted));
		else
			assert_null(strstr(strbuf_c(&got), "cputune"));
	}
}

static void
kvm_without_direct_io(void **state)
{
	struct helper_guest_spec s;
	struct domain_surroundings a = around;

	spec_guest(&s);
	s.nic_count = 0;
	a.type = "kvm";
	a.disk_cache = "writeback";
	a.seclabel = NULL;
	a.default_shares = 100;
	for (uint32_t i = 0; i < 4; i++)
		helper_cpus_add(&s.cpus, i);
	helper_cpus_add(&s.cpus, 6);
	check("kvm", &s, &a);
}

static void
uuids_tell_the_cloud(void **state)
{
	static const struct {
		const char *id, *uuid;
	} cases[] = {
		{ "i-0123456789abcdef0", "ec201234-5678-9abc-def0-0123456789ab" },
		{ "i-89abcdef", "ec289abc-def8-9abc-def8-9abcdef89abc" },
	};
	char uuid[37];

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		domain_uuid(cases[i].id, uuid);
		assert_string_equal(uuid, cases[i].uuid);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_that_boots),
		cmocka_unit_test(a_kernel_and_two_disks),
		cmocka_unit_test(processors_of_its_own),
		cmocka_unit_test(shares_fit_the_kernel),
		cmocka_unit_test(kvm_without_direct_io),
		cmocka_unit_test(uuids_tell_the_cloud),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
