// The partition for a ROMFS: memory beside the program, where code is executed in place. A file of the host,
// named by the option rom=, is read into it at boot; what is erased or written goes to the host before it
// returns, so that a kill of the emulator is a power cut, as with flash.c. As in flash, a write clears bits.
#include <string.h>
#include "py/mperrno.h"
#include "py/objarray.h"
#include "extmod/vfs.h"
#include "options.h"
#include "semihosting.h"

#define SECTOR 4096
#define SMALLEST_WRITE 4
#define ERASED 0xff
#define INVALID MP_OBJ_NEW_SMALL_INT(-MP_EINVAL)

extern uint8_t _srom[], _erom[];
static MP_DEFINE_MEMORYVIEW_OBJ(partition, 'B', 0, 0, _srom);
static int handle = -1;

static bool there(void) {
    const char *path = options_text("rom");
    if (handle < 0 && path != NULL) {
        handle = semihosting_open(path, SEMIHOSTING_UPDATE);
        int32_t length = handle < 0 ? -1 : semihosting_length(handle);
        if (length >= 0 && length <= _erom - _srom && semihosting_read(handle, _srom, length) == (size_t)length) {
            partition.len = length;
        }
    }
    return partition.len > 0;
}

static mp_obj_t keep(size_t offset, size_t length) {
    bool done = semihosting_seek(handle, offset) && semihosting_write(handle, _srom + offset, length);
    return MP_OBJ_NEW_SMALL_INT(done ? 0 : -MP_EIO);
}

static mp_obj_t erase(size_t length) {
    if (length > partition.len) {
        return INVALID;
    }
    for (size_t at = 0; at < length; at += SECTOR) {
        size_t part = MIN(SECTOR, partition.len - at);
        memset(_srom + at, ERASED, part);
        mp_obj_t result = keep(at, part);
        if (result != MP_OBJ_NEW_SMALL_INT(0)) {
            return result;
        }
    }
    return MP_OBJ_NEW_SMALL_INT(SMALLEST_WRITE);
}

static mp_obj_t write(size_t offset, mp_obj_t data) {
    mp_buffer_info_t buffer;
    mp_get_buffer_raise(data, &buffer, MP_BUFFER_READ);
    if (offset > partition.len || buffer.len > partition.len - offset) {
        return INVALID;
    }
    for (size_t at = 0; at < buffer.len; at++) {
        _srom[offset + at] &= ((const uint8_t *)buffer.buf)[at];
    }
    return keep(offset, buffer.len);
}

// vfs.rom_ioctl: what each command takes stands in extmod/vfs.h. There is one partition, or none.
mp_obj_t mp_vfs_rom_ioctl(size_t n_args, const mp_obj_t *args) {
    mp_int_t command = mp_obj_get_int(args[0]);
    if (command == MP_VFS_ROM_IOCTL_GET_NUMBER_OF_SEGMENTS) {
        return MP_OBJ_NEW_SMALL_INT(there());
    }
    if (n_args < 2 || mp_obj_get_int(args[1]) != 0 || !there()) {
        return INVALID;
    }
    if (command == MP_VFS_ROM_IOCTL_GET_SEGMENT) {
        return MP_OBJ_FROM_PTR(&partition);
    }
    if (command == MP_VFS_ROM_IOCTL_WRITE_PREPARE && n_args == 3) {
        return erase(mp_obj_get_int(args[2]));
    }
    if (command == MP_VFS_ROM_IOCTL_WRITE && n_args == 4) {
        return write(mp_obj_get_int(args[2]), args[3]);
    }
    if (command == MP_VFS_ROM_IOCTL_WRITE_COMPLETE) {
        return MP_OBJ_NEW_SMALL_INT(0);
    }
    return INVALID;
}
