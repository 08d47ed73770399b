// Module `emulator`: what only this board has, because it is emulated.
#include "py/gc.h"
#include "py/mperrno.h"
#include "py/mphal.h"
#include "extmod/vfs.h"
#include "py/runtime.h"
#include "flash.h"
#include "heap.h"
#include "options.h"
#include "semihosting.h"

// busy(): ticks of 40 ns in which the processor ran; see clock.h for when they are instructions.
static mp_obj_t emulator_busy(void) {
    return mp_obj_new_int_from_ull(clock_busy());
}
static MP_DEFINE_CONST_FUN_OBJ_0(emulator_busy_obj, emulator_busy);

// option(name): the text of an option at boot, or None.
static mp_obj_t emulator_option(mp_obj_t name) {
    const char *text = options_text(mp_obj_str_get_str(name));
    return text ? mp_obj_new_str_from_cstr(text) : mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(emulator_option_obj, emulator_option);

// peak(): the most bytes that were in use after a collection since the last call of peak; the first call
// begins to look, which no board does that nobody asks: it takes a third of a collection.
static mp_obj_t emulator_peak(void) {
    heap_watched = true;
    gc_collect();
    size_t peak = heap_peak;
    heap_peak = 0;
    return mp_obj_new_int(peak);
}
static MP_DEFINE_CONST_FUN_OBJ_0(emulator_peak_obj, emulator_peak);

// read(path): the bytes of a file of the host; OSError when it cannot be read.
static mp_obj_t emulator_read(mp_obj_t path) {
    int handle = semihosting_open(mp_obj_str_get_str(path), SEMIHOSTING_READ);
    if (handle < 0) {
        mp_raise_OSError(MP_ENOENT);
    }
    vstr_t bytes;
    vstr_init_len(&bytes, semihosting_length(handle));
    bool done = semihosting_read(handle, bytes.buf, bytes.len) == bytes.len;
    semihosting_close(handle);
    if (!done) {
        // Such as a folder.
        mp_raise_OSError(MP_EISDIR);
    }
    return mp_obj_new_bytes_from_vstr(&bytes);
}
static MP_DEFINE_CONST_FUN_OBJ_1(emulator_read_obj, emulator_read);

// kind(path): 0x8000 for a file of the host, 0x4000 for a folder, 0 for nothing, as in os.stat.
static mp_obj_t emulator_kind(mp_obj_t path) {
    int handle = semihosting_open(mp_obj_str_get_str(path), SEMIHOSTING_READ);
    if (handle < 0) {
        return MP_OBJ_NEW_SMALL_INT(0);
    }
    uint8_t byte;
    bool file = semihosting_length(handle) == 0 || semihosting_read(handle, &byte, 1) == 1;
    semihosting_close(handle);
    return MP_OBJ_NEW_SMALL_INT(file ? MP_S_IFREG : MP_S_IFDIR);
}
static MP_DEFINE_CONST_FUN_OBJ_1(emulator_kind_obj, emulator_kind);

static const mp_rom_map_elem_t emulator_globals[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_emulator)},
    {MP_ROM_QSTR(MP_QSTR_Flash), MP_ROM_PTR(&emulator_flash_type)},
    {MP_ROM_QSTR(MP_QSTR_busy), MP_ROM_PTR(&emulator_busy_obj)},
    {MP_ROM_QSTR(MP_QSTR_option), MP_ROM_PTR(&emulator_option_obj)},
    {MP_ROM_QSTR(MP_QSTR_peak), MP_ROM_PTR(&emulator_peak_obj)},
    {MP_ROM_QSTR(MP_QSTR_read), MP_ROM_PTR(&emulator_read_obj)},
    {MP_ROM_QSTR(MP_QSTR_kind), MP_ROM_PTR(&emulator_kind_obj)},
};
static MP_DEFINE_CONST_DICT(emulator_globals_dict, emulator_globals);

const mp_obj_module_t emulator_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&emulator_globals_dict,
};
MP_REGISTER_MODULE(MP_QSTR_emulator, emulator_module);
