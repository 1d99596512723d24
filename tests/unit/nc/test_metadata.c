/* The metadata tree path by path, that listing and values agree, and session tokens. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/strbuf.h"
#include "metadata.h"
#include "metadata_token.h"

#define MAC0 "02:aa:00:00:00:01"
#define MAC1 "02:aa:00:00:00:02"

static const char *groups[] = { "sg-1", "sg-2" };
static const char *group_names[] = { "default", "web" };
static struct network_interface interfaces[] = {
	{ .interface_id = "eni-1",
	    .vpc_id = "vpc-1",
	    .subnet_id = "subnet-1",
	    .mac = MAC0,
	    .private_ip = "172.31.0.5",
	    .subnet_cidr = "172.31.0.0/20",
	    .public_ip = "198.51.100.7",
	    .group_ids = { groups, 2 } },
	{ .interface_id = "eni-2",
	    .vpc_id = "vpc-1",
	    .subnet_id = "subnet-1",
	    .mac = MAC1,
	    .private_ip = "172.31.0.6",
	    .subnet_cidr = "172.31.0.0/20",
	    .group_ids = { groups, 1 } },
};
static struct image_file image = { .image_id = "ami-1" }, kernel = { .image_id = "aki-1" },
			 ramdisk = { .image_id = "ari-1" };

static struct instance_spec
full(void)
{
	return (struct instance_spec){
		.instance_id = "i-0123456789abcdef0",
		.account_id = "000011112222",
		.reservation_id = "r-1",
		.instance_type = "t3.small",
		.image = &image,
		.kernel = &kernel,
		.ramdisk = &ramdisk,
		.ephemeral_gib = 4,
		.interfaces = { interfaces, 2 },
		.user_data = STR("#!/bin/sh\necho \0 binary"),
		.key_name = "photos",
		.public_key = "ssh-ed25519 AAAA photos\n",
		.launch_index = 3,
		.launch_time = 1700000000123456,
		.region = "here",
		.zone = "here-a",
		.hostname = "ip-172-31-0-5",
		.domain = "here.compute.internal",
		.security_groups = { group_names, 2 },
	};
}

static struct instance_spec
bare(void)
{
	struct instance_spec s = full();

	s.kernel = s.ramdisk = NULL;
	s.ephemeral_gib = 0;
	s.interfaces.items = &interfaces[1];
	s.interfaces.count = 1;
	s.user_data = (struct str){ NULL, 0 };
	s.key_name = s.public_key = NULL;
	s.security_groups.count = 0;
	return s;
}

#define M "/latest/meta-data/"
#define I M "network/interfaces/macs/" MAC0 "/"

static const struct {
	const char *path;
	const char *full, *bare; /* NULL: 404 */
} cases[] = {
	{ "/latest", "dynamic/\nmeta-data/\nuser-data", "dynamic/\nmeta-data/" },
	{ "/latest/", "dynamic/\nmeta-data/\nuser-data", "dynamic/\nmeta-data/" },
	{ "/2009-04-04/", "dynamic/\nmeta-data/\nuser-data", "dynamic/\nmeta-data/" },
	{ "/latest//", NULL, NULL },
	{ "/1.1/", NULL, NULL },
	{ "latest", NULL, NULL },
	{ "", NULL, NULL },
	{ "/latestx/meta-data", NULL, NULL },
	{ "/1.0/meta-data/instance-id", "i-0123456789abcdef0", "i-0123456789abcdef0" },
	{ "/2021-03-23/meta-data/instance-id", "i-0123456789abcdef0", "i-0123456789abcdef0" },
	{ M "instance-id", "i-0123456789abcdef0", "i-0123456789abcdef0" },
	{ M "instance-id/", "i-0123456789abcdef0", "i-0123456789abcdef0" },
	{ M "instance-id//", NULL, NULL },
	{ M "instance-i", NULL, NULL },
	{ M "instance-idx", NULL, NULL },
	{ M "instance-id/x", NULL, NULL },
	{ "/latest/meta-datax", NULL, NULL },
	{ M "ami-id", "ami-1", "ami-1" },
	{ M "ami-launch-index", "3", "3" },
	{ M "ami-manifest-path", "(unknown)", "(unknown)" },
	{ M "block-device-mapping/", "ami\nephemeral0\nroot", "ami\nroot" },
	{ M "block-device-mapping/ami", "vda", "vda" },
	{ M "block-device-mapping/root", "/dev/vda", "/dev/vda" },
	{ M "block-device-mapping/ephemeral0", "vdb", NULL },
	{ M "tags/", NULL, NULL },
	{ M "placement/group-name", NULL, NULL },
	{ M "placement/partition-number", NULL, NULL },
	{ M "hostname", "ip-172-31-0-5.here.compute.internal",
	    "ip-172-31-0-5.here.compute.internal" },
	{ M "instance-action", "none", "none" },
	{ M "instance-life-cycle", "on-demand", "on-demand" },
	{ M "instance-type", "t3.small", "t3.small" },
	{ M "kernel-id", "aki-1", NULL },
	{ M "ramdisk-id", "ari-1", NULL },
	{ M "local-hostname", "ip-172-31-0-5.here.compute.internal",
	    "ip-172-31-0-5.here.compute.internal" },
	{ M "local-ipv4", "172.31.0.5", "172.31.0.6" },
	{ M "mac", MAC0, MAC1 },
	{ M "metrics/", "vhostmd", "vhostmd" },
	{ M "network", "interfaces/", "interfaces/" },
	{ M "network/interfaces/macs/", MAC0 "/\n" MAC1 "/", MAC1 "/" },
	{ I,
	    "device-number\ninterface-id\nipv4-associations/\nlocal-hostname\nlocal-ipv4s\nmac\n"
	    "owner-id\npublic-hostname\npublic-ipv4s\nsecurity-group-ids\nsecurity-groups\n"
	    "subnet-id\nsubnet-ipv4-cidr-block\nvpc-id\nvpc-ipv4-cidr-block\n"
	    "vpc-ipv4-cidr-blocks",
	    NULL },
	{ I "device-number", "0", NULL },
	{ M "network/interfaces/macs/" MAC1 "/device-number", "1", "0" },
	{ M "network/interfaces/macs/" MAC1 "/public-ipv4s", NULL, NULL },
	{ M "network/interfaces/macs/" MAC1 "/ipv4-associations/", NULL, NULL },
	{ I "interface-id", "eni-1", NULL },
	{ I "ipv4-associations/", "198.51.100.7", NULL },
	{ I "ipv4-associations/198.51.100.7", "172.31.0.5", NULL },
	{ I "owner-id", "000011112222", NULL },
	{ I "security-group-ids", "sg-1\nsg-2", NULL },
	{ I "security-groups", "default\nweb", NULL },
	{ I "subnet-ipv4-cidr-block", "172.31.0.0/20", NULL },
	{ I "vpc-id", "vpc-1", NULL },
	{ I "vpc-ipv4-cidr-block", "172.31.0.0/16", NULL },
	{ M "placement/", "availability-zone\nregion", "availability-zone\nregion" },
	{ M "placement/availability-zone", "here-a", "here-a" },
	{ M "placement/region", "here", "here" },
	{ M "profile", "default-paravirtual", "default-hvm" },
	{ M "public-hostname", "ec2-198-51-100-7.here.compute.internal", NULL },
	{ M "public-ipv4", "198.51.100.7", NULL },
	{ M "public-keys", "0=photos", NULL },
	{ M "public-keys/", "0=photos", NULL },
	{ M "public-keys/0", "openssh-key", NULL },
	{ M "public-keys/0/openssh-key", "ssh-ed25519 AAAA photos\n", NULL },
	{ M "public-keys/1/openssh-key", NULL, NULL },
	{ M "reservation-id", "r-1", "r-1" },
	{ M "security-groups", "default\nweb", NULL },
	{ M "services/", "domain\npartition", "domain\npartition" },
	{ M "iam/security-credentials/", NULL, NULL },
	{ "/latest/user-data/", "#!/bin/sh\necho ", NULL }, /* compared up to its NUL */
	{ "/latest/dynamic", "fws/\ninstance-identity/", "fws/\ninstance-identity/" },
	{ "/latest/dynamic/instance-identity", "document", "document" },
	{ "/latest/dynamic/instance-identity/pkcs7", NULL, NULL },
	{ "/latest/dynamic/fws/instance-monitoring", "disabled", "disabled" },
};

