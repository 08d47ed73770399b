// The five serial ports of an MPS2 board (CMSDK APB UART). Bytes are received by interrupt into a ring.
#ifndef HANDFAST_QEMU_UART_H
#define HANDFAST_QEMU_UART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UART_COUNT 5
#define UART_CONSOLE 0
#define UART_RING 1024

void uart_init_all(void);
void uart_interrupt(void);
size_t uart_waiting(unsigned id);
int uart_read(unsigned id);                  // a byte, or -1 when none waits
bool uart_writable(unsigned id);
void uart_write(unsigned id, uint8_t byte);  // only when writable

#endif
