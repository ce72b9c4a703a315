/* Applies a delta of one file on the device: old bytes and the delta in, new bytes out.

   Portable C99: no allocation, no global state, of libc only memcmp. The format is in DELTA.md of
   phibuild's firmware plugin. No length in a delta is trusted. */
#ifndef PHI_DELTA_H
#define PHI_DELTA_H

#include "phi_model.h"

#define PHI_DELTA_HEADER_SIZE 128u
#define PHI_DELTA_LEAST_WINDOW 4096u
#define PHI_DELTA_MOST_WINDOW 16777216u
#define PHI_DELTA_MOST_FIELDS 16u

/* Bytes of memory that a delta made with `--window` needs, besides what zstd takes and half a
   kilobyte of stack. */
#define PHI_DELTA_MEMORY(window) (3u * (size_t)(window))

enum phi_delta_status {
    PHI_DELTA_OK = 0,
    PHI_DELTA_NOT_A_DELTA,     /* the magic is not there */
    PHI_DELTA_UNKNOWN_VERSION, /* a delta that this code is too old for */
    PHI_DELTA_TREE,            /* a delta of folders: a device takes one of their image */
    PHI_DELTA_MALFORMED,       /* the delta contradicts itself */
    PHI_DELTA_MEMORY_SHORT,    /* the delta's window needs more memory than was given */
    PHI_DELTA_ANOTHER_OLD,     /* the delta was made from other old bytes */
    PHI_DELTA_READ,            /* a callback could not read */
    PHI_DELTA_WRITE,           /* a callback could not write; call again to go on */
    PHI_DELTA_DAMAGED          /* what comes out is not what it should be */
};

/* What the delta says of itself. */
struct phi_delta {
    uint32_t window;
    uint32_t records;
    uint64_t old_size;
    uint64_t new_size;
    uint8_t old_sha256[PHI_MODEL_DIGEST_SIZE];
    uint8_t new_sha256[PHI_MODEL_DIGEST_SIZE];
};

/* How the device reads and writes; each returns 1 if all bytes were read or written, and 0 if not.
   `read_delta` gives the next bytes of the delta, which is read once from its beginning. `read_new`
   reads what `write_new` wrote, in this run or before a loss of power; it may return 0, or give any
   bytes, for what was never written. `decompress` is zstd: it makes one frame into at most `room`
   bytes, with the old bytes as a raw dictionary where `old_size` is not 0, and returns how many it
   made, or SIZE_MAX for a bad frame. */
struct phi_delta_device {
    void *context;
    int (*read_delta)(void *context, uint8_t *bytes, size_t size);
    int (*read_old)(void *context, uint64_t offset, uint8_t *bytes, size_t size);
    int (*read_new)(void *context, uint64_t offset, uint8_t *bytes, size_t size);
    int (*write_new)(void *context, uint64_t offset, const uint8_t *bytes, size_t size);
    size_t (*decompress)(void *context, uint8_t *to, size_t room, const uint8_t *frame, size_t size,
                         const uint8_t *old, size_t old_size);
};

/* Reads a header: how much memory and room for the new bytes the delta needs. */
enum phi_delta_status phi_delta_parse(const uint8_t bytes[PHI_DELTA_HEADER_SIZE],
                                      struct phi_delta *delta);

/* Makes the new bytes. Checks all old bytes before it writes, each window as it goes, and all new
   bytes at the end: only PHI_DELTA_OK means that they may be used. After a cut at any place call it
   again, with the delta from its beginning: windows that are there as they should be stay. */
enum phi_delta_status phi_delta_apply(const struct phi_delta_device *device,
                                      const struct phi_sha256_ops *sha, uint8_t *memory,
                                      size_t memory_size);

/* A few words for a log. */
const char *phi_delta_status_text(enum phi_delta_status status);

#endif
