/* Any bytes as a DNS query: answers stay within their buffer, keep the id, and are answers to it.
 */
#include <assert.h>
#include <string.h>
#include "nc/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t reply[DNS_REPLY_MAX];
	size_t size = 0;

	switch (dns_answer("here.compute.internal", data, n, reply, &size)) {
	case DNS_DROP:
		break;
	case DNS_REPLY:
		assert(size >= 12 && size <= sizeof(reply));
		assert(memcmp(reply, data, 2) == 0 && reply[2] & 0x80);
		if ((reply[3] & 15) == 0)
			assert(dns_is_reply_to(reply, size, data, n));
		break;
	case DNS_FORWARD:
		size = dns_failure(data, n, reply);
		assert(size >= 12 && dns_is_reply_to(reply, size, data, n));
		break;
	}
	(void)dns_is_reply_to(data, n, data, n);
	return 0;
}
