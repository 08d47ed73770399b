// Part of extmod/modos.c. Random bytes come from the host: this processor has no generator.
#include "py/mperrno.h"
#include "semihosting.h"

static mp_obj_t mp_os_urandom(mp_obj_t count) {
    static int generator = -1;
    if (generator < 0) {
        generator = semihosting_open("/dev/urandom", SEMIHOSTING_READ);
    }
    vstr_t bytes;
    vstr_init_len(&bytes, mp_obj_get_int(count));
    if (generator < 0 || semihosting_read(generator, bytes.buf, bytes.len) != bytes.len) {
        mp_raise_OSError(MP_EIO);
    }
    return mp_obj_new_bytes_from_vstr(&bytes);
}
static MP_DEFINE_CONST_FUN_OBJ_1(mp_os_urandom_obj, mp_os_urandom);
