/* QEMU's `virt` for aarch64: output and exit by semihosting. */
#include "../board.h"

#include <stdint.h>

int main(void);

__asm__(".section .text.start, \"ax\"\n"
        ".global _start\n"
        "_start:\n"
        "    adrp x0, stack_top\n"
        "    add x0, x0, :lo12:stack_top\n"
        "    mov sp, x0\n"
        "    bl main\n"
        "    bl board_exit\n");

static void call(uint64_t operation, const void *argument)
{
    register uint64_t x0 __asm__("x0") = operation;
    register const void *x1 __asm__("x1") = argument;
    __asm__ volatile("hlt #0xf000" : "+r"(x0) : "r"(x1) : "memory");
}

void board_print(const char *text)
{
    call(0x04, text); /* SYS_WRITE0 */
}

void board_exit(int status)
{
    const uint64_t reason[2] = {0x20026 /* ADP_Stopped_ApplicationExit */, (uint64_t)status};
    call(0x18, reason); /* SYS_EXIT */
    for (;;) {
    }
}
