/* How a firmware checks signatures: with a library that it has already, here libsodium. Another one
   takes the same few lines; what matters is that a signature by any key but the firmware's own is
   refused. */
#include "verify_sodium.h"

#include <sodium.h>
#include <string.h>

int verify_with_sodium(void *context, const uint8_t key_id[PHI_MODEL_DIGEST_SIZE],
                       const uint8_t signature[64], const uint8_t *message, size_t size)
{
    const struct trusted_key *key = context;
    return memcmp(key->key_id, key_id, sizeof key->key_id) == 0 &&
           crypto_sign_verify_detached(signature, message, size, key->public_key) == 0;
}
