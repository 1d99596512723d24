/* What the root helper lets in: every field at its limits and one step past them, and every length.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/strbuf.h"
#include "tests/lib/helper_specs.h"

static int
check(unsigned verb, const void *p, size_t n)
{
	/* Aligned and exactly as long as said, for the sanitizer's sake. */
	_cleanup_free_ void *copy = xmemdup(p, n ? n : 1);

	return helper_payload_check(verb, false, (struct str){ copy, n }, NULL);
}

static void
headers(void **state)
{
	struct helper_header h = { .magic = HELPER_MAGIC, .version = HELPER_VERSION };

	assert_int_equal(helper_header_check(&h, NULL), 0);
	h.length = HELPER_PAYLOAD_MAX;
	assert_int_equal(helper_header_check(&h, NULL), 0);
	h.length++;
	assert_int_equal(helper_header_check(&h, NULL), ERR_LIMIT);
	h.length = 0;
	h.version++;
	assert_int_equal(helper_header_check(&h, NULL), ERR_UNSUPPORTED);
	h.magic++;
	assert_int_equal(helper_header_check(&h, NULL), ERR_INVALID);
}

static void
verbs(void **state)
{
	assert_int_equal(check(0, "", 0), ERR_UNSUPPORTED);
	assert_int_equal(check(HELPER_VERB_MAX, "", 0), ERR_UNSUPPORTED);
	assert_int_equal(check(HELPER_EVENT_LIFECYCLE, "", 0), ERR_UNSUPPORTED);
	assert_int_equal(check(65535, "", 0), ERR_UNSUPPORTED);
	for (unsigned v = HELPER_HELLO; v < HELPER_VERB_MAX; v++)
		assert_string_not_equal(helper_verb_name(v), "unknown");
	assert_string_equal(helper_verb_name(HELPER_VERB_MAX), "unknown");
	assert_int_equal(check(HELPER_HELLO, "", 0), 0);
	assert_int_equal(check(HELPER_HELLO, "x", 1), ERR_INVALID);
	assert_int_equal(check(HELPER_GUEST_LIST, "", 0), 0);
}

static void
every_length_but_the_right_one(void **state)
{
	char zero[sizeof(struct helper_guest_spec) + 8] = { 0 };
	struct helper_guest_spec s;

	spec_guest(&s);
	memcpy(zero, &s, sizeof(s));
	for (size_t n = 0; n < sizeof(zero); n++)
		assert_int_equal(
		    check(HELPER_GUEST_START, zero, n), n == sizeof(s) ? 0 : ERR_INVALID);
}

