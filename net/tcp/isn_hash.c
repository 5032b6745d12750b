/* Apart from its caller, so that the simulator can stand in between. */
#include "net/tcp/isn.h"

uint64_t isn_hash(const struct siphash_key *key, const uint8_t *bytes, size_t len)
{
    return siphash24(key, bytes, len);
}
