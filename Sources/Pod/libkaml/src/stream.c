/* Taking batches. */
#define _GNU_SOURCE
#include "stream.h"

#include <inttypes.h>
#include <stdlib.h>

static void link_waiter(struct kaml_stream *stream, struct waiter *waiter) {
    waiter->next = stream->waiters;
    stream->waiters = waiter;
    stream->inside++;
}

static void unlink_waiter(struct kaml_stream *stream, struct waiter *waiter) {
    struct waiter **place = &stream->waiters;
    while (*place != waiter)
        place = &(*place)->next;
    *place = waiter->next;
    stream->inside--;
    pthread_cond_broadcast(&stream->changed);
}

/* Waits until the batch is in the window and takes it out. `position` NULL: the next one. With the lock held. */
static enum kaml_code wait_for(struct kaml_stream *stream, const uint64_t *position, struct waiter *me,
                               uint64_t deadline, struct published *item, struct kaml_error *error) {
    for (;;) {
        enum kaml_code code;
        me->position = position != NULL ? *position : stream->next;
        if (stream->is_closed)
            return failure(error, KAML_CLOSED, FAILURE_FINAL, "", "the stream is closed");
        if (me->position >= stream->info.total_steps)
            return failure(error, KAML_END, FAILURE_FINAL, "", "the stream ended after %" PRIu64 " batches",
                           stream->info.total_steps);
        if (window_take(&stream->window, me->position, item)) {
            if (position == NULL)
                stream->next++;
            return KAML_OK;
        }
        if (stream->has_fault)
            return failure_copy(error, &stream->fault);
        if (stream->is_driven || stream->resting > 0) {
            if (clock_left(deadline) == 0)
                return failure(error, KAML_TIMED_OUT, FAILURE_RETRYABLE, "Call again.",
                               "batch %" PRIu64 " did not come in time", me->position);
            stream_wait_changed(stream, deadline);
            continue;
        }
        stream->is_driven = true;
        code = stream_drive(stream, me, deadline, error);
        stream->is_driven = false;
        pthread_cond_broadcast(&stream->changed);
        if (code != KAML_OK)
            return code;
        if (clock_left(deadline) == 0 && !window_has(&stream->window, me->position) && !stream->has_fault)
            return failure(error, KAML_TIMED_OUT, FAILURE_RETRYABLE,
                           "Call again; release batches if all of the window are held.",
                           "batch %" PRIu64 " did not come in time%s%s", me->position,
                           stream->lost_since != 0 ? "; the agent is away: " : "",
                           stream->lost_since != 0 ? stream->loss.message : "");
    }
}

static enum kaml_code take(struct kaml_stream *stream, const uint64_t *position, uint64_t timeout_ns,
                           struct kaml_batch **batch, struct kaml_error *error) {
    struct published item;
    struct waiter me = {0};
    *batch = NULL;
    if (reach_is_forked(&stream->reach))
        return failure_forked(error);
    uint64_t begin = clock_now();
    pthread_mutex_lock(&stream->lock);
    link_waiter(stream, &me);
    enum kaml_code code = wait_for(stream, position, &me, clock_after(timeout_ns), &item, error);
    uint64_t waited = clock_now() - begin;
    stream->counters.waited_ns += waited;
    unlink_waiter(stream, &me);
    pthread_mutex_unlock(&stream->lock);
    if (code != KAML_OK)
        return code;
    if (item.trouble != NULL) {
        code = failure_copy(error, item.trouble);
        free(item.trouble);
        return code;
    }
    item.lease->taken_at = begin + waited;
    item.lease->waited_ns = waited;
    code = batch_make(&item, &stream->shape, batch, error);
    if (code == KAML_OK)
        __atomic_add_fetch(&stream->counters.batches, 1, __ATOMIC_RELAXED);
    else if (error != NULL)
        error->position = item.position;
    return code;
}

enum kaml_code kaml_stream_next(struct kaml_stream *stream, uint64_t timeout_ns, struct kaml_batch **batch,
                                struct kaml_error *error) {
    return take(stream, NULL, timeout_ns, batch, error);
}

enum kaml_code kaml_stream_take(struct kaml_stream *stream, uint64_t position, uint64_t timeout_ns,
                                struct kaml_batch **batch, struct kaml_error *error) {
    return take(stream, &position, timeout_ns, batch, error);
}

void kaml_stream_count(struct kaml_stream *stream, struct kaml_stream_counters *counters) {
    pthread_mutex_lock(&stream->lock);
    *counters = stream->counters;
    counters->batches = __atomic_load_n(&stream->counters.batches, __ATOMIC_RELAXED);
    if (stream->session != NULL) {
        pthread_mutex_lock(&stream->session->segments.lock);
        counters->pinned_bytes = stream->session->segments.pinned_ended_bytes;
        pthread_mutex_unlock(&stream->session->segments.lock);
    }
    pthread_mutex_unlock(&stream->lock);
}

void kaml_stream_describe(const struct kaml_stream *stream, struct kaml_stream_info *info) { *info = stream->info; }

bool kaml_stream_column(const struct kaml_stream *stream, size_t index, struct kaml_column_info *info) {
    if (index >= stream->info.column_count)
        return false;
    *info = stream->columns[index];
    return true;
}
