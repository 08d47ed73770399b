#include <stdbool.h>
#include <stddef.h>

// The most bytes that were in use after a collection, since somebody set it to 0.
extern size_t heap_peak;

// Whether anybody asks for it.
extern bool heap_watched;
