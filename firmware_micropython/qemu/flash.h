#include "py/obj.h"

extern const mp_obj_type_t emulator_flash_type;
