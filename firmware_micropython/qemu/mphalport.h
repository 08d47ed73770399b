#include <stddef.h>
#include <stdint.h>
#include "shared/runtime/interrupt_char.h"
#include "cortex_m.h"
#include "clock.h"

#define mp_hal_ticks_ms clock_ms
#define mp_hal_ticks_us clock_us
#define mp_hal_ticks_cpu clock_cycles
void mp_hal_delay_ms(mp_uint_t ms);
void mp_hal_delay_us(mp_uint_t us);
uint64_t mp_hal_time_ns(void);

#define MICROPY_BEGIN_ATOMIC_SECTION() irq_disable()
#define MICROPY_END_ATOMIC_SECTION(state) irq_restore(state)
