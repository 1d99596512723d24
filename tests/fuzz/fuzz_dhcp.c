/* Any bytes as a DHCP request: an answer is whole, its options are well-formed, and it goes nowhere
 * but to the guest. */
#include <assert.h>
#include <string.h>
#include "nc/dhcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct dhcp_lease lease = { .mac = { 2, 0xaa, 0, 0, 0, 1 },
		.address = { 0x0b01000a },
		.gateway = { 0x0101000a },
		.resolver = { 0xfda9fea9 },
		.prefix = 24,
		.mtu = 1500,
		.hostname = "ip-10-0-1-11",
		.domain = "here.compute.internal" };
	uint8_t reply[DHCP_REPLY_MAX];
	struct in_addr to = { 0 };
	size_t size = dhcp_answer(&lease, data, n, reply, &to), i;

	if (!size)
		return 0;
	assert(size >= 300 && size <= sizeof(reply));
	assert(to.s_addr == 0xffffffff || to.s_addr == lease.address.s_addr);
	for (i = 240; i < size && reply[i] != 255; i += 2U + reply[i + 1])
		assert(i + 2U + reply[i + 1] <= size);
	assert(i < size);
	return 0;
}
