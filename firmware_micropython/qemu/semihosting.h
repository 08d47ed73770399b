// Calls to the host (Arm, "Semihosting for AArch32 and AArch64", section 5). QEMU answers them itself.
#ifndef HANDFAST_QEMU_SEMIHOSTING_H
#define HANDFAST_QEMU_SEMIHOSTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEMIHOSTING_READ 1        // "rb"
#define SEMIHOSTING_UPDATE 3      // "r+b"

int semihosting_open(const char *path, int mode);     // a handle, or -1
void semihosting_close(int handle);
bool semihosting_seek(int handle, uint32_t position);
int32_t semihosting_length(int handle);               // in bytes, or -1
size_t semihosting_read(int handle, void *to, size_t length);          // how many bytes came
bool semihosting_write(int handle, const void *from, size_t length);   // whether all were taken
bool semihosting_command_line(char *to, size_t length);
void semihosting_exit(int status) __attribute__((noreturn));

#endif
