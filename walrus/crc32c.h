#pragma once
/* CRC-32C (Castagnoli, RFC 3720 B.4), by the CPU's instruction where it has one. */
#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t before /* 0 to begin */, const void *p, size_t n);
