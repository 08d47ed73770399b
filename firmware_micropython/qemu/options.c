#include <stdbool.h>
#include <string.h>
#include "options.h"
#include "semihosting.h"

static char line[1024];
static size_t length;

void options_init(void) {
    if (!semihosting_command_line(line, sizeof(line))) {
        line[0] = 0;
    }
    length = strlen(line);
    for (size_t at = 0; at < length; at++) {
        if (line[at] == ' ') {
            line[at] = 0;
        }
    }
}

const char *options_text(const char *name) {
    size_t letters = strlen(name);
    for (size_t at = 0; at < length; at += strlen(line + at) + 1) {
        if (strncmp(line + at, name, letters) == 0 && line[at + letters] == '=') {
            return line + at + letters + 1;
        }
    }
    return NULL;
}

uint32_t options_number(const char *name, uint32_t otherwise) {
    const char *text = options_text(name);
    if (text == NULL) {
        return otherwise;
    }
    uint32_t value = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        value = value * 10 + (uint32_t)(*text - '0');
    }
    return value;
}
