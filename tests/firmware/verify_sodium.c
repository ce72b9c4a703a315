/* verify_sodium IMAGE: checks it with libsodium's SHA-256 instead of the portable one.
   verify_sodium IMAGE wrong: with one that flips a bit of each digest.
   verify_sodium IMAGE swap: the signature over other bytes than those that the model was read from. */
#include "phi_model.h"
#include "phi_model_data.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

struct device {
    crypto_hash_sha256_state state;
    uint8_t flips;
    unsigned begun, finished;
    unsigned long long bytes;
};

static void begin(void *context)
{
    struct device *device = context;
    device->begun++;
    crypto_hash_sha256_init(&device->state);
}

static void update(void *context, const uint8_t *bytes, size_t size)
{
    struct device *device = context;
    device->bytes += size;
    crypto_hash_sha256_update(&device->state, bytes, size);
}

static void finish(void *context, uint8_t digest[PHI_MODEL_DIGEST_SIZE])
{
    struct device *device = context;
    device->finished++;
    crypto_hash_sha256_final(&device->state, digest);
    digest[0] = (uint8_t)(digest[0] ^ device->flips);
}

static int accepts_all(void *context, const uint8_t *key_id, const uint8_t *signature,
                       const uint8_t *message, size_t size)
{
    (void)context, (void)key_id, (void)signature, (void)message, (void)size;
    return 1;
}

int main(int count, char **arguments)
{
    static uint8_t image[1 << 20];
    static const struct phi_model_expected EXPECTED = {
        PHI_MODEL_DESCRIPTOR_SHA256, PHI_MODEL_TOKENIZER_DIGEST, PHI_MODEL_CHAT_TEMPLATE_DIGEST};
    struct device device = {0};
    const struct phi_sha256_ops sha = {&device, begin, update, finish};
    struct phi_model model;
    FILE *file = fopen(arguments[1], "rb");
    if (file == NULL) {
        return 2;
    }
    const size_t size = fread(image, 1, sizeof image, file);
    fclose(file);
    device.flips = count > 2 && strcmp(arguments[2], "wrong") == 0;
    enum phi_model_status status = phi_model_check(image, size, &EXPECTED, &sha, &model);
    if (count > 2 && strcmp(arguments[2], "swap") == 0) {
        model.signature_kind = 1; /* as if the key had signed it */
        status = phi_model_check_signature(&model, image, size, accepts_all, NULL);
        printf("%s, ", phi_model_status_text(status));
        image[370] ^= 1;
        status = phi_model_check_signature(&model, image, size, accepts_all, NULL);
        printf("%s\n", phi_model_status_text(status));
        return 0;
    }
    printf("%s: %u begun, %u finished, %llu bytes\n", phi_model_status_text(status), device.begun,
           device.finished, device.bytes);
    return 0;
}
