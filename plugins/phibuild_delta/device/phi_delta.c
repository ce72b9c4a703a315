#include "phi_delta.h"

/* The only function of libc; a freestanding compiler has no string.h. */
int memcmp(const void *left, const void *right, size_t size);

enum { COPY, RAW, ZSTD, DIFFERENCES, WITH_OLD };

#define RECORD_SIZE 56u
#define NUMBER 0x4000u
#define SPARSE 0x8000u
#define MOST_WIDTH 4096u

struct record {
    uint32_t kind;
    uint32_t field_count;
    uint32_t size;
    uint32_t old_size;
    uint32_t packed_size;
    uint64_t old_offset;
    const uint8_t *sha256;
    uint32_t fields[PHI_DELTA_MOST_FIELDS];
};

static uint32_t little32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static uint64_t little64(const uint8_t *bytes)
{
    return (uint64_t)little32(bytes) | (uint64_t)little32(bytes + 4) << 32;
}

static void copy(uint8_t *to, const uint8_t *from, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        to[i] = from[i];
    }
}

enum phi_delta_status phi_delta_parse(const uint8_t bytes[PHI_DELTA_HEADER_SIZE],
                                      struct phi_delta *delta)
{
    if (memcmp(bytes, "PHIDELTA", 8) != 0) {
        return PHI_DELTA_NOT_A_DELTA;
    }
    if (little32(bytes + 8) != 1) {
        return PHI_DELTA_UNKNOWN_VERSION;
    }
    if (little32(bytes + 12) == 1) {
        return PHI_DELTA_TREE;
    }
    const uint32_t window = little32(bytes + 16);
    uint8_t any = 0;
    for (size_t i = 104; i < PHI_DELTA_HEADER_SIZE; i++) {
        any = (uint8_t)(any | bytes[i]);
    }
    if (little32(bytes + 12) != 0 || window < PHI_DELTA_LEAST_WINDOW ||
        window > PHI_DELTA_MOST_WINDOW || any != 0) {
        return PHI_DELTA_MALFORMED;
    }
    delta->window = window;
    delta->records = little32(bytes + 20);
    delta->old_size = little64(bytes + 24);
    delta->new_size = little64(bytes + 32);
    copy(delta->old_sha256, bytes + 40, PHI_MODEL_DIGEST_SIZE);
    copy(delta->new_sha256, bytes + 72, PHI_MODEL_DIGEST_SIZE);
    return PHI_DELTA_OK;
}

/* Reads a record and its fields; `room` is the number of new bytes that are left to write. */
static enum phi_delta_status next_record(const struct phi_delta_device *device,
                                         const struct phi_delta *delta, uint64_t room,
                                         uint8_t head[RECORD_SIZE], struct record *record)
{
    uint8_t codes[2 * PHI_DELTA_MOST_FIELDS];
    uint32_t stride = 0;
    if (!device->read_delta(device->context, head, RECORD_SIZE)) {
        return PHI_DELTA_READ;
    }
    record->kind = head[0];
    record->field_count = head[1];
    record->size = little32(head + 4);
    record->old_offset = little64(head + 8);
    record->old_size = little32(head + 16);
    record->packed_size = little32(head + 20);
    record->sha256 = head + 24;
    const uint32_t kind = record->kind;
    if (kind > WITH_OLD || head[2] != 0 || head[3] != 0 || record->size == 0 ||
        record->size > delta->window || record->size > room ||
        record->packed_size > delta->window || record->old_size > delta->window ||
        record->old_size > delta->old_size ||
        record->old_offset > delta->old_size - record->old_size ||
        (kind == COPY && record->packed_size != 0) ||
        (kind == RAW && record->packed_size != record->size) ||
        ((kind == COPY || kind == DIFFERENCES) && record->old_size != record->size) ||
        ((kind == RAW || kind == ZSTD) && (record->old_size != 0 || record->old_offset != 0)) ||
        record->field_count > PHI_DELTA_MOST_FIELDS ||
        (record->field_count > 0) != (kind == DIFFERENCES)) {
        return PHI_DELTA_MALFORMED;
    }
    if (record->field_count != 0 &&
        !device->read_delta(device->context, codes, (size_t)2 * record->field_count)) {
        return PHI_DELTA_READ;
    }
    for (uint32_t i = 0; i < record->field_count; i++) {
        const uint32_t code = (uint32_t)codes[2 * i] | (uint32_t)codes[2 * i + 1] << 8;
        const uint32_t width = code & (NUMBER - 1u);
        if (width == 0 || width > MOST_WIDTH ||
            ((code & NUMBER) != 0 && ((code & SPARSE) != 0 || (width != 2 && width != 4)))) {
            return PHI_DELTA_MALFORMED;
        }
        record->fields[i] = code;
        stride += width;
    }
    return stride != 0 && record->size % stride != 0 ? PHI_DELTA_MALFORMED : PHI_DELTA_OK;
}

