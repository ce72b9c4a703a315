#ifndef VERIFY_SODIUM_H
#define VERIFY_SODIUM_H

#include "phi_model.h"

/* The key that a firmware trusts: PHI_MODEL_PUBLIC_KEY and PHI_MODEL_KEY_ID of the generated
   phi_model_data.h. */
struct trusted_key {
    uint8_t public_key[32];
    uint8_t key_id[PHI_MODEL_DIGEST_SIZE];
};

/* A phi_verify_signature whose context is a struct trusted_key. Call sodium_init() before. */
int verify_with_sodium(void *context, const uint8_t key_id[PHI_MODEL_DIGEST_SIZE],
                       const uint8_t signature[64], const uint8_t *message, size_t size);

#endif
