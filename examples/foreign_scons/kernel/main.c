/* Checks that the model inside is the one that this firmware was built for, and says so. */
#include "phi_model.h"
#include "phi_model_data.h"

#include <stdio.h>

static const struct phi_model_expected EXPECTED = {
    PHI_MODEL_DESCRIPTOR_SHA256, PHI_MODEL_TOKENIZER_DIGEST, PHI_MODEL_CHAT_TEMPLATE_DIGEST};

int main(void)
{
    const size_t size = (size_t)(phi_model_image_end - phi_model_image);
    struct phi_sha256 state;
    const struct phi_sha256_ops sha = phi_sha256_portable(&state);
    struct phi_model model;
    const enum phi_model_status status =
        phi_model_check(phi_model_image, size, &EXPECTED, &sha, &model);
    const char *text = status == PHI_MODEL_OK ? PHI_MODEL_ID : phi_model_status_text(status);
    printf("%s %s\n", status == PHI_MODEL_OK ? "PASS" : "FAIL", text);
    return status != PHI_MODEL_OK;
}
