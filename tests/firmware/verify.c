/* verify IMAGE flip: the image with any one bit of its descriptor flipped must be refused.
   verify IMAGE cut: so must every shorter length.
   verify IMAGE: the status of the image, as a firmware with phi_model_data.h beside it sees it.
   verify IMAGE digest CHUNK: SHA-256 of the whole file, given in chunks of this size. */
#include "phi_model.h"
#include "phi_model_data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int accepted(void *context, const uint8_t *key_id, const uint8_t *signature,
                    const uint8_t *message, size_t size)
{
    (void)key_id, (void)signature, (void)message, (void)size;
    return *(int *)context;
}

static enum phi_model_status status_of(const uint8_t *image, size_t size)
{
    static const struct phi_model_expected EXPECTED = {
        PHI_MODEL_DESCRIPTOR_SHA256, PHI_MODEL_TOKENIZER_DIGEST, PHI_MODEL_CHAT_TEMPLATE_DIGEST};
    struct phi_sha256 state;
    const struct phi_sha256_ops sha = phi_sha256_portable(&state);
    struct phi_model model;
    const enum phi_model_status status = phi_model_check(image, size, &EXPECTED, &sha, &model);
    int yes = 1;
    if (status == PHI_MODEL_OK &&
        phi_model_check_signature(&model, image, size, accepted, &yes) != PHI_MODEL_NO_SIGNATURE) {
        return PHI_MODEL_SIGNATURE;
    }
    return status;
}

int main(int count, char **arguments)
{
    FILE *file = fopen(arguments[1], "rb");
    if (file == NULL) {
        return 2;
    }
    fseek(file, 0, SEEK_END);
    const size_t size = (size_t)ftell(file);
    rewind(file);
    uint8_t *image = malloc(size + 1);
    if (image == NULL || fread(image, 1, size, file) != size) {
        return 2;
    }
    fclose(file);
    int wrong = 0;
    if (count > 3) {
        struct phi_sha256 state;
        const struct phi_sha256_ops sha = phi_sha256_portable(&state);
        const size_t chunk = (size_t)strtoul(arguments[3], NULL, 10);
        uint8_t digest[32];
        sha.begin(sha.context);
        for (size_t at = 0; at < size; at += chunk) {
            sha.update(sha.context, image + at, size - at < chunk ? size - at : chunk);
        }
        sha.finish(sha.context, digest);
        for (size_t i = 0; i < sizeof digest; i++) {
            printf("%02x", digest[i]);
        }
        printf("\n");
    } else if (count > 2 && strcmp(arguments[2], "flip") == 0) {
        for (size_t bit = 0; bit < PHI_MODEL_DESCRIPTOR_SIZE * 8; bit++) {
            image[bit / 8] = (uint8_t)(image[bit / 8] ^ 1u << bit % 8);
            if (status_of(image, size) == PHI_MODEL_OK) {
                printf("bit %zu: accepted\n", bit);
                wrong = 1;
            }
            image[bit / 8] = (uint8_t)(image[bit / 8] ^ 1u << bit % 8);
        }
        printf("%s\n", wrong ? "FAIL" : "all refused");
    } else if (count > 2) {
        for (size_t length = 0; length < size; length += length < 512 ? 1 : 499) {
            uint8_t *cut = malloc(length + 1); /* so that a sanitizer sees each byte too many */
            if (cut == NULL) {
                return 2;
            }
            memcpy(cut, image, length);
            cut = realloc(cut, length ? length : 1);
            if (status_of(cut, length) == PHI_MODEL_OK) {
                wrong = 1;
            }
            free(cut);
        }
        printf("%s\n", wrong ? "FAIL" : "all refused");
    } else {
        const enum phi_model_status status = status_of(image, size);
        printf("%s\n", phi_model_status_text(status));
        wrong = status != PHI_MODEL_OK;
    }
    free(image);
    return wrong;
}
