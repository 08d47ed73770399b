// The flash: a file of the host, named by the option flash=. Every write goes to the host before it
// returns, so that a kill of the emulator is a power cut: what was written stays, nothing else does.
#include <string.h>
#include "py/runtime.h"
#include "py/mperrno.h"
#include "extmod/vfs.h"
#include "flash.h"
#include "options.h"
#include "semihosting.h"

#define BLOCK 4096
#define ERASED 0xff

typedef struct {
    mp_obj_base_t base;
    int handle;
    uint32_t blocks;
} flash_obj_t;

static flash_obj_t flash = {{&emulator_flash_type}, -1, 0};

static mp_obj_t flash_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 0, 0, false);
    if (flash.handle < 0) {
        const char *path = options_text("flash");
        flash.handle = path ? semihosting_open(path, SEMIHOSTING_UPDATE) : -1;
        if (flash.handle < 0) {
            mp_raise_OSError(MP_ENODEV);
        }
        flash.blocks = semihosting_length(flash.handle) / BLOCK;
    }
    return MP_OBJ_FROM_PTR(&flash);
}

static bool seek(mp_obj_t block, size_t n_args, const mp_obj_t *args) {
    uint32_t offset = n_args > 3 ? mp_obj_get_int(args[3]) : 0;
    return semihosting_seek(flash.handle, mp_obj_get_int(block) * BLOCK + offset);
}

static mp_obj_t flash_readblocks(size_t n_args, const mp_obj_t *args) {
    mp_buffer_info_t buffer;
    mp_get_buffer_raise(args[2], &buffer, MP_BUFFER_WRITE);
    bool done = seek(args[1], n_args, args) && semihosting_read(flash.handle, buffer.buf, buffer.len) == buffer.len;
    return MP_OBJ_NEW_SMALL_INT(done ? 0 : -MP_EIO);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(flash_readblocks_obj, 3, 4, flash_readblocks);

static bool erase(uint32_t block) {
    uint8_t page[256];
    memset(page, ERASED, sizeof(page));
    bool done = semihosting_seek(flash.handle, block * BLOCK);
    for (size_t at = 0; done && at < BLOCK; at += sizeof(page)) {
        done = semihosting_write(flash.handle, page, sizeof(page));
    }
    return done;
}

static mp_obj_t flash_writeblocks(size_t n_args, const mp_obj_t *args) {
    mp_buffer_info_t buffer;
    mp_get_buffer_raise(args[2], &buffer, MP_BUFFER_READ);
    bool done = seek(args[1], n_args, args) && semihosting_write(flash.handle, buffer.buf, buffer.len);
    return MP_OBJ_NEW_SMALL_INT(done ? 0 : -MP_EIO);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(flash_writeblocks_obj, 3, 4, flash_writeblocks);

static mp_obj_t flash_ioctl(mp_obj_t self, mp_obj_t operation, mp_obj_t block) {
    switch (mp_obj_get_int(operation)) {
        case MP_BLOCKDEV_IOCTL_INIT:
        case MP_BLOCKDEV_IOCTL_DEINIT:
        case MP_BLOCKDEV_IOCTL_SYNC:
            return MP_OBJ_NEW_SMALL_INT(0);
        case MP_BLOCKDEV_IOCTL_BLOCK_COUNT:
            return MP_OBJ_NEW_SMALL_INT(flash.blocks);
        case MP_BLOCKDEV_IOCTL_BLOCK_SIZE:
            return MP_OBJ_NEW_SMALL_INT(BLOCK);
        case MP_BLOCKDEV_IOCTL_BLOCK_ERASE:
            return MP_OBJ_NEW_SMALL_INT(erase(mp_obj_get_int(block)) ? 0 : -MP_EIO);
        default:
            return mp_const_none;
    }
}
static MP_DEFINE_CONST_FUN_OBJ_3(flash_ioctl_obj, flash_ioctl);

static const mp_rom_map_elem_t flash_locals[] = {
    {MP_ROM_QSTR(MP_QSTR_readblocks), MP_ROM_PTR(&flash_readblocks_obj)},
    {MP_ROM_QSTR(MP_QSTR_writeblocks), MP_ROM_PTR(&flash_writeblocks_obj)},
    {MP_ROM_QSTR(MP_QSTR_ioctl), MP_ROM_PTR(&flash_ioctl_obj)},
};
static MP_DEFINE_CONST_DICT(flash_locals_dict, flash_locals);

MP_DEFINE_CONST_OBJ_TYPE(
    emulator_flash_type, MP_QSTR_Flash, MP_TYPE_FLAG_NONE,
    make_new, flash_make_new, locals_dict, &flash_locals_dict);
