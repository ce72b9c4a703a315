/* QEMU's `mps2-an385`, a Cortex-M3: output and exit by semihosting. */
#include "../board.h"

#include <stdint.h>

int main(void);
void reset(void);
extern uint32_t stack_top[];

void reset(void)
{
    board_exit(main());
}

static void fault(void)
{
    board_exit(3);
}

/* The first words of a Cortex-M: the stack, reset, NMI, hard fault. */
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} VECTORS = {stack_top, {reset, fault, fault, fault, fault, fault}};

static void call(uint32_t operation, uint32_t argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register uint32_t r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void board_print(const char *text)
{
    call(0x04, (uint32_t)(uintptr_t)text); /* SYS_WRITE0 */
}

void board_exit(int status)
{
    /* SYS_EXIT with ADP_Stopped_ApplicationExit is a success, with any other reason none. */
    call(0x18, status == 0 ? 0x20026u : 0x20023u);
    for (;;) {
    }
}
