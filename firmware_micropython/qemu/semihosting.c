#include <string.h>
#include "semihosting.h"

enum { OPEN = 0x01, CLOSE = 0x02, WRITE = 0x05, READ = 0x06, SEEK = 0x0a, FLEN = 0x0c, GET_CMDLINE = 0x15, EXIT_EXTENDED = 0x20 };
#define APPLICATION_EXIT 0x20026

static uint32_t call(uint32_t operation, const void *arguments) {
    register uint32_t r0 __asm__ ("r0") = operation;
    register const void *r1 __asm__ ("r1") = arguments;
    __asm__ volatile ("bkpt 0xab" : "+r" (r0) : "r" (r1) : "memory");
    return r0;
}

int semihosting_open(const char *path, int mode) {
    const uint32_t arguments[] = {(uint32_t)path, mode, strlen(path)};
    return call(OPEN, arguments);
}

void semihosting_close(int handle) {
    const uint32_t arguments[] = {handle};
    call(CLOSE, arguments);
}

bool semihosting_seek(int handle, uint32_t position) {
    const uint32_t arguments[] = {handle, position};
    return call(SEEK, arguments) == 0;
}

int32_t semihosting_length(int handle) {
    const uint32_t arguments[] = {handle};
    return call(FLEN, arguments);
}

size_t semihosting_read(int handle, void *to, size_t length) {
    const uint32_t arguments[] = {handle, (uint32_t)to, length};
    uint32_t left = call(READ, arguments);
    return left <= length ? length - left : 0;
}

bool semihosting_write(int handle, const void *from, size_t length) {
    const uint32_t arguments[] = {handle, (uint32_t)from, length};
    return call(WRITE, arguments) == 0;
}

bool semihosting_command_line(char *to, size_t length) {
    const uint32_t arguments[] = {(uint32_t)to, length};
    return call(GET_CMDLINE, arguments) == 0;
}

void semihosting_exit(int status) {
    const uint32_t arguments[] = {APPLICATION_EXIT, status};
    call(EXIT_EXTENDED, arguments);
    for (;;) {
    }
}
