// The prompt is at UART0.
#include "py/runtime.h"
#include "py/mphal.h"
#include "py/stream.h"
#include "uart.h"

uintptr_t mp_hal_stdio_poll(uintptr_t flags) {
    uintptr_t ready = flags & MP_STREAM_POLL_WR;
    if ((flags & MP_STREAM_POLL_RD) && uart_waiting(UART_CONSOLE)) {
        ready |= MP_STREAM_POLL_RD;
    }
    return ready;
}

int mp_hal_stdin_rx_chr(void) {
    for (;;) {
        int byte = uart_read(UART_CONSOLE);
        if (byte >= 0) {
            return byte;
        }
        mp_event_wait_indefinite();
    }
}

mp_uint_t mp_hal_stdout_tx_strn(const char *text, size_t length) {
    for (size_t at = 0; at < length; at++) {
        // A reader who has gone away must not stop the board for ever.
        uint32_t start = clock_ms();
        while (!uart_writable(UART_CONSOLE)) {
            if (clock_ms() - start > 1000) {
                return at;
            }
        }
        uart_write(UART_CONSOLE, text[at]);
    }
    return length;
}
