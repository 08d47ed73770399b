// Part of extmod/modmachine.c.
#include "py/mphal.h"
#include "options.h"

#define PROCESSOR_HZ 25000000
#define RESET_REQUEST 0x05fa0004

// The option id= tells one emulated board from another.
static mp_obj_t mp_machine_unique_id(void) {
    const char *id = options_text("id");
    return mp_obj_new_bytes((const byte *)(id ? id : MICROPY_HW_BOARD_NAME), strlen(id ? id : MICROPY_HW_BOARD_NAME));
}

static mp_obj_t mp_machine_get_freq(void) {
    return MP_OBJ_NEW_SMALL_INT(PROCESSOR_HZ);
}

static void mp_machine_set_freq(size_t n_args, const mp_obj_t *args) {
    mp_raise_NotImplementedError(NULL);
}

static void mp_machine_idle(void) {
    mp_event_wait_indefinite();
}

static void mp_machine_lightsleep(size_t n_args, const mp_obj_t *args) {
    if (n_args) {
        mp_hal_delay_ms(mp_obj_get_int(args[0]));
    } else {
        mp_machine_idle();
    }
}

NORETURN static void mp_machine_reset(void) {
    SCB_RESET = RESET_REQUEST;
    for (;;) {
    }
}

NORETURN static void mp_machine_deepsleep(size_t n_args, const mp_obj_t *args) {
    mp_machine_lightsleep(n_args, args);
    mp_machine_reset();
}

static mp_int_t mp_machine_reset_cause(void) {
    return 0;
}
