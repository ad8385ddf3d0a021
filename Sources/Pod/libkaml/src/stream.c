/* A stream: positions, who waits for which, and the sessions that serve it one after the other.
 *
 * One of the threads that wait drives: it alone talks to the agent, seeks and reconnects; the others sleep until it has
 * news. So a stream needs no thread of its own. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "batch.h"
#include "clock.h"

/* Longest sleep without a look at the socket and at whether the stream was closed. */
#define SLICE (100 * NANOSECONDS_IN_MILLISECOND)
/* Between attempts to reach an agent that went away: doubles from the first to the last. */
#define FIRST_PAUSE (10 * NANOSECONDS_IN_MILLISECOND)
#define LAST_PAUSE NANOSECONDS_IN_SECOND
/* Most records of a batch, as feed.proto has it. */
#define MOST_BATCH_SIZE 1048576

struct waiter {
    uint64_t position;
    struct waiter *next;
};

struct kaml_stream {
    struct reach reach;
    Kaml__Feed__V1__OpenStream *request;
    /* What position 0 is, as the agent resolved it; does not change after kaml_stream_open. */
    struct kaml_stream_info info;
    char *notice;
    struct kaml_column_info *columns;
    struct batch_shape shape;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_driven;
    bool is_closed;
    size_t inside;
    struct waiter *waiters;
    struct window window;
    struct session *session;
    /* What kaml_stream_next gives out next. */
    uint64_t next;
    /* Where the next session begins, when there is none, and not before when. */
    uint64_t resume;
    uint64_t resume_at;
    uint64_t pause;
    /* 0 while the agent is there. */
    uint64_t lost_since;
    struct kaml_error loss;
    /* Slept since the last news. */
    uint64_t quiet_ns;
    /* What no new session could mend. */
    bool has_fault;
    struct kaml_error fault;
    struct kaml_stream_counters counters;
    /* Batches come over the socket, though nobody wanted them to. */
    bool fell_back;
};

static const char inline_notice[] =
    "memory cannot be passed to this process (gVisor, Kata?): batches come over the agent's socket, which is slower";

/* ---- places ---- */

