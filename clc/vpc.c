/* VPCs, subnets, groups and addresses as rows. An address is taken by the unique (subnet, address)
 * of its interface, inside the transaction that accepts the launch, so that it can't be given
 * twice. What a zone must know of a VPC is one record with a revision that rises with each change
 * of it. */
#include "vpc.h"

#include <arpa/inet.h>

#include "base/vec.h"

#define SUBNET_BITS 4    /* the default VPC is cut into 16 default subnets */
#define RESERVED_FIRST 4 /* network, router, DNS, future: as in EC2 */
#define PROBES 32

void
address_format(int64_t address, char out[INET_ADDRSTRLEN])
{
	struct in_addr in = { .s_addr = htonl((uint32_t)address) };

	inet_ntop(AF_INET, &in, out, INET_ADDRSTRLEN);
}

bool
address_parse(const char *text, int64_t *ret)
{
	struct in_addr in;

	if (!text || inet_pton(AF_INET, text, &in) != 1)
		return false;
	*ret = ntohl(in.s_addr);
	return true;
}

bool
cidr_parse(const char *text, int64_t *ret_network, unsigned *ret_prefix)
{
	const char *slash = text ? strchr(text, '/') : NULL;
	char address[INET_ADDRSTRLEN];
	uint32_t prefix;
	int64_t network;

	if (!slash || (size_t)(slash - text) >= sizeof(address))
		return false;
	memcpy(address, text, slash - text);
	address[slash - text] = '\0';
	if (!address_parse(address, &network) || !str_to_u32(str_of(slash + 1), &prefix) ||
	    prefix > 32)
		return false;
	*ret_network = prefix ? network & (0xffffffffLL << (32 - prefix)) & 0xffffffffLL : 0;
	*ret_prefix = prefix;
	return true;
}

/* -- the public pool -- */

static bool
range_parse(struct str word, int64_t *ret_first, int64_t *ret_last)
{
	char first[INET_ADDRSTRLEN], last[INET_ADDRSTRLEN];
	struct str a, rest = word;

	if (!str_split(&rest, '-', &a) || a.n >= sizeof(first) || rest.n >= sizeof(last))
		return false;
	if (!rest.n)
		rest = a;
	memcpy(first, a.p, a.n);
	first[a.n] = '\0';
	memcpy(last, rest.p, rest.n);
	last[rest.n] = '\0';
	return address_parse(first, ret_first) && address_parse(last, ret_last) &&
	       *ret_first <= *ret_last && *ret_last - *ret_first < 65536;
}

bool
clc_public_addresses_are_valid(const char *ranges, struct err *e)
{
	struct str rest = str_of(ranges), word;
	int64_t first, last;

	while (str_split(&rest, ' ', &word))
		if (word.n && !range_parse(word, &first, &last)) {
			err_set(e, ERR_INVALID,
			    "public_addresses: '%.*s' is not ADDRESS or FIRST-LAST", (int)word.n,
			    word.p);
			return false;
		}
	return true;
}

