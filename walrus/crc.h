#pragma once
/* Cyclic redundancy checks, as fast as memory is read where the processor multiplies polynomials. */
#include <stddef.h>
#include <stdint.h>

enum crc_kind {
	CRC_32,	    /* of zip, Ethernet (ISO-HDLC) */
	CRC_32C,    /* Castagnoli, RFC 3720 B.4 */
	CRC_64NVME, /* NVM Express, NVM Command Set 5.2.1.3.4 */
	CRC_MAX
};
/* The sum of what `before` is the sum of (0: nothing), then of the n bytes at p. */
uint64_t crc(enum crc_kind kind, uint64_t before, const void *p, size_t n);

static inline uint32_t
crc32c(uint32_t before, const void *p, size_t n)
{
	return (uint32_t)crc(CRC_32C, before, p, n);
}
