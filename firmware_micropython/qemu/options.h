// What the emulator was told at boot: -semihosting-config ...,arg=firmware,arg=heap=65536,arg=flash=/path
#ifndef HANDFAST_QEMU_OPTIONS_H
#define HANDFAST_QEMU_OPTIONS_H

#include <stdint.h>

void options_init(void);
const char *options_text(const char *name);                   // or NULL
uint32_t options_number(const char *name, uint32_t otherwise);

#endif