/* Adds a list of distances and values; returns the bytes of `from` that it used, 0 if they do not
   fit. */
static size_t add_sparse(uint8_t *column, size_t plane, size_t width, size_t stride,
                         const uint8_t *from, size_t left)
{
    if (left < 4) {
        return 0;
    }
    const size_t count = little32(from);
    if (count > (left - 4) / 2) {
        return 0;
    }
    const uint8_t *skipped = from + 4;
    const uint8_t *values = skipped + count;
    for (size_t i = 0, at = 0; i < count; i++, at++) {
        at += skipped[i];
        if (at >= plane) {
            return 0;
        }
        uint8_t *byte = column + at / width * stride + at % width;
        *byte = (uint8_t)(*byte + values[i]);
    }
    return 4 + 2 * count;
}

static void add_numbers(uint8_t *column, size_t blocks, size_t width, size_t stride,
                        const uint8_t *planes)
{
    for (size_t i = 0; i < blocks; i++) {
        uint8_t *bytes = column + i * stride;
        uint32_t folded = 0;
        uint32_t number = 0;
        for (size_t k = 0; k < width; k++) {
            folded |= (uint32_t)planes[k * blocks + i] << 8 * k;
            number |= (uint32_t)bytes[k] << 8 * k;
        }
        number += (folded >> 1) ^ (0u - (folded & 1u));
        for (size_t k = 0; k < width; k++) {
            bytes[k] = (uint8_t)(number >> 8 * k);
        }
    }
}

/* Adds differences to the old bytes, in place; returns 0 if they do not fit. */
static int add_differences(uint8_t *bytes, const struct record *record, const uint8_t *from,
                           size_t left)
{
    size_t stride = 0;
    for (uint32_t i = 0; i < record->field_count; i++) {
        stride += record->fields[i] & (NUMBER - 1u);
    }
    const size_t blocks = record->size / stride;
    for (uint32_t i = 0; i < record->field_count; i++) {
        const size_t width = record->fields[i] & (NUMBER - 1u);
        const size_t plane = blocks * width;
        size_t used = plane;
        if ((record->fields[i] & SPARSE) != 0) {
            used = add_sparse(bytes, plane, width, stride, from, left);
            if (used == 0) {
                return 0;
            }
        } else if (plane > left) {
            return 0;
        } else if ((record->fields[i] & NUMBER) != 0) {
            add_numbers(bytes, blocks, width, stride, from);
        } else {
            for (size_t at = 0; at < plane; at++) {
                uint8_t *byte = bytes + at / width * stride + at % width;
                *byte = (uint8_t)(*byte + from[at]);
            }
        }
        from += used;
        left -= used;
        bytes += width;
    }
    return left == 0;
}

static int has_digest(const struct phi_sha256_ops *sha, const uint8_t *bytes, size_t size,
                      const uint8_t *expected)
{
    uint8_t digest[PHI_MODEL_DIGEST_SIZE];
    sha->begin(sha->context);
    sha->update(sha->context, bytes, size);
    sha->finish(sha->context, digest);
    return memcmp(digest, expected, sizeof digest) == 0;
}

static enum phi_delta_status check_all(const struct phi_delta_device *device,
                                       int (*read)(void *, uint64_t, uint8_t *, size_t),
                                       uint64_t size, const uint8_t *expected,
                                       const struct phi_sha256_ops *sha, uint8_t *memory,
                                       size_t room, enum phi_delta_status mismatch)
{
    uint8_t digest[PHI_MODEL_DIGEST_SIZE];
    sha->begin(sha->context);
    for (uint64_t at = 0; at < size;) {
        const size_t count = size - at < room ? (size_t)(size - at) : room;
        if (!read(device->context, at, memory, count)) {
            return PHI_DELTA_READ;
        }
        sha->update(sha->context, memory, count);
        at += count;
    }
    sha->finish(sha->context, digest);
    return memcmp(digest, expected, sizeof digest) == 0 ? PHI_DELTA_OK : mismatch;
}

