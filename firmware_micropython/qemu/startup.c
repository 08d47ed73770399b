// From the vector table to main, and what happens when the processor stumbles.
#include <stdlib.h>
#include "py/runtime.h"
#include "py/mphal.h"
#include "semihosting.h"
#include "uart.h"

extern uint32_t _estack, _sidata, _sdata, _edata, _sbss, _ebss;
int main(void);
void SysTick_Handler(void);

__attribute__((naked, noreturn)) void Reset_Handler(void) {
    // A reset by software leaves the interrupts as they were.
    __asm volatile ("cpsid i\n ldr r0, =_estack\n mov sp, r0\n b start");
}

__attribute__((noreturn, used)) static void start(void) {
    for (uint32_t *from = &_sidata, *to = &_sdata; to < &_edata;) {
        *to++ = *from++;
    }
    for (uint32_t *to = &_sbss; to < &_ebss;) {
        *to++ = 0;
    }
    clock_init();
    uart_init_all();
    __asm volatile ("cpsie i");
    exit(main());
}

__attribute__((noreturn)) void exit(int status) {
    semihosting_exit(status);
}

__attribute__((noreturn, used)) static void fault(uint32_t *stack) {
    mp_printf(&mp_plat_print, "fault %08x at %08x, called from %08x\n", (unsigned)REGISTER(0xe000ed28),
        (unsigned)stack[6], (unsigned)stack[5]);
    exit(3);
}

__attribute__((naked)) static void Fault_Handler(void) {
    __asm volatile ("mov r0, sp\n b fault");
}

typedef void (*vector_t)(void);

__attribute__((section(".vectors"), used)) static const vector_t vectors[16 + 32] = {
    (vector_t)&_estack,
    Reset_Handler,
    [2 ... 14] = Fault_Handler,
    [15] = SysTick_Handler,
    [16 ... 47] = uart_interrupt,
};
