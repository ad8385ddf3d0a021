/* Opening streams and closing them. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "stream.h"

/* Most records of a batch, as feed.proto has it. */
#define MOST_BATCH_SIZE 1048576

static const char inline_notice[] =
    "memory cannot be passed to this process (gVisor, Kata?): batches come over the agent's socket, which is slower";

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
    info->total_steps = place_total_steps(info, request->epochs);
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
    stream_drop_below(stream, UINT64_MAX);
    window_destroy(&stream->window);
    stream_end_session(stream);
    if (stream->request != NULL)
        kaml__feed__v1__open_stream__free_unpacked(stream->request, NULL);
    for (size_t i = 0; stream->columns != NULL && i < stream->info.column_count; i++)
        free((void *)(uintptr_t)stream->columns[i].name);
    free(stream->columns);
    free(stream->notice);
    pthread_mutex_destroy(&stream->lock);
    pthread_cond_destroy(&stream->changed);
    mappings_release(stream->reach.mappings);
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
    (void)mappings_retain(made->reach.mappings);
    made->request = request;
    made->pause = FIRST_PAUSE;
    pthread_mutex_init(&made->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&made->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    enum kaml_code code = open_first(made, error);
    if (code == KAML_UNSUPPORTED && made->session != NULL && made->session->lacks_descriptors && !request->is_inline) {
        stream_end_session(made);
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
    stream->resting++;
    while (stream->is_driven)
        stream_wait_changed(stream, clock_after(SLICE));
    stream_drop_below(stream, UINT64_MAX);
    stream_end_session(stream);
    /* No session's place is worth going on from: the next one begins with what is asked for. */
    stream->resume = UINT64_MAX;
    stream->resume_at = 0;
    stream->resting--;
    pthread_cond_broadcast(&stream->changed);
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
        stream_wait_changed(stream, clock_after(SLICE));
    pthread_mutex_unlock(&stream->lock);
    free_stream(stream);
}