static enum kaml_code cursor_at(const struct kaml_stream *stream, uint64_t position, struct kaml_cursor *cursor,
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

static uint64_t total_steps(const struct kaml_stream_info *info, uint64_t epochs) {
    uint64_t later, total;
    if (info->first_steps == 0 && info->steps == 0)
        return 0;
    if (epochs == 0 || __builtin_mul_overflow(epochs - 1, info->steps, &later) ||
        __builtin_add_overflow(info->first_steps, later, &total))
        return UINT64_MAX;
    return total;
}

/* ---- sessions ---- */

static void drop(struct published *item) {
    if (item->lease != NULL)
        lease_return(item->lease);
    free(item->trouble);
}

static void drop_below(struct kaml_stream *stream, uint64_t limit) {
    struct published item;
    while (window_take_lowest(&stream->window, limit, &item))
        drop(&item);
}

static void end_session(struct kaml_stream *stream) {
    session_end(stream->session);
    stream->session = NULL;
}

static enum kaml_code start_session(struct kaml_stream *stream, uint64_t position, uint64_t deadline,
                                    struct kaml_error *error) {
    Kaml__Feed__V1__OpenStream request = *stream->request;
    Kaml__Feed__V1__Cursor place = KAML__FEED__V1__CURSOR__INIT;
    struct kaml_cursor cursor;
    enum kaml_code code = cursor_at(stream, position, &cursor, error);
    if (code != KAML_OK)
        return code;
    if (request.cursor != NULL)
        place = *request.cursor;
    place.snapshot = cursor.snapshot;
    place.seed = cursor.seed;
    place.epoch = cursor.epoch;
    place.ordinal = cursor.ordinal;
    place.order_version = cursor.order_version;
    place.block = cursor.block;
    place.window = cursor.window;
    request.cursor = &place;
    if (request.epochs != 0)
        request.epochs -= cursor.epoch - stream->info.cursor.epoch;
    return session_start(&stream->reach, &request, position, deadline, &stream->session, error);
}

/* The agent resolved a later session to another stream than the first one. */
static bool is_same_stream(const struct kaml_stream *stream, const Kaml__Feed__V1__StreamInfo *info) {
    if (info->records != stream->info.records || info->n_columns != stream->info.column_count ||
        strcmp(info->cursor->snapshot, stream->info.cursor.snapshot) != 0)
        return false;
    for (size_t i = 0; i < info->n_columns; i++)
        if (strcmp(info->columns[i]->name, stream->columns[i].name) != 0 ||
            (int)info->columns[i]->kind != (int)stream->columns[i].kind ||
            info->columns[i]->width != stream->columns[i].width)
            return false;
    return true;
}

static void set_fault(struct kaml_stream *stream, const struct kaml_error *fault) {
    stream->has_fault = true;
    stream->fault = *fault;
}

/* The session is over: what to do about it. */
static void lose_session(struct kaml_stream *stream) {
    struct session *session = stream->session;
    stream->loss = session->fault;
    stream->resume = session->base + session->next;
    if (session->fault.is_retryable) {
        uint64_t now = clock_now();
        if (stream->lost_since == 0)
            stream->lost_since = now;
        stream->resume_at = now + stream->pause;
        stream->pause = stream->pause * 2 < LAST_PAUSE ? stream->pause * 2 : LAST_PAUSE;
    } else {
        set_fault(stream, &session->fault);
    }
    end_session(stream);
}

static void check_end(struct kaml_stream *stream) {
    struct session *session = stream->session;
    struct kaml_error fault;
    if (session->end == UINT64_MAX || session->base + session->end == stream->info.total_steps)
        return;
    (void)failure_protocol(&fault, "the stream ended at batch %" PRIu64 " where %" PRIu64 " were to come",
                           session->base + session->end, stream->info.total_steps);
    set_fault(stream, &fault);
    end_session(stream);
}

/* After session_pump with news. */
static void look_at_session(struct kaml_stream *stream, enum session_state before) {
    struct session *session = stream->session;
    if (before == SESSION_OPENING && session->info != NULL) {
        if (!is_same_stream(stream, session->info)) {
            struct kaml_error fault;
            (void)failure_protocol(&fault, "after a restart %s is another stream than before", stream->request->dataset);
            set_fault(stream, &fault);
            end_session(stream);
            return;
        }
        stream->pause = FIRST_PAUSE;
        stream->lost_since = 0;
        stream->counters.reconnects++;
    }
    if (session->state == SESSION_ENDED)
        lose_session(stream);
    else
        check_end(stream);
}

static bool pump(struct kaml_stream *stream) {
    enum session_state before = stream->session->state;
    /* One that ended when it was opened has nothing more to bring, but still has to be lost. */
    if (!session_pump(stream->session, &stream->window) && stream->session->state != SESSION_ENDED)
        return false;
    look_at_session(stream, before);
    stream->quiet_ns = 0;
    pthread_cond_broadcast(&stream->changed);
    return true;
}

/* ---- driving ---- */

/* Sleeps with the lock given up. */
static void wait_changed(struct kaml_stream *stream, uint64_t until) {
    struct timespec at = clock_timespec(until);
    (void)pthread_cond_timedwait(&stream->changed, &stream->lock, &at);
}

static uint64_t earlier(uint64_t left, uint64_t right) { return left < right ? left : right; }

static enum kaml_code reconnect(struct kaml_stream *stream, uint64_t wanted, uint64_t deadline,
                                struct kaml_error *error) {
    uint64_t now = clock_now();
    if (stream->lost_since != 0 && now - stream->lost_since > stream->reach.reconnect_timeout_ns) {
        /* Whoever asks again waits as long again. */
        stream->lost_since = 0;
        return failure_copy(error, &stream->loss);
    }
    if (now < stream->resume_at) {
        wait_changed(stream, earlier(earlier(stream->resume_at, deadline), now + SLICE));
        return KAML_OK;
    }
    uint64_t begin = stream->resume;
    if (window_judge(&stream->window, wanted, begin, stream->info.window_batches) == WISH_SEEK)
        begin = wanted;
    struct kaml_error cause;
    if (start_session(stream, begin, clock_after(SLICE), &cause) == KAML_OK)
        return KAML_OK;
    if (!cause.is_retryable) {
        set_fault(stream, &cause);
        return KAML_OK;
    }
    stream->loss = cause;
    stream->lost_since = stream->lost_since == 0 ? now : stream->lost_since;
    stream->resume_at = clock_after(stream->pause);
    stream->pause = earlier(stream->pause * 2, LAST_PAUSE);
    return KAML_OK;
}

static uint64_t lowest_wish(const struct kaml_stream *stream) {
    uint64_t lowest = UINT64_MAX;
    for (const struct waiter *waiter = stream->waiters; waiter != NULL; waiter = waiter->next)
        lowest = earlier(lowest, waiter->position);
    return lowest;
}

/* How the session as it is will serve a position. */
static enum wish judge(const struct kaml_stream *stream, uint64_t position) {
    const struct session *session = stream->session;
    uint64_t room = session->is_halted ? 0 : stream->info.window_batches;
    return window_judge(&stream->window, position, session->base + session->next, room);
}

/* Whether another thread waits for what the session will bring as it is. */
static bool others_depend(const struct kaml_stream *stream, const struct waiter *me) {
    for (const struct waiter *waiter = stream->waiters; waiter != NULL; waiter = waiter->next)
        if (waiter != me && waiter->position != me->position && judge(stream, waiter->position) != WISH_SEEK)
            return true;
    return false;
}

static void seek(struct kaml_stream *stream, uint64_t position) {
    struct session *session = stream->session;
    drop_below(stream, UINT64_MAX);
    stream->counters.seeks++;
    if (position < session->base) {
        stream->resume = position;
        stream->resume_at = 0;
        end_session(stream);
        return;
    }
    struct kaml_error cause;
    if (session_seek(session, position - session->base, clock_after(SLICE), &cause) == KAML_OK)
        return;
    session->fault = cause;
    session->next = position - session->base;
    lose_session(stream);
}

static void aim(struct kaml_stream *stream, const struct waiter *me) {
    uint64_t room = stream->info.window_batches;
    switch (judge(stream, me->position)) {
    case WISH_READY:
        break;
    case WISH_COMING:
        /* What lies a whole window behind keeps it from coming, and nobody will ask for it. */
        if (me->position >= room)
            drop_below(stream, earlier(me->position - room + 1, lowest_wish(stream)));
        break;
    case WISH_SEEK:
        if (!others_depend(stream, me))
            seek(stream, me->position);
        break;
    }
}

/* Asks for the batch that is wanted, and puts it into the window. */
static enum kaml_code fetch(struct kaml_stream *stream, uint64_t position, uint64_t deadline,
                            struct kaml_error *error) {
    struct session *session = stream->session;
    struct published item;
    if (position < session->base) {
        seek(stream, position);
        return KAML_OK;
    }
    pthread_mutex_unlock(&stream->lock);
    enum kaml_code code = session_fetch(session, position - session->base, deadline, &item);
    pthread_mutex_lock(&stream->lock);
    if (code == KAML_OK) {
        if (window_put(&stream->window, &item))
            return KAML_OK;
        drop(&item);
        return failure_memory(error);
    }
    /* An answer that comes late would be taken for another's. */
    if (session->state == SESSION_ENDED || code == KAML_TIMED_OUT) {
        session->next = position - session->base;
        lose_session(stream);
        return KAML_OK;
    }
    /* As the rings would bring it: the batch that failed stands in the batch's place. */
    item = (struct published){.position = position, .trouble = malloc(sizeof *item.trouble)};
    if (item.trouble == NULL || !window_put(&stream->window, &item)) {
        free(item.trouble);
        return failure_memory(error);
    }
    *item.trouble = session->fault;
    item.trouble->position = position;
    return KAML_OK;
}

/* One round of the driving thread: news, or at most a slice of waiting. */
static enum kaml_code drive(struct kaml_stream *stream, const struct waiter *me, uint64_t deadline,
                            struct kaml_error *error) {
    struct published item;
    if (stream->session == NULL)
        return reconnect(stream, me->position, deadline, error);
    if (stream->session->state == SESSION_LIVE && stream->info.is_inline)
        return fetch(stream, me->position, deadline, error);
    if (stream->session->state == SESSION_LIVE) {
        aim(stream, me);
        if (stream->session == NULL)
            return KAML_OK;
    }
    if (pump(stream))
        return KAML_OK;
    struct session *session = stream->session;
    uint64_t begin = clock_now();
    pthread_mutex_unlock(&stream->lock);
    session_sleep(session, earlier(clock_left(deadline), SLICE));
    pthread_mutex_lock(&stream->lock);
    if (pump(stream))
        return KAML_OK;
    stream->quiet_ns += clock_now() - begin;
    /* Nothing came for so long: perhaps since what nobody takes fills the window. */
    if (stream->quiet_ns >= SLICE && window_take_lowest(&stream->window, lowest_wish(stream), &item)) {
        stream->quiet_ns = 0;
        drop(&item);
    }
    return KAML_OK;
}

/* ---- taking ---- */

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
        if (stream->is_driven) {
            if (clock_left(deadline) == 0)
                return failure(error, KAML_TIMED_OUT, FAILURE_RETRYABLE, "Call again.",
                               "batch %" PRIu64 " did not come in time", me->position);
            wait_changed(stream, deadline);
            continue;
        }
        stream->is_driven = true;
        code = drive(stream, me, deadline, error);
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

enum kaml_code kaml_stream_cursor(const struct kaml_stream *stream, uint64_t position, struct kaml_cursor *cursor,
                                  struct kaml_error *error) {
    return cursor_at(stream, position, cursor, error);
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

/* ---- opening and closing ---- */

static enum kaml_code check_options(const struct kaml_stream_options *options, struct kaml_error *error) {
    if (options->size != sizeof *options)
        return failure(error, KAML_INVALID, FAILURE_FINAL, "Set `size` to sizeof(struct kaml_stream_options).",
                       "the options' size is %zu, not %zu", options->size, sizeof *options);
    if (options->dataset == NULL || options->dataset[0] == 0)
        return failure(error, KAML_INVALID, FAILURE_FINAL, "Name one, as dataset@ref.", "no dataset is named");
    if (options->batch_size == 0 || options->batch_size > MOST_BATCH_SIZE)
        return failure(error, KAML_INVALID, FAILURE_FINAL, "Give 1 to 1,048,576.", "a batch size of %u cannot be",
                       options->batch_size);
    if (options->rank != 0 && options->rank >= options->world_size)
        return failure(error, KAML_INVALID, FAILURE_FINAL, "Give a rank below the world's size.",
                       "rank %u of %u cannot be", options->rank, options->world_size);
    return KAML_OK;
}

/* protobuf-c knows no const, and packing does not write. */
static char *mutable(const char *text) { return (char *)(uintptr_t)(text != NULL ? text : ""); }

/* A copy of its own, so that nothing of the options need be kept. */
static Kaml__Feed__V1__OpenStream *copy_request(const Kaml__Feed__V1__OpenStream *request) {
    size_t size = kaml__feed__v1__open_stream__get_packed_size(request);
    uint8_t *bytes = malloc(size == 0 ? 1 : size);
    if (bytes == NULL)
        return NULL;
    kaml__feed__v1__open_stream__pack(request, bytes);
    Kaml__Feed__V1__OpenStream *copy = kaml__feed__v1__open_stream__unpack(NULL, size, bytes);
    free(bytes);
    return copy;
}

static Kaml__Feed__V1__OpenStream *make_request(const struct kaml_stream_options *options) {
    Kaml__Feed__V1__OpenStream request = KAML__FEED__V1__OPEN_STREAM__INIT;
    Kaml__Feed__V1__Cursor cursor = KAML__FEED__V1__CURSOR__INIT;
    if (options->cursor != NULL) {
        cursor.snapshot = mutable(options->cursor->snapshot);
        cursor.seed = options->cursor->seed;
        cursor.epoch = options->cursor->epoch;
        cursor.ordinal = options->cursor->ordinal;
        cursor.order_version = options->cursor->order_version;
        cursor.block = options->cursor->block;
        cursor.window = options->cursor->window;
    }
    request.dataset = mutable(options->dataset);
    request.store = mutable(options->store);
    request.paths = (char **)(uintptr_t)options->paths;
    request.n_paths = options->path_count;
    request.columns = (char **)(uintptr_t)options->columns;
    request.n_columns = options->column_count;
    request.format = (Kaml__Feed__V1__Format)options->format;
    request.record_bytes = options->record_bytes;
    request.header_bytes = options->header_bytes;
    request.batch_size = options->batch_size;
    request.drop_remainder = options->drop_remainder;
    request.pad_remainder = options->pad_remainder;
    request.cursor = &cursor;
    request.epochs = options->epochs;
    request.order = (Kaml__Feed__V1__Order)options->order;
    request.rank = options->rank;
    request.world_size = options->world_size;
    request.plane = (Kaml__Feed__V1__Plane)options->plane;
    request.window_batches = options->window_batches;
    request.window_bytes = options->window_bytes;
    request.traceparent = mutable(options->traceparent);
    request.is_inline = options->is_inline;
    return copy_request(&request);
}

static enum kaml_code copy_columns(struct kaml_stream *stream, const Kaml__Feed__V1__StreamInfo *told) {
    stream->columns = calloc(told->n_columns, sizeof *stream->columns);
    if (stream->columns == NULL)
        return KAML_NO_MEMORY;
    stream->info.column_count = told->n_columns;
    for (size_t i = 0; i < told->n_columns; i++) {
        const Kaml__Feed__V1__Column *column = told->columns[i];
        char *name = strdup(column->name);
        if (name == NULL)
            return KAML_NO_MEMORY;
        stream->columns[i] = (struct kaml_column_info){
            .name = name,
            .kind = (enum kaml_kind)column->kind,
            .width = column->width,
        };
    }
    return KAML_OK;
}

static enum kaml_code copy_info(struct kaml_stream *stream, const Kaml__Feed__V1__StreamInfo *told,
                                struct kaml_error *error) {
    const Kaml__Feed__V1__OpenStream *request = stream->request;
    struct kaml_stream_info *info = &stream->info;
    size_t length = strlen(told->cursor->snapshot);
    if (length >= sizeof info->cursor.snapshot)
        return failure_protocol(error, "a snapshot id of %zu bytes", length);
    memcpy(info->cursor.snapshot, told->cursor->snapshot, length + 1);
    info->cursor.seed = told->cursor->seed;
    info->cursor.epoch = told->cursor->epoch;
    info->cursor.ordinal = told->cursor->ordinal;
    info->cursor.order_version = told->cursor->order_version;
    info->cursor.block = told->cursor->block;
    info->cursor.window = told->cursor->window;
    info->cursor.order = request->order == KAML__FEED__V1__ORDER__ORDER_UNSPECIFIED ? KAML_STREAM_ORDER_SHUFFLED
                                                                                    : (uint32_t)request->order;
    info->records = told->records;
    info->first_steps = told->first_steps;
    info->steps = told->steps;
    info->total_steps = total_steps(info, request->epochs);
    info->window_batches = told->window_batches == 0 ? 1 : told->window_batches;
    info->lends_cache = told->lends_cache;
    info->is_inline = request->is_inline;
    stream->notice = strdup(told->notice[0] == 0 && stream->fell_back ? inline_notice : told->notice);
    info->notice = stream->notice;
    if (stream->notice == NULL || copy_columns(stream, told) != KAML_OK)
        return failure_memory(error);
    stream->shape = (struct batch_shape){
        .most_records = request->batch_size,
        .column_count = info->column_count,
        .columns = stream->columns,
    };
    return KAML_OK;
}

static void free_stream(struct kaml_stream *stream) {
    drop_below(stream, UINT64_MAX);
    window_destroy(&stream->window);
    end_session(stream);
    if (stream->request != NULL)
        kaml__feed__v1__open_stream__free_unpacked(stream->request, NULL);
    for (size_t i = 0; stream->columns != NULL && i < stream->info.column_count; i++)
        free((void *)(uintptr_t)stream->columns[i].name);
    free(stream->columns);
    free(stream->notice);
    pthread_mutex_destroy(&stream->lock);
    pthread_cond_destroy(&stream->changed);
    free(stream);
}

/* Nobody else knows the stream yet. */
static enum kaml_code open_first(struct kaml_stream *stream, struct kaml_error *error) {
    uint64_t deadline = clock_after(stream->reach.answer_timeout_ns);
    enum kaml_code code = session_start(&stream->reach, stream->request, 0, deadline, &stream->session, error);
    if (code != KAML_OK)
        return code;
    for (;;) {
        if (!session_pump(stream->session, &stream->window))
            session_sleep(stream->session, earlier(clock_left(deadline), SLICE));
        if (stream->session->info != NULL)
            return copy_info(stream, stream->session->info, error);
        if (stream->session->state == SESSION_ENDED)
            return failure_copy(error, &stream->session->fault);
        if (clock_left(deadline) == 0)
            return failure(error, KAML_TIMED_OUT, FAILURE_RETRYABLE,
                           "Wait for the dataset's index to be built, or raise answer_timeout_ns.",
                           "the agent has not opened %s within %" PRIu64 " ms", stream->request->dataset,
                           stream->reach.answer_timeout_ns / NANOSECONDS_IN_MILLISECOND);
    }
}

/* Opens what `request` asks for, which becomes the stream's; NULL stands for no memory. */
static enum kaml_code open_request(const struct reach *reach, Kaml__Feed__V1__OpenStream *request,
                                   struct kaml_stream **stream, struct kaml_error *error) {
    pthread_condattr_t attributes;
    struct kaml_stream *made = request == NULL ? NULL : calloc(1, sizeof *made);
    if (made == NULL) {
        if (request != NULL)
            kaml__feed__v1__open_stream__free_unpacked(request, NULL);
        return failure_memory(error);
    }
    made->reach = *reach;
    made->request = request;
    made->pause = FIRST_PAUSE;
    pthread_mutex_init(&made->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&made->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    enum kaml_code code = open_first(made, error);
    if (code == KAML_UNSUPPORTED && made->session != NULL && made->session->lacks_descriptors && !request->is_inline) {
        end_session(made);
        request->is_inline = true;
        made->fell_back = true;
        code = open_first(made, error);
    }
    if (code != KAML_OK) {
        free_stream(made);
        return code;
    }
    *stream = made;
    return KAML_OK;
}

enum kaml_code kaml_stream_open(struct kaml_client *client, const struct kaml_stream_options *options,
                                struct kaml_stream **stream, struct kaml_error *error) {
    *stream = NULL;
    if (reach_is_forked(&client->reach))
        return failure_forked(error);
    enum kaml_code code = check_options(options, error);
    return code == KAML_OK ? open_request(&client->reach, make_request(options), stream, error) : code;
}

enum kaml_code kaml_stream_clone(const struct kaml_stream *stream, struct kaml_stream **clone,
                                 struct kaml_error *error) {
    Kaml__Feed__V1__OpenStream request = *stream->request;
    Kaml__Feed__V1__Cursor cursor = *stream->request->cursor;
    *clone = NULL;
    if (reach_is_forked(&stream->reach))
        return failure_forked(error);
    cursor.snapshot = mutable(stream->info.cursor.snapshot);
    cursor.order_version = stream->info.cursor.order_version;
    cursor.block = stream->info.cursor.block;
    cursor.window = stream->info.cursor.window;
    request.cursor = &cursor;
    return open_request(&stream->reach, copy_request(&request), clone, error);
}

void kaml_stream_rest(struct kaml_stream *stream) {
    if (reach_is_forked(&stream->reach))
        return;
    pthread_mutex_lock(&stream->lock);
    while (stream->is_driven)
        wait_changed(stream, clock_after(SLICE));
    drop_below(stream, UINT64_MAX);
    end_session(stream);
    /* No session's place is worth going on from: the next one begins with what is asked for. */
    stream->resume = UINT64_MAX;
    stream->resume_at = 0;
    pthread_mutex_unlock(&stream->lock);
}

void kaml_stream_stop(struct kaml_stream *stream) {
    if (reach_is_forked(&stream->reach))
        return;
    pthread_mutex_lock(&stream->lock);
    stream->is_closed = true;
    /* Who waits for a batch over the socket looks at nothing else. */
    if (stream->session != NULL && stream->info.is_inline)
        (void)shutdown(stream->session->connection.socket, SHUT_RDWR);
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
}

void kaml_stream_close(struct kaml_stream *stream) {
    if (stream == NULL)
        return;
    /* After fork the lock may be held by a thread that is not in this process: only what the child has is let go. */
    if (reach_is_forked(&stream->reach)) {
        if (stream->session != NULL)
            connection_close(&stream->session->connection);
        return;
    }
    kaml_stream_stop(stream);
    pthread_mutex_lock(&stream->lock);
    while (stream->inside > 0)
        wait_changed(stream, clock_after(SLICE));
    pthread_mutex_unlock(&stream->lock);
    free_stream(stream);
}

void kaml_stream_describe(const struct kaml_stream *stream, struct kaml_stream_info *info) { *info = stream->info; }

bool kaml_stream_column(const struct kaml_stream *stream, size_t index, struct kaml_column_info *info) {
    if (index >= stream->info.column_count)
        return false;
    *info = stream->columns[index];
    return true;
}
