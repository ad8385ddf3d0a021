// refPrefix and the parameter bounds are stable since 1.5, but live in the static section.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>