/* Sets bytes of a valid spec. */
#define FIELD(member) offsetof(struct helper_guest_spec, member), sizeof(s.member)
static void
guest_specs(void **state)
{
	struct helper_guest_spec s;
	const struct {
		const char *what;
		size_t at, size;
		uint64_t value;
		bool ok;
	} cases[] = {
		{ "an id of another kind", FIELD(instance_id[0]), 'j', false },
		{ "an id that climbs", FIELD(instance_id[5]), '/', false },
		{ "an id with dots", FIELD(instance_id[5]), '.', false },
		{ "an id in capitals", FIELD(instance_id[5]), 'A', false },
		{ "an id without end", FIELD(instance_id[19]), 'a', false },
		{ "an id too short", FIELD(instance_id[18]), 0, false },
		{ "vcpus 0", FIELD(vcpus), 0, false },
		{ "vcpus 512", FIELD(vcpus), 512, true },
		{ "vcpus 513", FIELD(vcpus), 513, false },
		{ "generation 0", FIELD(generation), 0, false },
		{ "generation past the end", FIELD(generation), UINT64_MAX, false },
		{ "memory 15", FIELD(memory_mib), 15, false },
		{ "memory 16", FIELD(memory_mib), 16, true },
		{ "memory without end", FIELD(memory_mib), UINT32_MAX, false },
		{ "no NIC", FIELD(nic_count), 0, true },
		{ "one NIC too many", FIELD(nic_count), HELPER_NICS_MAX + 1, false },
		{ "NICs without end", FIELD(nic_count), UINT32_MAX, false },
		{ "a NIC that is all zero", FIELD(nic_count), 2, false },
		{ "24 ephemeral disks", FIELD(ephemeral_count), 24, true },
		{ "25 ephemeral disks", FIELD(ephemeral_count), 25, false },
		{ "pinning 2", FIELD(is_pinned), 2, false },
		{ "pinned to nothing", FIELD(is_pinned), 1, false },
		{ "two processors", FIELD(cpus.bits[0]), 5, true },
		{ "shares 1", FIELD(cpu_shares), 1, false },
		{ "shares 2", FIELD(cpu_shares), 2, true },
		{ "shares of the kernel's maximum", FIELD(cpu_shares), 262144, true },
		{ "shares past it", FIELD(cpu_shares), 262145, false },
		{ "no image", FIELD(base.format), 0, false },
		{ "an image of unknown format", FIELD(base.format), 3, false },
		{ "a kernel of unknown format", FIELD(kernel.format), 200, false },
		{ "a kernel", FIELD(kernel.format), 1, true },
		{ "a ramdisk without a kernel", FIELD(ramdisk.format), 1, false },
		{ "index 0", FIELD(nics[0].index), 0, false },
		{ "an index past IFNAMSIZ", FIELD(nics[0].index), 100000000, false },
		{ "VNI 0", FIELD(nics[0].vni), 0, false },
		{ "VNI 2^24", FIELD(nics[0].vni), 1 << 24, false },
		{ "a multicast MAC", FIELD(nics[0].mac[0]), 3, false },
		{ "somebody's MAC", FIELD(nics[0].mac[0]), 0, false },
		{ "no address", FIELD(nics[0].address), 0, false },
		{ "a multicast address", FIELD(nics[0].address), 0xe0, false },
		{ "no gateway", FIELD(nics[0].gateway), 0, false },
		{ "a prefix of 31", FIELD(nics[0].subnet_prefix), 31, false },
		{ "a prefix of 7", FIELD(nics[0].subnet_prefix), 7, false },
		{ "groups past the end", FIELD(nics[0].group_count), 6, false },
		{ "group 0", FIELD(nics[0].groups[0]), 0, false },
		{ "arguments", FIELD(kernel_arguments[0]), '~', true },
		{ "arguments with a line", FIELD(kernel_arguments[0]), '\n', false },
		{ "arguments beyond ASCII", FIELD(kernel_arguments[0]), 0xc3, false },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		spec_guest(&s);
		memcpy((char *)&s + cases[i].at, &cases[i].value, cases[i].size);
		if ((check(HELPER_GUEST_START, &s, sizeof(s)) == 0) != cases[i].ok)
			fail_msg("%s", cases[i].what);
	}
	spec_guest(&s);
	s.is_pinned = 1;
	helper_cpus_add(&s.cpus, 1);
	assert_int_equal(check(HELPER_GUEST_START, &s, sizeof(s)), ERR_INVALID);
	helper_cpus_add(&s.cpus, HELPER_CPUS_MAX - 1);
	assert_int_equal(check(HELPER_GUEST_START, &s, sizeof(s)), 0);
	helper_cpus_add(&s.cpus, 7);
	assert_int_equal(check(HELPER_GUEST_START, &s, sizeof(s)), ERR_INVALID);
	spec_guest(&s);
	memset(s.kernel_arguments, 'x', sizeof(s.kernel_arguments));
	assert_int_equal(check(HELPER_GUEST_START, &s, sizeof(s)), ERR_INVALID);
	s.kernel_arguments[sizeof(s.kernel_arguments) - 1] = 0;
	assert_int_equal(check(HELPER_GUEST_START, &s, sizeof(s)), 0);
}

static void
moves(void **state)
{
	struct helper_guest_cpus move = { .instance_id = "i-89abcdef" };

	assert_int_equal(check(HELPER_GUEST_CPUS, &move, sizeof(move)), ERR_INVALID);
	helper_cpus_add(&move.cpus, HELPER_CPUS_MAX - 1);
	assert_int_equal(check(HELPER_GUEST_CPUS, &move, sizeof(move)), 0);
	{
		struct helper_guest_screen screen = { .instance_id = "i-89abcdef", .wakes = 1 };

		assert_int_equal(check(HELPER_GUEST_SCREEN, &screen, sizeof(screen)), 0);
		screen.wakes = 2;
		assert_int_equal(check(HELPER_GUEST_SCREEN, &screen, sizeof(screen)), ERR_INVALID);
	}
	move.instance_id[0] = 'j';
	assert_int_equal(check(HELPER_GUEST_CPUS, &move, sizeof(move)), ERR_INVALID);
}

static void
stops_and_reboots(void **state)
{
	struct helper_guest_stop stop = { .instance_id = "i-89abcdef", .grace_ms = 600000 };
	struct helper_guest_reboot reboot = { .instance_id = "i-89abcdef" };

	assert_int_equal(check(HELPER_GUEST_STOP, &stop, sizeof(stop)), 0);
	stop.grace_ms++;
	assert_int_equal(check(HELPER_GUEST_STOP, &stop, sizeof(stop)), ERR_INVALID);
	stop.grace_ms = 0;
	stop.force = 2;
	assert_int_equal(check(HELPER_GUEST_STOP, &stop, sizeof(stop)), ERR_INVALID);
	stop.force = 1;
	stop.nic_count = 1;
	assert_int_equal(check(HELPER_GUEST_STOP, &stop, sizeof(stop)), ERR_INVALID);
	spec_nic(&stop.nics[0], 1);
	assert_int_equal(check(HELPER_GUEST_STOP, &stop, sizeof(stop)), 0);
	assert_int_equal(check(HELPER_GUEST_REBOOT, &reboot, sizeof(reboot)), 0);
	reboot.grace_ms = UINT32_MAX;
	assert_int_equal(check(HELPER_GUEST_REBOOT, &reboot, sizeof(reboot)), ERR_INVALID);
}

