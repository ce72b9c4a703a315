/* The three functions that a freestanding compiler may call. */
#include <stddef.h>

int memcmp(const void *one, const void *other, size_t size)
{
    const unsigned char *a = one, *b = other;
    for (; size != 0; a++, b++, size--) {
        if (*a != *b) {
            return *a < *b ? -1 : 1;
        }
    }
    return 0;
}

void *memcpy(void *to, const void *from, size_t size)
{
    unsigned char *a = to;
    const unsigned char *b = from;
    while (size-- != 0) {
        *a++ = *b++;
    }
    return to;
}

void *memset(void *to, int value, size_t size)
{
    unsigned char *a = to;
    while (size-- != 0) {
        *a++ = (unsigned char)value;
    }
    return to;
}