static struct metadata_answer
get(const struct instance_spec *spec, const char *path, struct arena *arena)
{
	struct metadata_source source = { spec, "172.31.0.0/16" };

	return metadata_get(&source, path, arena);
}

static void
paths(void **state)
{
	const struct instance_spec specs[] = { full(), bare() };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (size_t k = 0; k < 2; k++) {
			_cleanup_arena_ struct arena *arena = arena_new(0);
			const char *wanted = k == 0 ? cases[i].full : cases[i].bare;
			struct metadata_answer a = get(&specs[k], cases[i].path, arena);

			if (a.status != (wanted ? 200 : 404))
				fail_msg("%s of instance %zu: %d", cases[i].path, k, a.status);
			if (wanted)
				assert_string_equal(arena_str(arena, a.body), wanted);
		}
	}
}

static void
versions_and_user_data(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct instance_spec spec = full();
	struct metadata_answer a = get(&spec, "/", arena);
	struct str rest = a.body, version;
	unsigned count = 0;

	while (str_split(&rest, '\n', &version)) {
		char *path =
		    arena_printf(arena, "/%.*s/meta-data/ami-id", (int)version.n, version.p);

		assert_int_equal(get(&spec, path, arena).status, 200);
		count++;
	}
	assert_true(count > 20);
	assert_true(str_starts(a.body, "1.0\n2007-01-19\n"));
	assert_true(str_is(version, "latest"));
	a = get(&spec, "/latest/user-data", arena);
	assert_true(str_eq(a.body, spec.user_data));
	assert_string_equal(a.content_type, "application/octet-stream");
	spec = bare();
	assert_int_equal(get(&spec, "/latest/user-data", arena).status, 404);
}

