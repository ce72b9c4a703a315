/* QEMU's `virt` for riscv64: a 16550 for output, the test device for the exit status. */
#include "../board.h"

#include <stdint.h>

#define UART ((volatile uint8_t *)0x10000000)
#define TEST_DEVICE ((volatile uint32_t *)0x100000)

int main(void);

__asm__(".section .text.start, \"ax\"\n"
        ".global _start\n"
        "_start:\n"
        "    la sp, stack_top\n"
        "    call main\n"
        "    call board_exit\n");

void board_print(const char *text)
{
    for (; *text != 0; text++) {
        *UART = (uint8_t)*text;
    }
}

void board_exit(int status)
{
    *TEST_DEVICE = status == 0 ? 0x5555u : (uint32_t)status << 16 | 0x3333u;
    for (;;) {
    }
}
