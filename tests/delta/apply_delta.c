/* apply_delta OLD DELTA NEW WINDOW [WRITES]: a device whose flash is the file NEW and whose zstd is
   Debian's. Power is lost in the middle of write number WRITES. */
#include "phi_delta.h"

#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

struct board {
    FILE *old;
    FILE *delta;
    FILE *new;
    long writes;
};

static int read_delta(void *context, uint8_t *bytes, size_t size)
{
    struct board *board = context;
    return fread(bytes, 1, size, board->delta) == size;
}

static int read_at(FILE *file, uint64_t offset, uint8_t *bytes, size_t size)
{
    return fseek(file, (long)offset, SEEK_SET) == 0 && fread(bytes, 1, size, file) == size;
}

static int read_old(void *context, uint64_t offset, uint8_t *bytes, size_t size)
{
    return read_at(((struct board *)context)->old, offset, bytes, size);
}

static int read_new(void *context, uint64_t offset, uint8_t *bytes, size_t size)
{
    return read_at(((struct board *)context)->new, offset, bytes, size);
}

static int write_new(void *context, uint64_t offset, const uint8_t *bytes, size_t size)
{
    struct board *board = context;
    const int is_cut = board->writes-- == 0;
    if (fseek(board->new, (long)offset, SEEK_SET) != 0) {
        return 0;
    }
    const size_t written = fwrite(bytes, 1, is_cut ? size / 2 : size, board->new);
    return !is_cut && written == size;
}

static size_t decompress(void *context, uint8_t *to, size_t room, const uint8_t *frame, size_t size,
                         const uint8_t *old, size_t old_size)
{
    (void)context;
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    const size_t size_out = ZSTD_decompress_usingDict(zstd, to, room, frame, size, old, old_size);
    ZSTD_freeDCtx(zstd);
    return ZSTD_isError(size_out) ? SIZE_MAX : size_out;
}

int main(int count, char **arguments)
{
    if (count < 5) {
        return 2;
    }
    FILE *existing = fopen(arguments[3], "r+b");
    struct board board = {fopen(arguments[1], "rb"), fopen(arguments[2], "rb"),
                          existing != NULL ? existing : fopen(arguments[3], "w+b"),
                          count > 5 ? strtol(arguments[5], NULL, 10) : -1};
    const size_t size = PHI_DELTA_MEMORY(strtoul(arguments[4], NULL, 10));
    uint8_t *memory = malloc(size);
    if (board.old == NULL || board.delta == NULL || board.new == NULL || memory == NULL) {
        return 2;
    }
    struct phi_sha256 state;
    const struct phi_sha256_ops sha = phi_sha256_portable(&state);
    const struct phi_delta_device device = {&board,   read_delta, read_old,
                                            read_new, write_new,  decompress};
    const enum phi_delta_status status = phi_delta_apply(&device, &sha, memory, size);
    printf("%s\n", phi_delta_status_text(status));
    free(memory);
    fclose(board.old);
    fclose(board.delta);
    fclose(board.new);
    return status != PHI_DELTA_OK;
}
