#include "phi_model.h"

/* The only functions of libc; a freestanding compiler has no string.h. */
int memcmp(const void *left, const void *right, size_t size);
void *memcpy(void *to, const void *from, size_t size);

static uint32_t little32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static uint64_t little64(const uint8_t *bytes)
{
    return (uint64_t)little32(bytes) | (uint64_t)little32(bytes + 4) << 32;
}

static int is_zero(const uint8_t *bytes, size_t size)
{
    uint8_t any = 0;
    for (size_t i = 0; i < size; i++) {
        any = (uint8_t)(any | bytes[i]);
    }
    return any == 0;
}

/* After its first zero byte a text has only zero bytes. */
static int is_text(const uint8_t *bytes, size_t size)
{
    size_t length = 0;
    while (length < size && bytes[length] != 0) {
        length++;
    }
    return is_zero(bytes + length, size - length);
}

static void copy_text(char *to, const uint8_t *from, size_t size)
{
    memcpy(to, from, size);
    to[size] = 0;
}

enum phi_model_status phi_model_parse(const uint8_t *bytes, size_t size,
                                      const struct phi_sha256_ops *sha, struct phi_model *model)
{
    uint8_t digest[PHI_MODEL_DIGEST_SIZE];
    if (size < 8) {
        return PHI_MODEL_TOO_SHORT;
    }
    if (memcmp(bytes, "PHIMODEL", 8) != 0) {
        return PHI_MODEL_NOT_A_MODEL;
    }
    if (size < PHI_MODEL_DESCRIPTOR_SIZE) {
        return PHI_MODEL_TOO_SHORT;
    }
    if (little32(bytes + 8) != 1) {
        return PHI_MODEL_UNKNOWN_VERSION;
    }
    sha->begin(sha->context);
    sha->update(sha->context, bytes, 368);
    sha->finish(sha->context, digest);
    if (memcmp(digest, bytes + 368, sizeof digest) != 0) {
        return PHI_MODEL_DESCRIPTOR_DIGEST;
    }

    const uint32_t alignment = little32(bytes + 136);
    const uint64_t offset = little64(bytes + 24);
    const uint64_t length = little64(bytes + 32);
    const uint32_t signature_kind = little32(bytes + 400);
    if (little32(bytes + 12) != PHI_MODEL_DESCRIPTOR_SIZE || alignment < 512 ||
        (alignment & (alignment - 1)) != 0 || offset < PHI_MODEL_DESCRIPTOR_SIZE ||
        (offset & (alignment - 1)) != 0 || length > UINT64_MAX - offset ||
        little32(bytes + 20) > 3 || !is_text(bytes + 16, 4) || !is_text(bytes + 144, 64) ||
        !is_text(bytes + 208, 128) ||
        !is_zero(bytes + 140, 4) || !is_zero(bytes + 336, 32) || signature_kind > 1 ||
        !is_zero(bytes + 404, 4) || !is_zero(bytes + 504, 8) ||
        (signature_kind == 0 && !is_zero(bytes + 408, 96))) {
        return PHI_MODEL_MALFORMED;
    }

    copy_text(model->format, bytes + 16, 4);
    model->container = little32(bytes + 20);
    model->alignment = alignment;
    model->payload_offset = offset;
    model->payload_size = length;
    memcpy(model->payload_sha256, bytes + 40, PHI_MODEL_DIGEST_SIZE);
    memcpy(model->tokenizer_digest, bytes + 72, PHI_MODEL_DIGEST_SIZE);
    memcpy(model->chat_template_digest, bytes + 104, PHI_MODEL_DIGEST_SIZE);
    copy_text(model->model_id, bytes + 144, 64);
    copy_text(model->recipe, bytes + 208, 128);
    memcpy(model->descriptor_sha256, bytes + 368, PHI_MODEL_DIGEST_SIZE);
    model->signature_kind = signature_kind;
    memcpy(model->key_id, bytes + 408, PHI_MODEL_DIGEST_SIZE);
    memcpy(model->signature, bytes + 440, sizeof model->signature);
    return PHI_MODEL_OK;
}

