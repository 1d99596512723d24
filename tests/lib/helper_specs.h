#pragma once
/* A valid message of each kind for the tests of the node helper. */
#include <arpa/inet.h>
#include <string.h>
#include "nc/helper_protocol.h"

static inline void
spec_nic(struct helper_nic *nic, uint32_t index)
{
	*nic = (struct helper_nic){ .index = index,
		.vni = 1001,
		.subnet_prefix = 20,
		.group_count = 1,
		.groups = { 1 },
		.mac = { 2, 0, 0, 0, 0, (uint8_t)index } };
	(void)inet_pton(AF_INET, "172.31.0.5", &nic->address);
	(void)inet_pton(AF_INET, "172.31.0.1", &nic->gateway);
}

static inline void
spec_guest(struct helper_guest_spec *s)
{
	memset(s, 0, sizeof(*s));
	strcpy(s->instance_id, "i-0123456789abcdef0");
	s->vcpus = 2;
	s->generation = 7;
	s->memory_mib = 512;
	s->cpu_shares = 2048;
	s->nic_count = 1;
	spec_nic(&s->nics[0], 3);
	memset(s->base.digest, 0xab, sizeof(s->base.digest));
	s->base.format = HELPER_FORMAT_RAW;
}