/* Computes one window. The memory is three windows: `first` holds old bytes, to which differences
   are added, `second` the output of zstd, and `third` the packed bytes. */
static enum phi_delta_status compute_window(const struct phi_delta_device *device,
                                         const struct record *record, uint32_t window,
                                         uint8_t *first, uint8_t *second, uint8_t *third,
                                         const uint8_t **result)
{
    if (record->kind != RAW && record->old_size != 0 &&
        !device->read_old(device->context, record->old_offset, first, record->old_size)) {
        return PHI_DELTA_READ;
    }
    *result = record->kind == RAW ? third : first;
    if (record->kind == COPY || record->kind == RAW) {
        return PHI_DELTA_OK;
    }
    const size_t room = record->kind == DIFFERENCES ? window : record->size;
    const size_t dictionary = record->kind == WITH_OLD ? record->old_size : 0;
    const size_t size = device->decompress(device->context, second, room, third,
                                           record->packed_size, first, dictionary);
    if (size > room) {
        return PHI_DELTA_MALFORMED;
    }
    if (record->kind == DIFFERENCES) {
        return add_differences(first, record, second, size) ? PHI_DELTA_OK : PHI_DELTA_MALFORMED;
    }
    *result = second;
    return size == record->size ? PHI_DELTA_OK : PHI_DELTA_MALFORMED;
}

enum phi_delta_status phi_delta_apply(const struct phi_delta_device *device,
                                      const struct phi_sha256_ops *sha, uint8_t *memory,
                                      size_t memory_size)
{
    uint8_t head[PHI_DELTA_HEADER_SIZE];
    struct phi_delta delta;
    struct record record;
    if (!device->read_delta(device->context, head, sizeof head)) {
        return PHI_DELTA_READ;
    }
    enum phi_delta_status status = phi_delta_parse(head, &delta);
    if (status != PHI_DELTA_OK) {
        return status;
    }
    const size_t window = delta.window;
    if (memory_size / 3 < window) {
        return PHI_DELTA_MEMORY_SHORT;
    }
    uint8_t *second = memory + window;
    uint8_t *third = second + window;
    status = check_all(device, device->read_old, delta.old_size, delta.old_sha256, sha, memory,
                       window, PHI_DELTA_ANOTHER_OLD);
    uint64_t done = 0;
    for (uint32_t i = 0; i < delta.records && status == PHI_DELTA_OK; i++) {
        const uint8_t *result = memory;
        status = next_record(device, &delta, delta.new_size - done, head, &record);
        if (status != PHI_DELTA_OK) {
            break;
        }
        if (record.packed_size != 0 &&
            !device->read_delta(device->context, third, record.packed_size)) {
            return PHI_DELTA_READ;
        }
        if (!device->read_new(device->context, done, memory, record.size) ||
            !has_digest(sha, memory, record.size, record.sha256)) {
            status = compute_window(device, &record, delta.window, memory, second, third, &result);
            if (status == PHI_DELTA_OK && !has_digest(sha, result, record.size, record.sha256)) {
                status = PHI_DELTA_DAMAGED;
            }
            if (status == PHI_DELTA_OK &&
                !device->write_new(device->context, done, result, record.size)) {
                status = PHI_DELTA_WRITE;
            }
        }
        done += record.size;
    }
    if (status != PHI_DELTA_OK) {
        return status;
    }
    if (done != delta.new_size) {
        return PHI_DELTA_MALFORMED;
    }
    return check_all(device, device->read_new, delta.new_size, delta.new_sha256, sha, memory,
                     window, PHI_DELTA_DAMAGED);
}

const char *phi_delta_status_text(enum phi_delta_status status)
{
    switch (status) {
    case PHI_DELTA_OK:
        return "the new model is complete";
    case PHI_DELTA_NOT_A_DELTA:
        return "not a delta";
    case PHI_DELTA_UNKNOWN_VERSION:
        return "the delta's version is not supported";
    case PHI_DELTA_TREE:
        return "the delta is for folders";
    case PHI_DELTA_MALFORMED:
        return "the delta is malformed";
    case PHI_DELTA_MEMORY_SHORT:
        return "the delta's window needs more memory";
    case PHI_DELTA_ANOTHER_OLD:
        return "the delta is for another old model";
    case PHI_DELTA_READ:
        return "reading failed, or the delta is cut off";
    case PHI_DELTA_WRITE:
        return "writing failed";
    case PHI_DELTA_DAMAGED:
        return "the new model has a wrong digest";
    }
    return "unknown status";
}
