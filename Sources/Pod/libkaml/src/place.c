#include <inttypes.h>

#include "stream.h"

enum kaml_code place_cursor(const struct kaml_stream *stream, uint64_t position, struct kaml_cursor *cursor,
                                struct kaml_error *error) {
    const struct kaml_stream_info *info = &stream->info;
    uint64_t step = position, world = stream->request->world_size == 0 ? 1 : stream->request->world_size;
    bool overflows = false;
    *cursor = info->cursor;
    if (info->total_steps != UINT64_MAX && position > info->total_steps)
        return failure(error, KAML_END, FAILURE_FINAL, "Ask for a position of the stream.",
                       "position %" PRIu64 " is past the stream's end at %" PRIu64, position, info->total_steps);
    if (position >= info->first_steps && info->steps > 0) {
        step = (position - info->first_steps) % info->steps;
        overflows |= __builtin_add_overflow(cursor->epoch, (position - info->first_steps) / info->steps, &cursor->epoch);
        overflows |= __builtin_add_overflow(cursor->epoch, 1, &cursor->epoch);
        cursor->ordinal = 0;
    }
    overflows |= __builtin_mul_overflow(step, world, &step);
    overflows |= __builtin_mul_overflow(step, stream->request->batch_size, &step);
    overflows |= __builtin_add_overflow(cursor->ordinal, step, &cursor->ordinal);
    if (overflows)
        return failure(error, KAML_INVALID, FAILURE_FINAL, "Ask for a smaller position.",
                       "position %" PRIu64 " is beyond what can be counted", position);
    return KAML_OK;
}

uint64_t place_total_steps(const struct kaml_stream_info *info, uint64_t epochs) {
    uint64_t later, total;
    if (info->first_steps == 0 && info->steps == 0)
        return 0;
    if (epochs == 0 || __builtin_mul_overflow(epochs - 1, info->steps, &later) ||
        __builtin_add_overflow(info->first_steps, later, &total))
        return UINT64_MAX;
    return total;
}

enum kaml_code kaml_stream_cursor(const struct kaml_stream *stream, uint64_t position, struct kaml_cursor *cursor,
                                  struct kaml_error *error) {
    return place_cursor(stream, position, cursor, error);
}
