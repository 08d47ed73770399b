#include "py/runtime.h"
#include "py/mphal.h"

// FPGAIO of the MPS2 boards: a counter of 25 MHz, the system clock, that starts again every 171 seconds.
#define PRESCALE REGISTER(0x4002801c)
#define COUNTER REGISTER(0x40028018)
#define TICKS_PER_MS 25000
#define SYSTICK_PER_MS 25000

static uint32_t last;
static uint64_t total;
static uint64_t slept;

static uint64_t ticks(void) {
    uint32_t state = irq_disable();
    uint32_t now = COUNTER;
    total += now - last;
    last = now;
    uint64_t result = total;
    irq_restore(state);
    return result;
}

void clock_init(void) {
    PRESCALE = 0;
    last = COUNTER;
    SYSTICK_RELOAD = SYSTICK_PER_MS - 1;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7;
}

// Wakes whoever sleeps, and sees every turn of the counter.
void SysTick_Handler(void) {
    ticks();
}

uint32_t clock_ms(void) {
    return ticks() / TICKS_PER_MS;
}

uint32_t clock_us(void) {
    return ticks() / (TICKS_PER_MS / 1000);
}

uint32_t clock_cycles(void) {
    return COUNTER;
}

uint64_t clock_busy(void) {
    uint64_t now = ticks();
    return now - slept;
}

// The board has no calendar: a file is as old as the start of the board.
uint64_t mp_hal_time_ns(void) {
    return ticks() * 40;
}

void clock_idle(void) {
    // An interrupt wakes the processor also while it is masked; it runs after the sleep was counted.
    uint32_t state = irq_disable();
    uint64_t before = ticks();
    __asm volatile ("wfi");
    slept += ticks() - before;
    irq_restore(state);
}

void mp_hal_delay_us(mp_uint_t us) {
    uint32_t start = clock_us();
    while (clock_us() - start < us) {
        mp_event_handle_nowait();
    }
}

void mp_hal_delay_ms(mp_uint_t ms) {
    uint32_t start = clock_ms();
    do {
        mp_event_handle_nowait();
        if (ms) {
            clock_idle();
        }
    } while (clock_ms() - start < ms);
}
