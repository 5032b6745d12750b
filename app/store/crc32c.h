/*
 * CRC-32C (Castagnoli; RFC 3720 appendix B.4): reflected polynomial 0x82f63b78, all ones before and
 * after.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* `crc` is 0, or that of the bytes before these: crc32c(crc32c(0, a), b) is that of a and b. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);
