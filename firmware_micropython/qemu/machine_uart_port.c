// Part of extmod/machine_uart.c: machine.UART over uart.c. A baud rate is accepted and means nothing.
#include "py/mphal.h"
#include "py/mperrno.h"
#include "uart.h"

#define MICROPY_PY_MACHINE_UART_CLASS_CONSTANTS

typedef struct _machine_uart_obj_t {
    mp_obj_base_t base;
    uint8_t id;
    uint32_t timeout, timeout_char;
} machine_uart_obj_t;

static void mp_machine_uart_print(const mp_print_t *print, mp_obj_t self_in, mp_print_kind_t kind) {
    machine_uart_obj_t *self = MP_OBJ_TO_PTR(self_in);
    mp_printf(print, "UART(%u)", self->id);
}

static void mp_machine_uart_init_helper(machine_uart_obj_t *self, size_t n_args, const mp_obj_t *pos_args, mp_map_t *kw_args) {
    enum { ARG_baudrate, ARG_timeout, ARG_timeout_char, ARG_rxbuf };
    static const mp_arg_t allowed[] = {
        {MP_QSTR_baudrate, MP_ARG_INT, {.u_int = 115200}},
        {MP_QSTR_timeout, MP_ARG_KW_ONLY | MP_ARG_INT, {.u_int = 0}},
        // As on other ports a read waits a moment for the next byte: else it would end after each one.
        {MP_QSTR_timeout_char, MP_ARG_KW_ONLY | MP_ARG_INT, {.u_int = 1}},
        {MP_QSTR_rxbuf, MP_ARG_KW_ONLY | MP_ARG_INT, {.u_int = UART_RING}},
    };
    mp_arg_val_t args[MP_ARRAY_SIZE(allowed)];
    mp_arg_parse_all(n_args, pos_args, kw_args, MP_ARRAY_SIZE(allowed), allowed, args);
    if (args[ARG_rxbuf].u_int > UART_RING) {
        mp_raise_ValueError(MP_ERROR_TEXT("rxbuf is at most 1024"));
    }
    self->timeout = args[ARG_timeout].u_int;
    self->timeout_char = args[ARG_timeout_char].u_int;
}

static mp_obj_t mp_machine_uart_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 1, MP_OBJ_FUN_ARGS_MAX, true);
    mp_int_t id = mp_obj_get_int(args[0]);
    if (id < 0 || id >= UART_COUNT) {
        mp_raise_ValueError(MP_ERROR_TEXT("a UART is 0 to 4"));
    }
    machine_uart_obj_t *self = mp_obj_malloc(machine_uart_obj_t, type);
    self->id = id;
    mp_map_t keywords;
    mp_map_init_fixed_table(&keywords, n_kw, args + n_args);
    mp_machine_uart_init_helper(self, n_args - 1, args + 1, &keywords);
    return MP_OBJ_FROM_PTR(self);
}

static void mp_machine_uart_deinit(machine_uart_obj_t *self) {
}

static mp_int_t mp_machine_uart_any(machine_uart_obj_t *self) {
    return uart_waiting(self->id);
}

static bool mp_machine_uart_txdone(machine_uart_obj_t *self) {
    return uart_writable(self->id);
}

static mp_uint_t mp_machine_uart_read(mp_obj_t self_in, void *to, mp_uint_t size, int *error) {
    machine_uart_obj_t *self = MP_OBJ_TO_PTR(self_in);
    uint8_t *bytes = to;
    uint32_t patience = self->timeout;
    for (mp_uint_t at = 0; at < size; at++, patience = self->timeout_char) {
        int byte = uart_read(self->id);
        // The clock takes more than the byte does.
        uint32_t start = byte < 0 ? clock_ms() : 0;
        while (byte < 0) {
            if (clock_ms() - start >= patience) {
                if (at == 0) {
                    *error = MP_EAGAIN;
                    return MP_STREAM_ERROR;
                }
                return at;
            }
            mp_event_wait_ms(1);
            byte = uart_read(self->id);
        }
        bytes[at] = byte;
    }
    return size;
}

static mp_uint_t mp_machine_uart_write(mp_obj_t self_in, const void *from, mp_uint_t size, int *error) {
    machine_uart_obj_t *self = MP_OBJ_TO_PTR(self_in);
    const uint8_t *bytes = from;
    uint32_t start = clock_ms();
    for (mp_uint_t at = 0; at < size; at++) {
        while (!uart_writable(self->id)) {
            if (clock_ms() - start >= self->timeout) {
                if (at == 0) {
                    *error = MP_EAGAIN;
                    return MP_STREAM_ERROR;
                }
                return at;
            }
            mp_event_wait_ms(1);
        }
        uart_write(self->id, bytes[at]);
    }
    return size;
}

static mp_uint_t mp_machine_uart_ioctl(mp_obj_t self_in, mp_uint_t request, uintptr_t arg, int *error) {
    machine_uart_obj_t *self = MP_OBJ_TO_PTR(self_in);
    if (request == MP_STREAM_POLL) {
        mp_uint_t ready = 0;
        if ((arg & MP_STREAM_POLL_RD) && uart_waiting(self->id)) {
            ready |= MP_STREAM_POLL_RD;
        }
        if ((arg & MP_STREAM_POLL_WR) && uart_writable(self->id)) {
            ready |= MP_STREAM_POLL_WR;
        }
        return ready;
    }
    if (request == MP_STREAM_FLUSH || request == MP_STREAM_CLOSE) {
        return 0;
    }
    *error = MP_EINVAL;
    return MP_STREAM_ERROR;
}
