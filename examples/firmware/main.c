/* Boots, checks that the model is the one that this firmware was built for, and says so. */
#include "board.h"
#include "phi_model.h"
#include "phi_model_data.h"

static const struct phi_model_expected EXPECTED = {
    PHI_MODEL_DESCRIPTOR_SHA256, PHI_MODEL_TOKENIZER_DIGEST, PHI_MODEL_CHAT_TEMPLATE_DIGEST};

int main(void)
{
#ifdef MODEL_ADDRESS
    const uint8_t *image = (const uint8_t *)MODEL_ADDRESS;
    const size_t size = (size_t)PHI_MODEL_IMAGE_SIZE;
#else
    const uint8_t *image = phi_model_image;
    const size_t size = (size_t)(phi_model_image_end - phi_model_image);
#endif
    struct phi_sha256 state;
    const struct phi_sha256_ops sha = phi_sha256_portable(&state);
    struct phi_model model;
    const enum phi_model_status status = phi_model_check(image, size, &EXPECTED, &sha, &model);
    board_print(status == PHI_MODEL_OK ? "PASS " : "FAIL ");
    board_print(status == PHI_MODEL_OK ? PHI_MODEL_ID : phi_model_status_text(status));
    board_print("\n");
    return status != PHI_MODEL_OK;
}
