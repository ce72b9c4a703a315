/* Checks on the device that a model image, the firmware and the tokenizer belong together.

   Portable C99: no allocation, no global state, of libc only memcmp and memcpy. FORMAT.md of
   phibuild's firmware plugin has the format of an image. Every length in an image is checked. */
#ifndef PHI_MODEL_H
#define PHI_MODEL_H

#include <stddef.h>
#include <stdint.h>

#define PHI_MODEL_DESCRIPTOR_SIZE 512u
#define PHI_MODEL_DIGEST_SIZE 32u

enum phi_model_status {
    PHI_MODEL_OK = 0,
    PHI_MODEL_TOO_SHORT,         /* the image ends before its payload does */
    PHI_MODEL_NOT_A_MODEL,       /* the magic is wrong */
    PHI_MODEL_UNKNOWN_VERSION,   /* this code is too old for the descriptor */
    PHI_MODEL_MALFORMED,         /* the descriptor contradicts itself */
    PHI_MODEL_DESCRIPTOR_DIGEST, /* the descriptor was changed */
    PHI_MODEL_PAYLOAD_DIGEST,    /* the payload was changed */
    PHI_MODEL_STALE_FIRMWARE,    /* the firmware was built for another image */
    PHI_MODEL_TOKENIZER,         /* the tokenizer does not match */
    PHI_MODEL_CHAT_TEMPLATE,     /* the chat template does not match */
    PHI_MODEL_NO_SIGNATURE,      /* the image is not signed */
    PHI_MODEL_SIGNATURE          /* the signature is not by this key, or not of this descriptor */
};

/* State of the portable SHA-256 (FIPS 180-4). */
struct phi_sha256 {
    uint32_t state[8];
    uint64_t length;
    uint8_t block[64];
};

/* SHA-256 for the checks. The caller owns `context`, which must outlive the check. A device with an
   accelerator supplies its own functions. */
struct phi_sha256_ops {
    void *context;
    void (*begin)(void *context);
    void (*update)(void *context, const uint8_t *bytes, size_t size);
    void (*finish)(void *context, uint8_t digest[PHI_MODEL_DIGEST_SIZE]);
};

/* A descriptor. `model_id` and `recipe` end with a zero byte here. */
struct phi_model {
    char format[5];
    uint32_t container;
    uint32_t alignment;
    uint64_t payload_offset;
    uint64_t payload_size;
    uint8_t payload_sha256[PHI_MODEL_DIGEST_SIZE];
    uint8_t tokenizer_digest[PHI_MODEL_DIGEST_SIZE];
    uint8_t chat_template_digest[PHI_MODEL_DIGEST_SIZE];
    uint8_t descriptor_sha256[PHI_MODEL_DIGEST_SIZE];
    uint32_t signature_kind;
    uint8_t key_id[PHI_MODEL_DIGEST_SIZE];
    uint8_t signature[64];
    char model_id[65];
    char recipe[129];
};

/* The image that a firmware was built for, filled from the generated phi_model_data.h. A tokenizer
   or chat template of all zeros is not compared. */
struct phi_model_expected {
    uint8_t descriptor_sha256[PHI_MODEL_DIGEST_SIZE];
    uint8_t tokenizer_digest[PHI_MODEL_DIGEST_SIZE];
    uint8_t chat_template_digest[PHI_MODEL_DIGEST_SIZE];
};

/* Checks an ed25519 signature of `message` with the firmware's key whose SHA-256 is `key_id`;
   returns 1 if it is good, and 0 if it is not, or there is no such key. */
typedef int (*phi_verify_signature)(void *context, const uint8_t key_id[PHI_MODEL_DIGEST_SIZE],
                                    const uint8_t signature[64], const uint8_t *message,
                                    size_t size);

/* The portable SHA-256 over a state that the caller owns. */
struct phi_sha256_ops phi_sha256_portable(struct phi_sha256 *state);

/* Reads the descriptor in the first PHI_MODEL_DESCRIPTOR_SIZE of `size` bytes. Fills `model` only
   if it returns PHI_MODEL_OK. Does not check the payload. */
enum phi_model_status phi_model_parse(const uint8_t *bytes, size_t size,
                                      const struct phi_sha256_ops *sha, struct phi_model *model);

/* Compares the payload of an image in memory with its digest. */
enum phi_model_status phi_model_check_payload(const struct phi_model *model, const uint8_t *image,
                                              size_t size, const struct phi_sha256_ops *sha);

/* The same for a payload that is read in pieces: begin `sha`, update it with exactly
   `payload_size` bytes from `payload_offset` on, then call this. */
enum phi_model_status phi_model_finish_payload(const struct phi_model *model,
                                               const struct phi_sha256_ops *sha);

/* Compares an image with the one that the firmware was built for. */
enum phi_model_status phi_model_matches(const struct phi_model *model,
                                        const struct phi_model_expected *expected);

/* The three checks above in turn, for an image in memory: all that a firmware without signatures
   needs. */
enum phi_model_status phi_model_check(const uint8_t *image, size_t size,
                                      const struct phi_model_expected *expected,
                                      const struct phi_sha256_ops *sha, struct phi_model *model);

/* Checks the signature of the descriptor. `bytes` must be those that `model` was read from, which
   is checked. */
enum phi_model_status phi_model_check_signature(const struct phi_model *model,
                                                const uint8_t *bytes, size_t size,
                                                phi_verify_signature verify, void *context);

/* A short text for a log. */
const char *phi_model_status_text(enum phi_model_status status);

#endif
