/* A libFuzzer target: whatever the delta, applying it ends and stays within its memory. The digest
   is always zero, so that the code behind each check is reached, and zstd only copies. */
#include "phi_delta.h"

#include <stdlib.h>
#include <string.h>

struct board {
    const uint8_t *delta;
    size_t left;
};

static int read_delta(void *context, uint8_t *bytes, size_t size)
{
    struct board *board = context;
    if (size > board->left) {
        return 0;
    }
    memcpy(bytes, board->delta, size);
    board->delta += size;
    board->left -= size;
    return 1;
}

static int read_old(void *context, uint64_t offset, uint8_t *bytes, size_t size)
{
    (void)context;
    memset(bytes, 7, size);
    return offset + size <= 65536;
}

static int read_new(void *context, uint64_t offset, uint8_t *bytes, size_t size)
{
    (void)context, (void)offset, (void)bytes, (void)size;
    return 0;
}

static int write_new(void *context, uint64_t offset, const uint8_t *bytes, size_t size)
{
    uint8_t sum = 0;
    (void)context;
    for (size_t i = 0; i < size; i++) {
        sum = (uint8_t)(sum + bytes[i]);
    }
    return offset + size < UINT64_MAX && sum != 255;
}

static size_t decompress(void *context, uint8_t *to, size_t room, const uint8_t *frame, size_t size,
                         const uint8_t *old, size_t old_size)
{
    (void)context, (void)old, (void)old_size;
    if (size > room) {
        return SIZE_MAX;
    }
    memcpy(to, frame, size);
    return size;
}

static void nothing(void *context)
{
    (void)context;
}

static void pass(void *context, const uint8_t *bytes, size_t size)
{
    (void)context, (void)bytes, (void)size;
}

static void zero(void *context, uint8_t digest[PHI_MODEL_DIGEST_SIZE])
{
    (void)context;
    memset(digest, 0, PHI_MODEL_DIGEST_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct board board = {data, size};
    const struct phi_sha256_ops sha = {NULL, nothing, pass, zero};
    const struct phi_delta_device device = {&board,   read_delta, read_old,
                                            read_new, write_new,  decompress};
    uint8_t *memory = malloc(PHI_DELTA_MEMORY(8192));
    (void)phi_delta_apply(&device, &sha, memory, PHI_DELTA_MEMORY(8192));
    free(memory);
    return 0;
}
