#include "py/runtime.h"
#include "py/mphal.h"
#include "uart.h"

typedef struct {
    volatile uint32_t DATA, STATE, CTRL, INTSTATUS, BAUDDIV;
} cmsdk_uart_t;

#define STATE_TX_FULL 1
#define STATE_RX_FULL 2
#define CTRL_TX_RX_AND_RX_INTERRUPT (1 | 2 | 8)
#define INTSTATUS_RX 2
#define SMALLEST_DIVISOR 16

static cmsdk_uart_t *const ports[UART_COUNT] = {
    (cmsdk_uart_t *)0x40004000, (cmsdk_uart_t *)0x40005000, (cmsdk_uart_t *)0x40006000,
    (cmsdk_uart_t *)0x40007000, (cmsdk_uart_t *)0x40009000,
};
// The number of each port's receive interrupt.
static const uint8_t interrupts[UART_COUNT] = {0, 2, 4, 18, 20};

typedef struct {
    volatile uint16_t head, tail;
    uint8_t bytes[UART_RING];
} ring_t;

static ring_t rings[UART_COUNT];

void uart_init_all(void) {
    for (unsigned id = 0; id < UART_COUNT; id++) {
        rings[id].head = rings[id].tail = 0;
        ports[id]->BAUDDIV = SMALLEST_DIVISOR;
        ports[id]->CTRL = CTRL_TX_RX_AND_RX_INTERRUPT;
        NVIC_ENABLE = 1u << interrupts[id];
    }
}

// Take what is there. Where the ring is full the byte stays in the port, and QEMU holds back the next
// one: a real port would lose it.
static void take(unsigned id) {
    ring_t *ring = &rings[id];
    while (ports[id]->STATE & STATE_RX_FULL) {
        uint16_t next = (ring->head + 1) % UART_RING;
        if (next == ring->tail) {
            return;
        }
        uint8_t byte = ports[id]->DATA;
        if (id == UART_CONSOLE && byte == mp_interrupt_char) {
            mp_sched_keyboard_interrupt();
            continue;
        }
        ring->bytes[ring->head] = byte;
        ring->head = next;
    }
}

void uart_interrupt(void) {
    for (unsigned id = 0; id < UART_COUNT; id++) {
        ports[id]->INTSTATUS = INTSTATUS_RX;
        take(id);
    }
}

size_t uart_waiting(unsigned id) {
    return (rings[id].head + UART_RING - rings[id].tail) % UART_RING;
}

int uart_read(unsigned id) {
    ring_t *ring = &rings[id];
    if (ring->head == ring->tail) {
        return -1;
    }
    int byte = ring->bytes[ring->tail];
    uint32_t state = irq_disable();
    ring->tail = (ring->tail + 1) % UART_RING;
    // The byte that found the ring full is not announced again.
    take(id);
    irq_restore(state);
    return byte;
}

bool uart_writable(unsigned id) {
    return !(ports[id]->STATE & STATE_TX_FULL);
}

void uart_write(unsigned id, uint8_t byte) {
    ports[id]->DATA = byte;
}
