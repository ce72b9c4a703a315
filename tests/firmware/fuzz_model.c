/* A libFuzzer target: whatever the bytes, every check ends and stays within them. The first byte
   says whether the descriptor gets the right digest, so that the checks behind it are reached. */
#include "phi_model.h"

#include <stdlib.h>
#include <string.h>

static int refused(void *context, const uint8_t *key_id, const uint8_t *signature,
                   const uint8_t *message, size_t size)
{
    uint8_t sum = 0;
    (void)context;
    for (size_t i = 0; i < size; i++) {
        sum = (uint8_t)(sum + message[i]);
    }
    return sum == 255 && key_id[31] + signature[63] == 510;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const int mends = (data[0] & 1) != 0;
    uint8_t *image = malloc(size - 1 ? size - 1 : 1);
    memcpy(image, data + 1, size - 1);
    size--;
    struct phi_sha256 state;
    const struct phi_sha256_ops sha = phi_sha256_portable(&state);
    if (mends && size >= PHI_MODEL_DESCRIPTOR_SIZE) {
        memcpy(image, "PHIMODEL\1\0\0\0\0\2\0\0", 16);
        sha.begin(sha.context);
        sha.update(sha.context, image, 368);
        sha.finish(sha.context, image + 368);
    }
    struct phi_model model;
    if (phi_model_parse(image, size, &sha, &model) == PHI_MODEL_OK) {
        struct phi_model_expected expected;
        memset(&expected, 1, sizeof expected);
        if (strlen(model.model_id) > 64 || strlen(model.recipe) > 128 ||
            model.payload_offset + model.payload_size < model.payload_offset ||
            phi_model_matches(&model, &expected) == PHI_MODEL_OK) {
            abort();
        }
        (void)phi_model_check_payload(&model, image, size, &sha);
        (void)phi_model_check_signature(&model, image, size, refused, NULL);
    }
    free(image);
    return 0;
}