enum phi_model_status phi_model_check_payload(const struct phi_model *model, const uint8_t *image,
                                              size_t size, const struct phi_sha256_ops *sha)
{
    if (model->payload_offset > size || model->payload_size > size - model->payload_offset) {
        return PHI_MODEL_TOO_SHORT;
    }
    sha->begin(sha->context);
    sha->update(sha->context, image + (size_t)model->payload_offset, (size_t)model->payload_size);
    return phi_model_finish_payload(model, sha);
}

enum phi_model_status phi_model_finish_payload(const struct phi_model *model,
                                               const struct phi_sha256_ops *sha)
{
    uint8_t digest[PHI_MODEL_DIGEST_SIZE];
    sha->finish(sha->context, digest);
    return memcmp(digest, model->payload_sha256, sizeof digest) == 0 ? PHI_MODEL_OK
                                                                     : PHI_MODEL_PAYLOAD_DIGEST;
}

static int differs(const uint8_t *expected, const uint8_t *actual)
{
    return !is_zero(expected, PHI_MODEL_DIGEST_SIZE) &&
           memcmp(expected, actual, PHI_MODEL_DIGEST_SIZE) != 0;
}

enum phi_model_status phi_model_matches(const struct phi_model *model,
                                        const struct phi_model_expected *expected)
{
    /* The most specific first: with another tokenizer, the whole image differs too. */
    if (differs(expected->tokenizer_digest, model->tokenizer_digest)) {
        return PHI_MODEL_TOKENIZER;
    }
    if (differs(expected->chat_template_digest, model->chat_template_digest)) {
        return PHI_MODEL_CHAT_TEMPLATE;
    }
    return memcmp(expected->descriptor_sha256, model->descriptor_sha256,
                  PHI_MODEL_DIGEST_SIZE) == 0
               ? PHI_MODEL_OK
               : PHI_MODEL_STALE_FIRMWARE;
}

enum phi_model_status phi_model_check(const uint8_t *image, size_t size,
                                      const struct phi_model_expected *expected,
                                      const struct phi_sha256_ops *sha, struct phi_model *model)
{
    enum phi_model_status status = phi_model_parse(image, size, sha, model);
    if (status == PHI_MODEL_OK) {
        status = phi_model_matches(model, expected);
    }
    if (status == PHI_MODEL_OK) {
        status = phi_model_check_payload(model, image, size, sha);
    }
    return status;
}

enum phi_model_status phi_model_check_signature(const struct phi_model *model,
                                                const uint8_t *bytes, size_t size,
                                                phi_verify_signature verify, void *context)
{
    if (model->signature_kind == 0) {
        return PHI_MODEL_NO_SIGNATURE;
    }
    if (size < PHI_MODEL_DESCRIPTOR_SIZE) {
        return PHI_MODEL_TOO_SHORT;
    }
    /* The signature covers these bytes, so they must be those that the model was read from. */
    if (memcmp(bytes + 368, model->descriptor_sha256, PHI_MODEL_DIGEST_SIZE) != 0) {
        return PHI_MODEL_SIGNATURE;
    }
    return verify(context, model->key_id, model->signature, bytes, 400) == 1
               ? PHI_MODEL_OK
               : PHI_MODEL_SIGNATURE;
}

const char *phi_model_status_text(enum phi_model_status status)
{
    switch (status) {
    case PHI_MODEL_OK: return "ok";
    case PHI_MODEL_TOO_SHORT: return "the image is too short";
    case PHI_MODEL_NOT_A_MODEL: return "not a model image";
    case PHI_MODEL_UNKNOWN_VERSION: return "the image's version is not supported";
    case PHI_MODEL_MALFORMED: return "the descriptor is malformed";
    case PHI_MODEL_DESCRIPTOR_DIGEST: return "the descriptor was changed";
    case PHI_MODEL_PAYLOAD_DIGEST: return "the payload was changed";
    case PHI_MODEL_STALE_FIRMWARE: return "the firmware is for another image";
    case PHI_MODEL_TOKENIZER: return "the tokenizer does not match";
    case PHI_MODEL_CHAT_TEMPLATE: return "the chat template does not match";
    case PHI_MODEL_NO_SIGNATURE: return "the image is not signed";
    case PHI_MODEL_SIGNATURE: return "the signature is wrong";
    }
    return "an unknown status";
}

