// Time from the board's 25 MHz counter, and how much of it the processor slept.
#ifndef HANDFAST_QEMU_CLOCK_H
#define HANDFAST_QEMU_CLOCK_H

#include <stdint.h>

void clock_init(void);
uint32_t clock_ms(void);
uint32_t clock_us(void);
uint32_t clock_cycles(void);

// Ticks of 40 ns in which the processor did not sleep. Under QEMU's -icount these are instructions:
// one instruction takes 2^shift ns, and time stands still while none runs.
uint64_t clock_busy(void);

// Sleep until something happens, at most until the next tick of 1 ms.
void clock_idle(void);

#endif