static void
vpcs(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct helper_vpc vpc = { .vni = 1001, .prefix = 16, .group_count = 2 };
	struct helper_group group = { .index = 1, .rule_count = 1, .member_count = 2 };
	struct helper_rule rule = { .is_ingress = 1, .protocol = 6, .from = 22, .to = 22 };
	struct in_addr members[2] = { { 1 }, { 2 } };

	strbuf_add(&b, &vpc, sizeof(vpc));
	for (int i = 0; i < 2; i++) {
		strbuf_add(&b, &group, sizeof(group));
		strbuf_add(&b, &rule, sizeof(rule));
		strbuf_add(&b, members, sizeof(members));
	}
	for (size_t n = 0; n <= b.n; n++)
		assert_int_equal(check(HELPER_VPC_PUT, b.p, n), n == b.n ? 0 : ERR_INVALID);
	strbuf_addc(&b, 0);
	assert_int_equal(check(HELPER_VPC_PUT, b.p, b.n), ERR_INVALID);
	b.n--;
	/* Counts are held against their limits before anything is multiplied. */
	((struct helper_group *)(void *)(b.p + sizeof(vpc)))->member_count = UINT32_MAX;
	assert_int_equal(check(HELPER_VPC_PUT, b.p, b.n), ERR_INVALID);
	((struct helper_group *)(void *)(b.p + sizeof(vpc)))->member_count = 2;
	((struct helper_group *)(void *)(b.p + sizeof(vpc)))->rule_count = HELPER_RULES_MAX + 1;
	assert_int_equal(check(HELPER_VPC_PUT, b.p, b.n), ERR_INVALID);
	((struct helper_group *)(void *)(b.p + sizeof(vpc)))->rule_count = 1;
	((struct helper_vpc *)(void *)b.p)->group_count = HELPER_GROUPS_MAX + 1;
	assert_int_equal(check(HELPER_VPC_PUT, b.p, b.n), ERR_INVALID);
}

static void
sweeps(void **state)
{
	struct {
		struct helper_sweep s;
		struct helper_nic nic;
		uint32_t vni;
	} m = { .s = { 1, 1 }, .vni = 5 };

	spec_nic(&m.nic, 4);
	assert_int_equal(check(HELPER_NET_SWEEP, &m, sizeof(m)), 0);
	m.s.vni_count = 2;
	assert_int_equal(check(HELPER_NET_SWEEP, &m, sizeof(m)), ERR_INVALID);
	m.s.vni_count = UINT32_MAX;
	assert_int_equal(check(HELPER_NET_SWEEP, &m, sizeof(m)), ERR_INVALID);
	m.s.vni_count = 1;
	m.vni = 0;
	assert_int_equal(check(HELPER_NET_SWEEP, &m, sizeof(m)), ERR_INVALID);
}

/* The other side is checked as well: an old helper must not crash nc. */
static void
replies(void **state)
{
	struct helper_health health = { .hypervisor = "qemu" };
	struct { /* a struct helper_guest_list with one guest */
		uint32_t count, reserved;
		struct helper_guest g;
	} list = { 1, 0, { "i-89abcdef", GUEST_RUNNING, 3 } };
	struct str s = { (const char *)&health, sizeof(health) };

	assert_int_equal(helper_payload_check(HELPER_HELLO, true, s, NULL), 0);
	memset(health.reason, 'x', sizeof(health.reason));
	assert_int_equal(helper_payload_check(HELPER_HELLO, true, s, NULL), ERR_INVALID);
	s = (struct str){ (const char *)&list, sizeof(list) };
	assert_int_equal(helper_payload_check(HELPER_GUEST_LIST, true, s, NULL), 0);
	list.g.state = GUEST_STATE_MAX;
	assert_int_equal(helper_payload_check(HELPER_GUEST_LIST, true, s, NULL), ERR_INVALID);
	list.g.state = GUEST_RUNNING;
	list.count = 2;
	assert_int_equal(helper_payload_check(HELPER_GUEST_LIST, true, s, NULL), ERR_INVALID);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers),
		cmocka_unit_test(verbs),
		cmocka_unit_test(every_length_but_the_right_one),
		cmocka_unit_test(guest_specs),
		cmocka_unit_test(moves),
		cmocka_unit_test(stops_and_reboots),
		cmocka_unit_test(vpcs),
		cmocka_unit_test(sweeps),
		cmocka_unit_test(replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
