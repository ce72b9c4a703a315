/* Applies a delta to one file on the device: reads the old bytes and the delta, writes new bytes.

   Portable C99: no allocation, no global state, of libc only memcmp. DELTA.md of phibuild's delta
   plugin has the format. Every length in a delta is checked. */
#ifndef PHI_DELTA_H
#define PHI_DELTA_H

#include "phi_model.h"

#define PHI_DELTA_HEADER_SIZE 128u
#define PHI_DELTA_LEAST_WINDOW 4096u
#define PHI_DELTA_MOST_WINDOW 16777216u
#define PHI_DELTA_MOST_FIELDS 16u

/* Bytes of memory for a delta made with `--window`, besides zstd's own and half a kilobyte of
   stack. */
#define PHI_DELTA_MEMORY(window) (3u * (size_t)(window))

enum phi_delta_status {
    PHI_DELTA_OK = 0,
    PHI_DELTA_NOT_A_DELTA,     /* the magic is wrong */
    PHI_DELTA_UNKNOWN_VERSION, /* this code is too old for the delta */
    PHI_DELTA_TREE,            /* a delta of folders; make one of their model images */
    PHI_DELTA_MALFORMED,       /* the delta contradicts itself */
    PHI_DELTA_MEMORY_SHORT,    /* the delta's window needs more memory */
    PHI_DELTA_ANOTHER_OLD,     /* the delta is for other old bytes */
    PHI_DELTA_READ,            /* a callback could not read */
    PHI_DELTA_WRITE,           /* a callback could not write; call again to resume */
    PHI_DELTA_DAMAGED          /* the result has a wrong digest */
};

/* The header of a delta. */
struct phi_delta {
    uint32_t window;
    uint32_t records;
    uint64_t old_size;
    uint64_t new_size;
    uint8_t old_sha256[PHI_MODEL_DIGEST_SIZE];
    uint8_t new_sha256[PHI_MODEL_DIGEST_SIZE];
};

/* How the device reads and writes. Each function returns 1 if it read or wrote all bytes, else 0.
   `read_delta` returns the next bytes of the delta, which is read once, from its beginning.
   `read_new` reads what `write_new` wrote, in this run or before a loss of power; for bytes that
   were never written it may return 0, or anything. `decompress` is zstd: it decompresses one frame
   to at most `room` bytes, with the old bytes as a raw dictionary unless `old_size` is 0, and
   returns their number, or SIZE_MAX for a bad frame. */
struct phi_delta_device {
    void *context;
    int (*read_delta)(void *context, uint8_t *bytes, size_t size);
    int (*read_old)(void *context, uint64_t offset, uint8_t *bytes, size_t size);
    int (*read_new)(void *context, uint64_t offset, uint8_t *bytes, size_t size);
    int (*write_new)(void *context, uint64_t offset, const uint8_t *bytes, size_t size);
    size_t (*decompress)(void *context, uint8_t *to, size_t room, const uint8_t *frame, size_t size,
                         const uint8_t *old, size_t old_size);
};

/* Reads a header, which says how much memory and space for new bytes the delta needs. */
enum phi_delta_status phi_delta_parse(const uint8_t bytes[PHI_DELTA_HEADER_SIZE],
                                      struct phi_delta *delta);

/* Writes the new bytes. Checks all old bytes before the first write, each window before its write,
   and all new bytes at the end: they may be used only after PHI_DELTA_OK. After a cut anywhere call
   it again, with the delta from its beginning: it keeps the windows that are right. */
enum phi_delta_status phi_delta_apply(const struct phi_delta_device *device,
                                      const struct phi_sha256_ops *sha, uint8_t *memory,
                                      size_t memory_size);

/* A short text for a log. */
const char *phi_delta_status_text(enum phi_delta_status status);

#endif