/* Walks the tree by its listings as cloud-init does: whatever is listed is there. */
static unsigned
walk(const struct instance_spec *spec, const char *directory, struct arena *arena)
{
	struct metadata_answer a = get(spec, directory, arena);
	struct str rest = a.body, name;
	unsigned leaves = 0;

	if (a.status != 200)
		fail_msg("%s: %d", directory, a.status);
	while (str_split(&rest, '\n', &name)) {
		char *path;

		if (str_starts(name, "0="))
			name = STR("0/openssh-key");
		path = arena_printf(arena, "%s%.*s", directory, (int)name.n, name.p);
		if (name.p[name.n - 1] == '/') {
			leaves += walk(spec, path, arena);
			continue;
		}
		a = get(spec, path, arena);
		if (a.status != 200 || !a.body.n)
			fail_msg("%s is listed, and %d", path, a.status);
		leaves++;
	}
	return leaves;
}

static void
listings_are_true(void **state)
{
	const struct instance_spec specs[] = { full(), bare() };
	static const unsigned leaves[] = { 59, 34 };

	for (size_t k = 0; k < 2; k++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);

		assert_int_equal(walk(&specs[k], "/latest/", arena), leaves[k]);
	}
}

static void
identity_document(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct instance_spec spec = full();
	struct metadata_answer a;

	a = get(&spec, "/latest/dynamic/instance-identity/document", arena);
	assert_string_equal(arena_str(arena, a.body),
	    "{\n  \"accountId\" : \"000011112222\",\n  \"architecture\" : \"x86_64\",\n"
	    "  \"availabilityZone\" : \"here-a\",\n  \"billingProducts\" : null,\n"
	    "  \"devpayProductCodes\" : null,\n  \"marketplaceProductCodes\" : null,\n"
	    "  \"imageId\" : \"ami-1\",\n  \"instanceId\" : \"i-0123456789abcdef0\",\n"
	    "  \"instanceType\" : \"t3.small\",\n  \"kernelId\" : \"aki-1\",\n"
	    "  \"pendingTime\" : \"2023-11-14T22:13:20Z\",\n  \"privateIp\" : \"172.31.0.5\",\n"
	    "  \"ramdiskId\" : \"ari-1\",\n  \"region\" : \"here\",\n"
	    "  \"version\" : \"2017-09-30\"\n}");
	spec.zone = "a\"b\\c\nd";
	a = get(&spec, "/latest/dynamic/instance-identity/document", arena);
	assert_non_null(strstr(arena_str(arena, a.body), "\"a\\\"b\\\\c\\u000ad\""));
}

static void
long_paths(void **state)
{
	struct instance_spec spec = full();
	char path[METADATA_PATH_MAX + 2];

	for (size_t n = METADATA_PATH_MAX - 1; n <= METADATA_PATH_MAX + 1; n++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);

		memset(path, 'a', n);
		memcpy(path, M, strlen(M));
		path[n] = '\0';
		assert_int_equal(get(&spec, path, arena).status, 404);
	}
}

