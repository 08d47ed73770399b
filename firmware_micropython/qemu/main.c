#include <stdlib.h>
#include "py/builtin.h"
#include "py/cstack.h"
#include "py/frozenmod.h"
#include "py/gc.h"
#include "py/mphal.h"
#include "py/runtime.h"
#include "shared/runtime/gchelper.h"
#include "shared/runtime/pyexec.h"
#include "heap.h"
#include "options.h"

#define HEAP_SIZE (192 * 1024)
#define STACK_SIZE (16 * 1024)

extern char _sheap[], _eheap[], _estack[];
size_t heap_peak;
bool heap_watched;

int main(void) {
    options_init();
    size_t size = options_number("heap", HEAP_SIZE);
    if (size > (size_t)(_eheap - _sheap)) {
        mp_printf(&mp_plat_print, "a heap has at most %u bytes\n", (unsigned)(_eheap - _sheap));
        exit(2);
    }
    mp_cstack_init_with_top(_estack, options_number("stack", STACK_SIZE));
    for (;;) {
        gc_init(_sheap, _sheap + size);
        mp_init();
        // The file system first; a board whose file system has a main.py runs that, else its frozen one.
        pyexec_frozen_module("_boot.py", false);
        int result = pyexec_file_if_exists("boot.py");
        if (!(result & PYEXEC_FORCED_EXIT) && pyexec_mode_kind == PYEXEC_MODE_FRIENDLY_REPL && options_number("main", 1)) {
            if (mp_import_stat("main.py") == MP_IMPORT_STAT_FILE) {
                result = pyexec_file("main.py");
            } else if (mp_find_frozen_module("_main.py", NULL, NULL) == MP_IMPORT_STAT_FILE) {
                result = pyexec_frozen_module("_main.py", true);
            }
        }
        while (!(result & PYEXEC_FORCED_EXIT)) {
            result = pyexec_mode_kind == PYEXEC_MODE_RAW_REPL ? pyexec_raw_repl() : pyexec_friendly_repl();
        }
        mp_printf(&mp_plat_print, "MPY: soft reboot\n");
        gc_sweep_all();
        mp_deinit();
    }
}

void gc_collect(void) {
    gc_collect_start();
    gc_helper_collect_regs_and_stack();
    gc_collect_end();
    if (heap_watched) {
        gc_info_t info;
        gc_info(&info);
        if (info.used > heap_peak) {
            heap_peak = info.used;
        }
    }
}

void nlr_jump_fail(void *value) {
    mp_printf(&mp_plat_print, "an exception with nobody to catch it\n");
    exit(4);
}
