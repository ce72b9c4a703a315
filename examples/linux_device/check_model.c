/* Checks that a partition holds the model that this system was built for, and prints where in it the
   payload begins. */
#include <stdio.h>

#include "phi_model.h"
#include "phi_model_data.h"

static const struct phi_model_expected EXPECTED = {
    PHI_MODEL_DESCRIPTOR_SHA256, PHI_MODEL_TOKENIZER_DIGEST, PHI_MODEL_CHAT_TEMPLATE_DIGEST};

static enum phi_model_status check(FILE *partition, struct phi_model *model)
{
    static uint8_t buffer[1 << 16];
    struct phi_sha256 state;
    const struct phi_sha256_ops sha = phi_sha256_portable(&state);
    const size_t size = fread(buffer, 1, PHI_MODEL_DESCRIPTOR_SIZE, partition);
    enum phi_model_status status = phi_model_parse(buffer, size, &sha, model);
    if (status == PHI_MODEL_OK)
        status = phi_model_matches(model, &EXPECTED);
    if (status != PHI_MODEL_OK)
        return status;
    if (fseek(partition, (long)model->payload_offset, SEEK_SET) != 0)
        return PHI_MODEL_TOO_SHORT;
    sha.begin(sha.context);
    for (uint64_t left = model->payload_size; left > 0;) {
        const size_t wanted = left < sizeof buffer ? (size_t)left : sizeof buffer;
        if (fread(buffer, 1, wanted, partition) != wanted)
            return PHI_MODEL_TOO_SHORT;
        sha.update(sha.context, buffer, wanted);
        left -= wanted;
    }
    return phi_model_finish_payload(model, &sha);
}

int main(int argc, char **argv)
{
    struct phi_model model;
    FILE *partition = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (partition == NULL) {
        fprintf(stderr, "FAIL no partition\n");
        return 1;
    }
    const enum phi_model_status status = check(partition, &model);
    fclose(partition);
    if (status != PHI_MODEL_OK) {
        fprintf(stderr, "FAIL %s\n", phi_model_status_text(status));
        return 1;
    }
    fprintf(stderr, "PASS %s\n", model.model_id);
    printf("%llu\n", (unsigned long long)model.payload_offset);
    return 0;
}