static void
tokens(void **state)
{
	const int64_t now = 1700000000000000;
	const struct metadata_key key = { { 1, 2, 3 } }, other_key = { { 3, 2, 1 } };
	const struct metadata_token_owner owner = { 7, { htonl(0x0a00010b) }, "i-1" };
	const struct metadata_token_owner others[] = {
		{ 8, { htonl(0x0a00010b) }, "i-1" },
		{ 7, { htonl(0x0a00010c) }, "i-1" },
		{ 7, { htonl(0x0a00010b) }, "i-2" },
	};
	char token[METADATA_TOKEN_SIZE], longer[METADATA_TOKEN_SIZE + 64];

	metadata_token_make(&key, &owner, now, 60, token);
	assert_int_equal(strlen(token), 56);
	assert_int_equal(metadata_token_check(&key, &owner, now, str_of(token)), 60);
	assert_int_equal(metadata_token_check(&key, &owner, now + 59 * 1000000, str_of(token)), 1);
	assert_int_equal(metadata_token_check(&key, &owner, now + 60 * 1000000, str_of(token)), 0);
	assert_int_equal(metadata_token_check(&other_key, &owner, now, str_of(token)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(metadata_token_check(&key, &others[i], now, str_of(token)), 0);
	assert_int_equal(metadata_token_check(&key, &owner, now, STR("")), 0);
	/* Every character counts, as does the length. */
	for (size_t i = 0; i < 54; i++) {
		char was = token[i];

		token[i] = was == 'A' ? 'B' : 'A';
		if (i != 53) /* its last bits are padding */
			assert_int_equal(metadata_token_check(&key, &owner, now, str_of(token)), 0);
		token[i] = was;
		assert_int_equal(
		    metadata_token_check(&key, &owner, now, (struct str){ token, i }), 0);
	}
	(void)snprintf(longer, sizeof(longer), "%s%s", token, "AAAAAAAAAAAA");
	assert_int_equal(metadata_token_check(&key, &owner, now, str_of(longer)), 0);
	/* A token from a clock that ran ahead is no longer-lived than any. */
	metadata_token_make(&key, &owner, now + 86400LL * 1000000, 60, token);
	assert_int_equal(metadata_token_check(&key, &owner, now, str_of(token)), 0);
}

static void
key_is_kept(void **state)
{
	char directory[] = "/tmp/mallee-test-XXXXXX";
	_cleanup_free_ char *path = NULL;
	struct metadata_key first, again;
	struct err e = { 0 };
	struct stat s;
	FILE *f;

	assert_non_null(mkdtemp(directory));
	path = xasprintf("%s/metadata-token.key", directory);
	assert_int_equal(metadata_key_load(directory, &first, &e), 0);
	assert_int_equal(stat(path, &s), 0);
	assert_int_equal(s.st_mode & 0777, 0600);
	assert_int_equal(metadata_key_load(directory, &again, &e), 0);
	assert_memory_equal(&first, &again, sizeof(first));
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("not a key\n", f);
	fclose(f);
	assert_int_equal(metadata_key_load(directory, &again, &e), ERR_CORRUPT);
	unlink(path);
	rmdir(directory);
}

static const struct {
	const char *path, *wanted;
} cases_of_lists[] = {
	{ M "block-device-mapping/", "ami\nephemeral1\nephemeral0\nroot" },
	{ M "block-device-mapping/ephemeral1", "vdb" },
	{ M "block-device-mapping/ephemeral0", "vdc" },
	{ M "block-device-mapping/ephemeral2", NULL },
	{ M "placement/", "availability-zone\ngroup-name\npartition-number\nregion" },
	{ M "placement/group-name", "together" },
	{ M "placement/partition-number", "3" },
	{ M "tags/", "instance/" },
	{ M "tags/instance", "Name\nempty" },
	{ M "tags/instance/Name", "web 1" },
	{ M "tags/instance/empty", "" },
	{ M "tags/instance/a/b", NULL },
	{ M "tags/instance/a b", NULL },
	{ M "tags/instance/other", NULL },
};

static void
disks_groups_and_tags(void **state)
{
	struct ephemeral_disk disks[] = { { "/dev/sdc", "ephemeral1", 4 },
		{ "/dev/sdf", "ephemeral0", 4 } };
	struct instance_tag tags[] = { { "Name", "web 1" }, { "empty", NULL }, { "a/b", "x" },
		{ "a b", "x" } };
	struct placement_spec placement = { .group_name = "together", .partition_number = 3 };
	struct instance_spec spec = full();
	struct metadata_source source = { .spec = &spec };

	spec.ephemeral_disks.items = disks;
	spec.ephemeral_disks.count = 2;
	spec.tags.items = tags;
	spec.tags.count = 4;
	spec.placement = &placement;
	spec.instance_metadata_tags = "enabled";
	for (unsigned i = 0; i < ARRAY_SIZE(cases_of_lists); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		struct metadata_answer a = metadata_get(&source, cases_of_lists[i].path, arena);

		assert_int_equal(a.status, cases_of_lists[i].wanted ? 200 : 404);
		if (cases_of_lists[i].wanted && !str_is(a.body, cases_of_lists[i].wanted))
			fail_msg("%s: '%.*s'", cases_of_lists[i].path, (int)a.body.n, a.body.p);
	}
	spec.instance_metadata_tags = "disabled";
	{
		_cleanup_arena_ struct arena *arena = arena_new(0);

		assert_int_equal(metadata_get(&source, M "tags/instance/Name", arena).status, 404);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disks_groups_and_tags),
		cmocka_unit_test(paths),
		cmocka_unit_test(versions_and_user_data),
		cmocka_unit_test(listings_are_true),
		cmocka_unit_test(identity_document),
		cmocka_unit_test(long_paths),
		cmocka_unit_test(tokens),
		cmocka_unit_test(key_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
