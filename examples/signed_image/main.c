/* check_model IMAGE: accepts an image that the compiled-in key signed, whichever model it holds, so
   that a model can be updated without the firmware. A file stands in for the partition. */
#include "phi_model.h"
#include "phi_model_data.h"
#include "verify_sodium.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

/* First the signature, which vouches for the descriptor; then the payload, for which that does. */
static enum phi_model_status check(const uint8_t *image, size_t size)
{
    static struct trusted_key key = {PHI_MODEL_PUBLIC_KEY, PHI_MODEL_KEY_ID};
    struct phi_sha256 state;
    const struct phi_sha256_ops sha = phi_sha256_portable(&state);
    struct phi_model model;
    enum phi_model_status status = phi_model_parse(image, size, &sha, &model);
    if (status == PHI_MODEL_OK) {
        status = phi_model_check_signature(&model, image, size, verify_with_sodium, &key);
    }
    if (status == PHI_MODEL_OK) {
        status = phi_model_check_payload(&model, image, size, &sha);
    }
    return status;
}

int main(int count, char **arguments)
{
    FILE *file = count == 2 ? fopen(arguments[1], "rb") : NULL;
    if (file == NULL || sodium_init() < 0 || fseek(file, 0, SEEK_END) != 0) {
        return 2;
    }
    const long end = ftell(file);
    uint8_t *image = end > 0 ? malloc((size_t)end) : NULL;
    rewind(file);
    if (image == NULL || fread(image, 1, (size_t)end, file) != (size_t)end) {
        return 2;
    }
    fclose(file);
    const enum phi_model_status status = check(image, (size_t)end);
    free(image);
    printf("%s\n", phi_model_status_text(status));
    return status != PHI_MODEL_OK;
}