int
clc_public_addresses_set(struct store_tx *tx, const char *ranges, struct err *e)
{
	struct str rest = str_of(ranges), word;
	int64_t first, last;
	int r;

	r = store_exec(tx, Q_PUBLIC_ADDRESS_DELETE_FREE, NULL, e);
	if (r < 0)
		return r;
	while (str_split(&rest, ' ', &word)) {
		if (!word.n || !range_parse(word, &first, &last))
			continue;
		for (int64_t a = first; a <= last; a++) {
			r = store_exec(tx, Q_PUBLIC_ADDRESS_INSERT, NULL, e, a);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* -- the default VPC -- */

static int
insert_subnet(struct store_tx *tx, const char *account_id, const char *region, const char *vpc_id,
    const char *vpc_cidr, const char *zone, int64_t position, struct err *e)
{
	char id[ID_MAX], base[INET_ADDRSTRLEN], cidr[INET_ADDRSTRLEN + 4];
	int64_t network;
	unsigned prefix;

	if (!cidr_parse(vpc_cidr, &network, &prefix) || prefix > 24)
		return err_set(
		    e, ERR_CORRUPT, "the VPC '%s' has no usable block '%s'", vpc_id, vpc_cidr);
	if (position >= 1 << SUBNET_BITS)
		return 0; /* no room for a default subnet in the seventeenth zone */
	address_format(network + (position << (32 - prefix - SUBNET_BITS)), base);
	snprintf(cidr, sizeof(cidr), "%s/%u", base, prefix + SUBNET_BITS);
	id_new(id, "subnet");
	return store_exec(tx, Q_SUBNET_INSERT, NULL, e, id, account_id, region, vpc_id, zone, cidr,
	    (int64_t)1, (int64_t)1, store_now_us(tx));
}

static int
insert_rule(struct store_tx *tx, const char *group_id, int64_t position, bool is_egress,
    const char *protocol, int64_t from, int64_t to, const char *cidr, const char *source_group_id,
    struct err *e)
{
	char id[ID_MAX];

	id_new(id, "sgr");
	return store_exec(tx, Q_GROUP_RULE_INSERT, NULL, e, id, group_id, position,
	    (int64_t)is_egress, protocol, from, to, cidr, source_group_id);
}

/* "tcp:22:0.0.0.0/0", "tcp:80-90:10.0.0.0/8", "icmp:-1:0.0.0.0/0" */
static int
insert_configured_rule(
    struct store_tx *tx, const char *group_id, int64_t position, struct str word, struct err *e)
{
	_cleanup_free_ char *cidr = NULL, *protocol = NULL;
	struct str p, port, from = { 0 };
	struct str rest = word;
	int64_t first = -1, last = -1, network;
	unsigned prefix;

	if (!str_split(&rest, ':', &p) || !str_split(&rest, ':', &port))
		goto bad;
	protocol = str_dup(p);
	cidr = str_dup(rest);
	if (!str_is(port, "-1")) {
		if (!str_split(&port, '-', &from) || !str_to_i64(from, &first))
			goto bad;
		last = first;
		if (port.n && !str_to_i64(port, &last))
			goto bad;
	}
	if (!cidr_parse(cidr, &network, &prefix))
		goto bad;
	return insert_rule(tx, group_id, position, false, protocol, first, last, cidr, NULL, e);
bad:
	return err_set(e, ERR_INVALID, "default_group_ingress: '%.*s' is not PROTOCOL:PORT:CIDR",
	    (int)word.n, word.p);
}

static int
create_default_group(struct store_tx *tx, const struct clc_conf *conf, const char *account_id,
    const char *vpc_id, struct err *e)
{
	struct str rest = str_of(conf->default_group_ingress), word;
	int64_t position = 2;
	char group_id[ID_MAX];
	int r;

	id_new(group_id, "sg");
	r = store_exec(tx, Q_SECURITY_GROUP_INSERT, NULL, e, group_id, account_id, conf->region,
	    vpc_id, "default", "default VPC security group", store_now_us(tx));
	if (r < 0)
		return r;
	r = insert_rule(tx, group_id, 0, false, "-1", -1, -1, NULL, group_id, e);
	if (r < 0)
		return r;
	r = insert_rule(tx, group_id, 1, true, "-1", -1, -1, "0.0.0.0/0", NULL, e);
	if (r < 0)
		return r;
	while (str_split(&rest, ' ', &word)) {
		if (!word.n)
			continue;
		r = insert_configured_rule(tx, group_id, position++, word, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int
clc_vpc_create_default(
    struct store_tx *tx, const struct clc_conf *conf, const char *account_id, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *zones = NULL;
	char vpc_id[ID_MAX], options_id[ID_MAX], association_id[ID_MAX];
	int r;

	id_new(vpc_id, "vpc");
	id_new(options_id, "dopt");
	id_new(association_id, "vpc-cidr-assoc");
	r = store_exec(tx, Q_VPC_INSERT, NULL, e, vpc_id, account_id, conf->region,
	    conf->default_vpc_cidr, (int64_t)1, options_id, association_id, store_now_us(tx));
	if (r < 0)
		return r;
	r = create_default_group(tx, conf, account_id, vpc_id, e);
	if (r < 0)
		return r;
	r = store_query(tx, Q_ZONES, &zones, e);
	if (r < 0)
		return r;
	while ((r = store_next(zones, e)) > 0) {
		r = insert_subnet(tx, account_id, conf->region, vpc_id, conf->default_vpc_cidr,
		    store_text(zones, 0), store_int(zones, 2), e);
		if (r < 0)
			return r;
	}
	return r;
}

int
clc_vpc_add_zone(struct store_tx *tx, const char *zone, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *row = NULL, *vpcs = NULL;
	int64_t position;
	int r;

	r = store_query_one(tx, Q_ZONE_BY_NAME, &row, "zone", e, zone);
	if (r < 0)
		return r;
	position = store_int(row, 2);
	r = store_query(tx, Q_VPCS_DEFAULT, &vpcs, e);
	if (r < 0)
		return r;
	while ((r = store_next(vpcs, e)) > 0) {
		r = insert_subnet(tx, store_text(vpcs, 1), store_text(vpcs, 2), store_text(vpcs, 0),
		    store_text(vpcs, 3), zone, position, e);
		if (r < 0)
			return r;
	}
	return r;
}

/* -- lookups for launches -- */

static void
read_subnet(struct store_rows *rows, struct clc_subnet *ret)
{
	snprintf(ret->subnet_id, sizeof(ret->subnet_id), "%s", store_text(rows, 0));
	snprintf(ret->vpc_id, sizeof(ret->vpc_id), "%s", store_text(rows, 1));
	snprintf(ret->zone, sizeof(ret->zone), "%s", store_text(rows, 2));
	snprintf(ret->cidr, sizeof(ret->cidr), "%s", store_text(rows, 3));
	ret->maps_public_ip = store_int(rows, 4);
}

int
clc_subnet_get(struct store_tx *tx, const char *account_id, const char *subnet_id,
    struct clc_subnet *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r;

	r = store_query_one(tx, Q_SUBNET_BY_ID, &rows, "subnet", e, subnet_id, account_id);
	if (r == ERR_NOT_FOUND)
		return err_set(
		    e, ERR_SUBNET_NOT_FOUND, "The subnet ID '%s' does not exist", subnet_id);
	if (r == 0)
		read_subnet(rows, ret);
	return r;
}

int
clc_subnet_default(struct store_tx *tx, const char *account_id, const char *region,
    const char *zone, struct clc_subnet *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r;

	r = store_query_one(
	    tx, Q_SUBNET_DEFAULT, &rows, "default subnet", e, account_id, region, zone);
	if (r == ERR_NOT_FOUND)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "There is no default subnet in this availability zone");
	if (r == 0)
		read_subnet(rows, ret);
	return r;
}

static int
find_group(struct store_tx *tx, unsigned query, const char *account_id, const char *vpc_id,
    const char *value, struct arena *arena, const char **ret_id, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r;

	r = store_query_one(tx, query, &rows, "security group", e, account_id, vpc_id, value);
	if (r == ERR_NOT_FOUND)
		return err_set(e, ERR_GROUP_NOT_FOUND,
		    "The security group '%s' does not exist in VPC '%s'", value, vpc_id);
	if (r == 0)
		*ret_id = arena_strdup(arena, store_text(rows, 0));
	return r;
}

int
clc_groups_resolve(struct store_tx *tx, const char *account_id, const char *vpc_id,
    const char *const *ids, size_t id_count, const char *const *names, size_t name_count,
    struct arena *arena, const char ***ret_ids, size_t *ret_count, struct err *e)
{
	static const char *const default_name[] = { "default" };
	const char **out;
	size_t n = 0;
	int r;

	if (id_count + name_count == 0) {
		names = default_name;
		name_count = 1;
	}
	if (id_count + name_count > GROUPS_PER_INTERFACE_MAX)
		return err_set(e, ERR_SECURITY_GROUPS_PER_INTERFACE,
		    "A network interface is in at most %d security groups",
		    GROUPS_PER_INTERFACE_MAX);
	out = arena_alloc(arena, (id_count + name_count) * sizeof(*out));
	for (size_t i = 0; i < id_count + name_count; i++) {
		bool by_id = i < id_count;

		if (by_id && !id_is_valid(ids[i], "sg"))
			return err_set(e, ERR_GROUP_ID_MALFORMED,
			    "Invalid id: \"%s\" (expecting \"sg-...\")", ids[i]);
		r = find_group(tx, by_id ? Q_SECURITY_GROUP_BY_ID : Q_SECURITY_GROUP_BY_NAME,
		    account_id, vpc_id, by_id ? ids[i] : names[i - id_count], arena, &out[n], e);
		if (r < 0)
			return r;
		for (size_t j = 0; j < n; j++)
			if (strcmp(out[j], out[n]) == 0)
				return err_set(e, ERR_INVALID_PARAMETER_VALUE,
				    "The security group '%s' is named twice", out[n]);
		n++;
	}
	*ret_ids = out;
	*ret_count = n;
	return 0;
}

/* -- interfaces and addresses -- */

static int
address_is_taken(struct store_tx *tx, const char *subnet_id, int64_t address, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_ADDRESS_TAKEN, &rows, e, subnet_id, address);

	return r < 0 ? r : store_next(rows, e);
}

/* Random probes while the subnet is mostly empty, else the lowest gap. */
static int
find_free_address(struct store_tx *tx, const struct clc_subnet *subnet, int64_t *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int64_t network, first, count, candidate;
	unsigned prefix;
	uint64_t noise;
	int r;

	cidr_parse(subnet->cidr, &network, &prefix);
	first = network + RESERVED_FIRST;
	count = (1LL << (32 - prefix)) - RESERVED_FIRST - 1;
	for (int i = 0; i < PROBES; i++) {
		random_bytes(&noise, sizeof(noise));
		candidate = first + (int64_t)(noise % (uint64_t)count);
		r = address_is_taken(tx, subnet->subnet_id, candidate, e);
		if (r < 0)
			return r;
		if (r == 0) {
			*ret = candidate;
			return 0;
		}
	}
	r = store_query(tx, Q_ADDRESSES_OF_SUBNET, &rows, e, subnet->subnet_id);
	if (r < 0)
		return r;
	candidate = first;
	while ((r = store_next(rows, e)) > 0) {
		if (store_int(rows, 0) > candidate)
			break;
		candidate = store_int(rows, 0) + 1;
	}
	if (r < 0)
		return r;
	if (candidate >= first + count)
		return err_set(e, ERR_INSUFFICIENT_FREE_ADDRESSES,
		    "The specified subnet '%s' does not have enough free addresses",
		    subnet->subnet_id);
	*ret = candidate;
	return 0;
}

static int
take_address(struct store_tx *tx, const struct clc_subnet *subnet, const char *asked, int64_t *ret,
    struct err *e)
{
	int64_t network, size;
	unsigned prefix;
	int r;

	if (!asked)
		return find_free_address(tx, subnet, ret, e);
	cidr_parse(subnet->cidr, &network, &prefix);
	size = 1LL << (32 - prefix);
	if (!address_parse(asked, ret) || *ret < network + RESERVED_FIRST ||
	    *ret >= network + size - 1)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Address %s does not fall within the subnet's address range", asked);
	r = address_is_taken(tx, subnet->subnet_id, *ret, e);
	if (r > 0)
		return err_set(e, ERR_ADDRESS_IN_USE, "Address %s is in use.", asked);
	return r;
}

static int
take_public_address(struct store_tx *tx, const char *interface_id, bool must, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	char text[INET_ADDRSTRLEN];
	int64_t address;
	int r;

	r = store_query_one(tx, Q_PUBLIC_ADDRESS_FREE, &rows, "free public address", e);
	if (r == ERR_NOT_FOUND)
		return must ? err_set(e, ERR_INSUFFICIENT_ADDRESS_CAPACITY,
				  "Not enough available addresses to satisfy the request")
			    : 0;
	if (r < 0)
		return r;
	address = store_int(rows, 0);
	address_format(address, text);
	r = store_exec(tx, Q_PUBLIC_ADDRESS_TAKE, NULL, e, address, interface_id);
	if (r < 0)
		return r;
	return store_exec(tx, Q_INTERFACE_SET_PUBLIC, NULL, e, interface_id, text);
}

static int
unused_mac(struct store_tx *tx, char out[18], struct err *e)
{
	uint8_t b[5];
	int r;

	do {
		_cleanup_(store_rows_freep) struct store_rows *rows = NULL;

		random_bytes(b, sizeof(b));
		snprintf(out, 18, "02:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4]);
		r = store_query(tx, Q_MAC_TAKEN, &rows, e, out);
		if (r < 0)
			return r;
		r = store_next(rows, e);
	} while (r > 0);
	return r;
}

int
clc_interface_create(
    struct store_tx *tx, const struct clc_interface_new *in, char ret_id[ID_MAX], struct err *e)
{
	char attachment_id[ID_MAX], mac[18];
	int64_t address = 0;
	int r;

	id_new(ret_id, "eni");
	id_new(attachment_id, "eni-attach");
	r = take_address(tx, in->subnet, in->private_ip, &address, e);
	if (r < 0)
		return r;
	r = unused_mac(tx, mac, e);
	if (r < 0)
		return r;
	r = store_exec(tx, Q_INTERFACE_INSERT, NULL, e, ret_id, in->account_id, in->region,
	    in->subnet->vpc_id, in->subnet->subnet_id, in->subnet->zone, in->instance_id,
	    attachment_id, mac, address, store_now_us(tx));
	if (r < 0)
		return r;
	for (size_t i = 0; i < in->group_count; i++) {
		r = store_exec(
		    tx, Q_INTERFACE_GROUP_INSERT, NULL, e, ret_id, (int64_t)i, in->group_ids[i]);
		if (r < 0)
			return r;
	}
	if (in->wants_public_ip) {
		r = take_public_address(tx, ret_id, in->must_have_public_ip, e);
		if (r < 0)
			return r;
	}
	return store_exec(tx, Q_VPC_TOUCH, NULL, e, in->subnet->vpc_id);
}

int
clc_interface_release_public(struct store_tx *tx, const char *instance_id, struct err *e)
{
	int r = store_exec(tx, Q_PUBLIC_ADDRESS_RELEASE, NULL, e, instance_id, store_now_us(tx));

	return r < 0 ? r : store_exec(tx, Q_INTERFACE_CLEAR_PUBLIC, NULL, e, instance_id);
}

int
clc_interface_allocate_public(struct store_tx *tx, const char *instance_id, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r;

	r = store_query_one(tx, Q_INTERFACE_WANTS_PUBLIC, &rows, "interface", e, instance_id);
	if (r == ERR_NOT_FOUND)
		return 0;
	return r < 0 ? r : take_public_address(tx, store_text(rows, 0), false, e);
}

int
clc_interface_delete(struct store_tx *tx, const char *instance_id, struct err *e)
{
	int r = clc_interface_release_public(tx, instance_id, e);

	if (r == 0)
		r = store_exec(tx, Q_VPC_TOUCH_BY_INSTANCE, NULL, e, instance_id);
	if (r == 0)
		r = store_exec(tx, Q_INTERFACE_GROUPS_DELETE, NULL, e, instance_id);
	if (r == 0)
		r = store_exec(tx, Q_INTERFACE_DELETE, NULL, e, instance_id);
	return r;
}

/* -- records for the zones -- */

typedef VEC(struct group_rule) rule_vec;
typedef VEC(const char *) string_vec;

static int
read_rules(struct store_tx *tx, const char *group_id, struct arena *arena, struct security_group *g,
    struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	rule_vec rules = { 0 };
	int r;

	r = store_query(tx, Q_GROUP_RULES, &rows, e, group_id);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct group_rule rule = {
			.direction = store_int(rows, 0) ? "egress" : "ingress",
			.protocol = arena_strdup(arena, store_text(rows, 1)),
			.has_from_port = true,
			.from_port = (int32_t)store_int(rows, 2),
			.has_to_port = true,
			.to_port = (int32_t)store_int(rows, 3),
			.cidr = arena_strdup(arena, store_text(rows, 4)),
			.group_id = arena_strdup(arena, store_text(rows, 5)),
		};

		vec_add(&rules, rule);
	}
	g->rules.count = rules.count;
	g->rules.items = arena_memdup(arena, rules.items, rules.count * sizeof(*rules.items));
	vec_done(&rules);
	return r;
}

static int
read_members(struct store_tx *tx, const char *group_id, struct arena *arena,
    struct security_group *g, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	string_vec members = { 0 };
	int r;

	r = store_query(tx, Q_GROUP_MEMBERS, &rows, e, group_id);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		char text[INET_ADDRSTRLEN];

		address_format(store_int(rows, 0), text);
		vec_add(&members, arena_strdup(arena, text));
	}
	g->members.count = members.count;
	g->members.items =
	    arena_memdup(arena, members.items, members.count * sizeof(*members.items));
	vec_done(&members);
	return r;
}

int
clc_vpc_spec(struct store_tx *tx, const char *vpc_id, struct arena *arena, struct vpc_spec *ret,
    struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *row = NULL, *groups = NULL;
	VEC(struct security_group) all = { 0 };
	int r;

	memset(ret, 0, sizeof(*ret));
	r = store_query_one(tx, Q_VPC_BY_ID, &row, "VPC", e, vpc_id);
	if (r < 0)
		return r;
	ret->vpc_id = arena_strdup(arena, vpc_id);
	ret->account_id = arena_strdup(arena, store_text(row, 1));
	ret->cidr = arena_strdup(arena, store_text(row, 3));
	ret->vni = (uint32_t)store_int(row, 4);
	ret->revision = (uint64_t)store_int(row, 5);
	r = store_query(tx, Q_SECURITY_GROUPS_OF_VPC, &groups, e, vpc_id);
	while (r >= 0 && (r = store_next(groups, e)) > 0) {
		struct security_group g = { .group_id =
						arena_strdup(arena, store_text(groups, 0)) };

		r = read_rules(tx, g.group_id, arena, &g, e);
		if (r >= 0)
			r = read_members(tx, g.group_id, arena, &g, e);
		vec_add(&all, g);
	}
	ret->groups.count = all.count;
	ret->groups.items = arena_memdup(arena, all.items, all.count * sizeof(*all.items));
	vec_done(&all);
	return r < 0 ? r : 0;
}

int
clc_interface_spec(struct store_tx *tx, const char *instance_id, struct arena *arena,
    struct network_interface *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *row = NULL, *groups = NULL;
	string_vec ids = { 0 };
	char text[INET_ADDRSTRLEN];
	int r;

	memset(ret, 0, sizeof(*ret));
	r = store_query_one(tx, Q_INTERFACE_OF_INSTANCE, &row, "interface", e, instance_id);
	if (r < 0)
		return r;
	ret->interface_id = arena_strdup(arena, store_text(row, 0));
	ret->vpc_id = arena_strdup(arena, store_text(row, 1));
	ret->subnet_id = arena_strdup(arena, store_text(row, 2));
	ret->mac = arena_strdup(arena, store_text(row, 3));
	address_format(store_int(row, 4), text);
	ret->private_ip = arena_strdup(arena, text);
	ret->public_ip = arena_strdup(arena, store_text(row, 5));
	ret->subnet_cidr = arena_strdup(arena, store_text(row, 6));
	ret->has_source_dest_check = true;
	ret->source_dest_check = store_int(row, 9);
	r = store_query(tx, Q_INTERFACE_GROUPS, &groups, e, ret->interface_id);
	while (r >= 0 && (r = store_next(groups, e)) > 0)
		vec_add(&ids, arena_strdup(arena, store_text(groups, 0)));
	ret->group_ids.count = ids.count;
	ret->group_ids.items = arena_memdup(arena, ids.items, ids.count * sizeof(*ids.items));
	vec_done(&ids);
	return r < 0 ? r : 0;
}
