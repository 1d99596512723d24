#pragma once
/* The logical network: VPCs, subnets, security groups, interfaces and their addresses. Every account has
 * a default VPC with a subnet per zone. */
#include <netinet/in.h>
#include "request.h"
#include "rpc/common.api.h"

int clc_vpc_create_default(struct store_tx *tx, const struct clc_conf *conf, const char *account_id,
    struct err *e);
/* A new zone: a default subnet in every default VPC. */
int clc_vpc_add_zone(struct store_tx *tx, const char *zone, struct err *e);
/* The configured pool as rows; addresses no longer configured go when they are free. */
int clc_public_addresses_set(struct store_tx *tx, const char *ranges, struct err *e);
bool clc_public_addresses_are_valid(const char *ranges, struct err *e);

#define GROUPS_PER_INTERFACE_MAX 5 /* as at Amazon */

struct clc_subnet {
	char subnet_id[ID_MAX], vpc_id[ID_MAX], zone[64], cidr[32];
	bool maps_public_ip;
};
/* The subnet asked for, or the account's default one of a zone (NULL zone: none). SUBNET_NOT_FOUND. */
int clc_subnet_get(struct store_tx *tx, const char *account_id, const char *subnet_id,
    struct clc_subnet *ret, struct err *e);
int clc_subnet_default(struct store_tx *tx, const char *account_id, const char *region,
    const char *zone, struct clc_subnet *ret, struct err *e);
/* Ids of the groups named (by id or by name); none named: the VPC's default group. GROUP_NOT_FOUND. */
int clc_groups_resolve(struct store_tx *tx, const char *account_id, const char *vpc_id,
    const char *const *ids, size_t id_count, const char *const *names, size_t name_count,
    struct arena *arena, const char ***ret_ids, size_t *ret_count, struct err *e);

struct clc_interface_new {
	const char *account_id, *region, *instance_id;
	const struct clc_subnet *subnet;
	const char *private_ip; /* NULL: any free one */
	bool wants_public_ip;
	bool must_have_public_ip;
	const char *const *group_ids;
	size_t group_count;
};
/* Allocates addresses and writes the rows; the VPC's revision rises. ADDRESS_IN_USE,
 * INSUFFICIENT_FREE_ADDRESSES. */
int clc_interface_create(struct store_tx *tx, const struct clc_interface_new *in, char ret_id[ID_MAX],
    struct err *e);
int clc_interface_release_public(struct store_tx *tx, const char *instance_id, struct err *e);
int clc_interface_allocate_public(struct store_tx *tx, const char *instance_id, struct err *e);
int clc_interface_delete(struct store_tx *tx, const char *instance_id, struct err *e);

/* What a zone must know of a VPC. */
int clc_vpc_spec(struct store_tx *tx, const char *vpc_id, struct arena *arena, struct vpc_spec *ret,
    struct err *e);
/* The instance's interface as nodes want it. */
int clc_interface_spec(struct store_tx *tx, const char *instance_id, struct arena *arena,
    struct network_interface *ret, struct err *e);

void address_format(int64_t address, char out[INET_ADDRSTRLEN]); /* host order */
bool address_parse(const char *text, int64_t *ret);
bool cidr_parse(const char *text, int64_t *ret_network, unsigned *ret_prefix);