/* SHA-256, FIPS 180-4: section 4.2.2 has the constants, 6.2.2 the rounds. */

static const uint32_t ROUND[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotated(uint32_t word, unsigned by)
{
    return word >> by | word << (32 - by);
}

static void compress(struct phi_sha256 *sha, const uint8_t *block)
{
    uint32_t w[64], v[8];
    for (size_t i = 0; i < 16; i++) {
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | (uint32_t)block[4 * i + 3];
    }
    for (size_t i = 16; i < 64; i++) {
        const uint32_t low = rotated(w[i - 15], 7) ^ rotated(w[i - 15], 18) ^ w[i - 15] >> 3;
        const uint32_t high = rotated(w[i - 2], 17) ^ rotated(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + low + w[i - 7] + high;
    }
    memcpy(v, sha->state, sizeof v);
    for (size_t i = 0; i < 64; i++) {
        const uint32_t high = rotated(v[4], 6) ^ rotated(v[4], 11) ^ rotated(v[4], 25);
        const uint32_t chosen = (v[4] & v[5]) ^ (~v[4] & v[6]);
        const uint32_t first = v[7] + high + chosen + ROUND[i] + w[i];
        const uint32_t low = rotated(v[0], 2) ^ rotated(v[0], 13) ^ rotated(v[0], 22);
        const uint32_t most = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        v[7] = v[6];
        v[6] = v[5];
        v[5] = v[4];
        v[4] = v[3] + first;
        v[3] = v[2];
        v[2] = v[1];
        v[1] = v[0];
        v[0] = first + low + most;
    }
    for (size_t i = 0; i < 8; i++) {
        sha->state[i] += v[i];
    }
}

static void portable_begin(void *context)
{
    static const uint32_t START[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    struct phi_sha256 *sha = context;
    memcpy(sha->state, START, sizeof START);
    sha->length = 0;
}

static void portable_update(void *context, const uint8_t *bytes, size_t size)
{
    struct phi_sha256 *sha = context;
    size_t used = (size_t)(sha->length % 64);
    sha->length += size;
    if (used != 0) {
        const size_t room = 64 - used;
        const size_t count = size < room ? size : room;
        memcpy(sha->block + used, bytes, count);
        bytes += count;
        size -= count;
        if (used + count < 64) {
            return;
        }
        compress(sha, sha->block);
    }
    for (; size >= 64; bytes += 64, size -= 64) {
        compress(sha, bytes);
    }
    if (size != 0) {
        memcpy(sha->block, bytes, size);
    }
}

static void portable_finish(void *context, uint8_t digest[PHI_MODEL_DIGEST_SIZE])
{
    static const uint8_t PADDING[64] = {0x80};
    struct phi_sha256 *sha = context;
    const uint64_t bits = sha->length * 8;
    const size_t used = (size_t)(sha->length % 64);
    uint8_t length[8];
    portable_update(sha, PADDING, used < 56 ? 56 - used : 120 - used);
    for (unsigned i = 0; i < 8; i++) {
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    }
    portable_update(sha, length, sizeof length);
    for (unsigned i = 0; i < 32; i++) {
        digest[i] = (uint8_t)(sha->state[i / 4] >> (24 - 8 * (i % 4)));
    }
}

struct phi_sha256_ops phi_sha256_portable(struct phi_sha256 *state)
{
    const struct phi_sha256_ops ops = {state, portable_begin, portable_update, portable_finish};
    return ops;
}
