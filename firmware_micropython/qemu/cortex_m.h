// What a Cortex-M has besides its instructions.
#ifndef HANDFAST_QEMU_CORTEX_M_H
#define HANDFAST_QEMU_CORTEX_M_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYSTICK_CONTROL REGISTER(0xe000e010)
#define SYSTICK_RELOAD REGISTER(0xe000e014)
#define SYSTICK_VALUE REGISTER(0xe000e018)
#define NVIC_ENABLE REGISTER(0xe000e100)
#define SCB_RESET REGISTER(0xe000ed0c)

static inline uint32_t irq_disable(void) {
    uint32_t before;
    __asm volatile ("mrs %0, primask\n cpsid i" : "=r" (before) : : "memory");
    return before;
}

static inline void irq_restore(uint32_t before) {
    __asm volatile ("msr primask, %0" : : "r" (before) : "memory");
}

#endif
