#define _GNU_SOURCE
#include "session.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

/* Gives one reference up. */
static void let_go(struct session *session) {
    if (__atomic_sub_fetch(&session->references, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    rings_close(&session->rings);
    segments_destroy(&session->segments);
    connection_close(&session->connection);
    if (session->info != NULL)
        kaml__feed__v1__stream_info__free_unpacked(session->info, NULL);
    for (size_t i = 0; i < session->trouble_count; i++)
        free(session->troubles[i]);
    pthread_mutex_destroy(&session->submitting);
    free(session);
}

static void settle(struct lease *lease) {
    struct session *session = lease->session;
    if (lease->era != NULL)
        segments_return(&session->segments, lease->era);
    free(lease);
    let_go(session);
}

/* Submits what is owed as far as the ring has room; with `submitting` held. The leases that are settled, linked. */
static struct lease *submit_owed(struct session *session) {
    struct lease *done = NULL;
    while (session->owed != NULL) {
        struct lease *lease = session->owed;
        if (session->is_open) {
            uint64_t now = clock_now();
            struct kaml_submission entry = {
                .kind = KAML_SUBMISSION_RELEASE,
                .sequence = lease->sequence,
                .used_nanoseconds = lease->taken_at == 0 ? 0 : now - lease->taken_at,
                .waited_nanoseconds = lease->waited_ns,
            };
            if (!rings_submit(&session->rings, &entry))
                break;
        }
        session->owed = lease->next;
        if (session->owed == NULL)
            session->owed_end = &session->owed;
        lease->next = done;
        done = lease;
    }
    return done;
}

static void settle_all(struct lease *lease) {
    while (lease != NULL) {
        struct lease *next = lease->next;
        settle(lease);
        lease = next;
    }
}

void lease_return(struct lease *lease) {
    struct session *session = lease->session;
    if (session->pid != getpid()) {
        /* The session is the parent's, and its locks may have been held when the process forked. */
        free(lease);
        return;
    }
    if (lease->own != NULL) {
        free((void *)(uintptr_t)lease->own->base);
        free(lease->own);
        settle(lease);
        return;
    }
    lease->next = NULL;
    pthread_mutex_lock(&session->submitting);
    *session->owed_end = lease;
    session->owed_end = &lease->next;
    struct lease *done = submit_owed(session);
    pthread_mutex_unlock(&session->submitting);
    settle_all(done);
}

static void flush(struct session *session) {
    pthread_mutex_lock(&session->submitting);
    struct lease *done = submit_owed(session);
    pthread_mutex_unlock(&session->submitting);
    settle_all(done);
}

enum kaml_code session_start(const struct reach *reach, const Kaml__Feed__V1__OpenStream *request, uint64_t base,
                             uint64_t deadline, struct session **session, struct kaml_error *error) {
    *session = NULL;
    struct session *made = calloc(1, sizeof *made);
    if (made == NULL)
        return failure_memory(error);
    made->references = 1;
    made->pid = reach->pid;
    made->base = base;
    made->end = UINT64_MAX;
    made->is_inline = request->is_inline;
    made->owed_end = &made->owed;
    made->connection = CONNECTION_CLOSED;
    made->rings.event = -1;
    pthread_mutex_init(&made->submitting, NULL);
    Kaml__Feed__V1__Request message = KAML__FEED__V1__REQUEST__INIT;
    message.operation_case = KAML__FEED__V1__REQUEST__OPERATION_OPEN_STREAM;
    message.open_stream = (Kaml__Feed__V1__OpenStream *)(uintptr_t)request; /* packing does not write */
    enum kaml_code code = segments_init(&made->segments, reach->mappings, error);
    if (code == KAML_OK)
        code = connection_open(&made->connection, reach->socket, error);
    if (code == KAML_OK)
        code = connection_greet(&made->connection, reach->program, deadline, error);
    if (code == KAML_OK)
        code = connection_send(&made->connection, &message, deadline, error);
    if (code != KAML_OK) {
        let_go(made);
        return code;
    }
    *session = made;
    return KAML_OK;
}

void session_end(struct session *session) {
    if (session == NULL)
        return;
    if (session->pid == getpid()) {
        pthread_mutex_lock(&session->submitting);
        session->is_open = false;
        struct lease *done = submit_owed(session);
        pthread_mutex_unlock(&session->submitting);
        settle_all(done);
    }
    /* Closing it is how the agent learns that all is over. */
    connection_close(&session->connection);
    session->state = SESSION_ENDED;
    let_go(session);
}

/* For the reason that stands in `fault`. */
static void end_with(struct session *session) { session->state = SESSION_ENDED; }

/* Notes that the batch is out. False when there is no memory. */
static bool lend(struct session *session, const struct kaml_descriptor *descriptor, struct lease **lease) {
    *lease = malloc(sizeof **lease);
    if (*lease == NULL)
        return false;
    **lease = (struct lease){
        .session = session,
        .era = segments_lend(&session->segments),
        .sequence = descriptor->sequence,
    };
    __atomic_add_fetch(&session->references, 1, __ATOMIC_RELAXED);
    return true;
}

/* Into the window; what is of before a seek goes back unread. False when there is no memory. */
static bool put_batch(struct session *session, const struct kaml_descriptor *descriptor, struct window *window) {
    struct published item = {.position = session->base + descriptor->position, .descriptor = *descriptor};
    if (!lend(session, descriptor, &item.lease))
        return false;
    if (descriptor->generation != session->generation) {
        lease_return(item.lease);
        return true;
    }
    if (!window_put(window, &item)) {
        lease_return(item.lease);
        return false;
    }
    return true;
}

static struct kaml_error *find_trouble(struct session *session, uint64_t position) {
    for (size_t i = 0; i < session->trouble_count; i++)
        if (session->troubles[i]->position == position)
            return &session->troubles[i]->error;
    return NULL;
}

/* What is known of a batch that failed: the words came as a message, which may still be on its way. */
static struct kaml_error *trouble_at(struct session *session, uint64_t position) {
    struct kaml_error *error = malloc(sizeof *error);
    struct kaml_error *known = find_trouble(session, position);
    if (error == NULL)
        return NULL;
    if (known != NULL)
        *error = *known;
    else
        (void)failure(error, KAML_CORRUPT, FAILURE_FINAL, "Look at the agent's log.",
                      "the agent could not make batch %" PRIu64, position);
    return error;
}

static bool put_trouble(struct session *session, const struct kaml_descriptor *descriptor, struct window *window) {
    struct published item = {.position = session->base + descriptor->position, .descriptor = *descriptor};
    if (descriptor->generation != session->generation)
        return true;
    item.trouble = trouble_at(session, descriptor->position);
    if (item.trouble == NULL || !window_put(window, &item)) {
        free(item.trouble);
        return false;
    }
    item.trouble->position = item.position;
    return true;
}

/* False when the descriptor is not one that may come now: `fault`. */
static bool accept(struct session *session, const struct kaml_descriptor *descriptor, struct window *window) {
    if (session->has_sequence && descriptor->sequence != session->sequence) {
        (void)failure_protocol(&session->fault, "descriptor %" PRIu64 " came where %" PRIu64 " should",
                               descriptor->sequence, session->sequence);
        return false;
    }
    session->has_sequence = true;
    session->sequence = descriptor->sequence + 1;
    if (descriptor->kind != KAML_DESCRIPTOR_BATCH && descriptor->kind != KAML_DESCRIPTOR_END &&
        descriptor->kind != KAML_DESCRIPTOR_ERROR) {
        (void)failure_protocol(&session->fault, "a descriptor of kind %u", descriptor->kind);
        return false;
    }
    if (descriptor->generation == session->generation) {
        if (descriptor->position != session->next || descriptor->position >= UINT64_MAX - session->base) {
            (void)failure_protocol(&session->fault, "batch %" PRIu64 " came where %" PRIu64 " should",
                                   descriptor->position, session->next);
            return false;
        }
        if (descriptor->kind != KAML_DESCRIPTOR_END)
            session->next++;
        if (descriptor->kind != KAML_DESCRIPTOR_BATCH)
            session->is_halted = true;
    }
    bool has_memory = true;
    if (descriptor->kind == KAML_DESCRIPTOR_BATCH)
        has_memory = put_batch(session, descriptor, window);
    else if (descriptor->kind == KAML_DESCRIPTOR_ERROR)
        has_memory = put_trouble(session, descriptor, window);
    else if (descriptor->generation == session->generation)
        session->end = descriptor->position;
    if (!has_memory)
        (void)failure_memory(&session->fault);
    return has_memory;
}

static bool drain_ring(struct session *session, struct window *window) {
    struct kaml_descriptor descriptor;
    bool has_news = false;
    enum rings_news news;
    if (session->rings.completion == NULL)
        return false;
    while (session->state != SESSION_ENDED && (news = rings_take(&session->rings, &descriptor)) != RINGS_NOTHING) {
        has_news = true;
        if (news == RINGS_FAULT) {
            (void)failure_protocol(&session->fault, "the completion ring's index ran away");
            end_with(session);
        } else if (!accept(session, &descriptor, window)) {
            end_with(session);
        }
    }
    if (has_news)
        rings_acknowledge(&session->rings);
    return has_news;
}

static enum kaml_code check_info(const Kaml__Feed__V1__StreamInfo *info, struct kaml_error *error) {
    if (info->cursor == NULL || info->n_columns == 0 || info->n_columns > SESSION_MOST_COLUMNS)
        return failure_protocol(error, "a stream with %zu columns", info->n_columns);
    for (size_t i = 0; i < info->n_columns; i++) {
        const Kaml__Feed__V1__Column *column = info->columns[i];
        bool is_known = column->kind == KAML__FEED__V1__COLUMN__KIND__KIND_BYTES ||
                        column->kind == KAML__FEED__V1__COLUMN__KIND__KIND_INT64 ||
                        column->kind == KAML__FEED__V1__COLUMN__KIND__KIND_UINT8;
        if (!is_known)
            return failure(error, KAML_UNSUPPORTED, FAILURE_FINAL, "Bring libkaml to the agent's version.",
                           "column %s is of a kind that this libkaml does not know: %d", column->name, (int)column->kind);
    }
    return KAML_OK;
}

static void keep_info(struct session *session, Kaml__Feed__V1__Reply *reply) {
    session->info = reply->stream_info;
    reply->stream_info = NULL;
    reply->result_case = KAML__FEED__V1__REPLY__RESULT__NOT_SET;
    session->state = SESSION_LIVE;
}

static enum kaml_code take_info(struct session *session, Kaml__Feed__V1__Reply *reply, struct descriptors *descriptors) {
    enum { COMPLETION, SUBMISSION, EVENT, RINGS };
    enum kaml_code code = check_info(reply->stream_info, &session->fault);
    if (code != KAML_OK)
        return code;
    if (session->is_inline) {
        keep_info(session, reply);
        return KAML_OK;
    }
    session->lacks_descriptors = descriptors->count == 0 && !descriptors->are_cut;
    if (descriptors->count != RINGS)
        return failure(&session->fault, KAML_UNSUPPORTED, FAILURE_FINAL,
                       descriptors->are_cut ? "Raise the limit of open files (ulimit -n)."
                                            : "Read the dataset through its mount in this sandbox.",
                       "%zu of %d descriptors arrived: %s", descriptors->count, RINGS,
                       descriptors->are_cut ? "this process has no room for more" : "they cannot be passed here");
    code = rings_open(&session->rings, descriptors->values[COMPLETION], descriptors->values[SUBMISSION],
                      descriptors->values[EVENT], &session->fault);
    if (code != KAML_OK)
        return code;
    descriptors->values[EVENT] = -1;
    keep_info(session, reply);
    pthread_mutex_lock(&session->submitting);
    session->is_open = true;
    pthread_mutex_unlock(&session->submitting);
    return KAML_OK;
}

static enum kaml_code take_segments(struct session *session, const Kaml__Feed__V1__Segments *list,
                                    const struct descriptors *descriptors) {
    if (list->n_segments != descriptors->count)
        return failure(&session->fault, KAML_EXHAUSTED, FAILURE_RETRYABLE, "Raise the limit of open files (ulimit -n).",
                       "%zu descriptors came for %zu segments", descriptors->count, list->n_segments);
    for (size_t i = 0; i < list->n_segments; i++) {
        const Kaml__Feed__V1__Segment *segment = list->segments[i];
        enum kaml_code code = segments_add(&session->segments, segment->id, segment->bytes, segment->is_cache,
                                           descriptors->values[i], &session->fault);
        if (code != KAML_OK)
            return code;
    }
    return KAML_OK;
}

static enum kaml_code take_end(struct session *session, const Kaml__Feed__V1__SegmentEnd *end) {
    for (size_t i = 0; i < end->n_ids; i++)
        if (!segments_end(&session->segments, end->ids[i]))
            return failure_protocol(&session->fault, "segment %u ended, which is not there", end->ids[i]);
    return segments_close_era(&session->segments) ? KAML_OK : failure_memory(&session->fault);
}

static void note_trouble(struct session *session, const Kaml__Feed__V1__Failure *told, struct window *window) {
    struct trouble *trouble = malloc(sizeof *trouble);
    if (trouble == NULL)
        return; /* The descriptor says as much, in fewer words. */
    trouble->position = told->position;
    (void)failure_told(&trouble->error, told);
    struct published *item = window_at(window, session->base + told->position);
    if (item != NULL && item->trouble != NULL) {
        *item->trouble = trouble->error;
        item->trouble->position = item->position;
    }
    if (session->trouble_count == SESSION_MOST_TROUBLES) {
        free(session->troubles[0]);
        session->trouble_count--;
        memmove(&session->troubles[0], &session->troubles[1], session->trouble_count * sizeof session->troubles[0]);
    }
    session->troubles[session->trouble_count++] = trouble;
}

static enum kaml_code take_message(struct session *session, Kaml__Feed__V1__Reply *reply,
                                   struct descriptors *descriptors, struct window *window) {
    switch (reply->result_case) {
    case KAML__FEED__V1__REPLY__RESULT_FAILURE:
        return failure_told(&session->fault, reply->failure);
    case KAML__FEED__V1__REPLY__RESULT_WELCOME:
        return connection_check_welcome(reply->welcome, &session->fault);
    case KAML__FEED__V1__REPLY__RESULT_STREAM_INFO:
        if (session->state != SESSION_OPENING)
            return failure_protocol(&session->fault, "a stream that nobody asked for");
        return take_info(session, reply, descriptors);
    case KAML__FEED__V1__REPLY__RESULT_SEGMENTS:
        return take_segments(session, reply->segments, descriptors);
    case KAML__FEED__V1__REPLY__RESULT_SEGMENT_END:
        /* Batches published before may lie in them. */
        (void)drain_ring(session, window);
        return take_end(session, reply->segment_end);
    case KAML__FEED__V1__REPLY__RESULT_TROUBLE:
        note_trouble(session, reply->trouble, window);
        return KAML_OK;
    case KAML__FEED__V1__REPLY__RESULT_DONE:
        return KAML_OK;
    case KAML__FEED__V1__REPLY__RESULT_ATTRIBUTES:
    case KAML__FEED__V1__REPLY__RESULT_LISTING:
    case KAML__FEED__V1__REPLY__RESULT_BYTES:
    case KAML__FEED__V1__REPLY__RESULT_BATCH_PIECE:
        return failure_protocol(&session->fault, "an answer that nobody asked for");
    /* A notice of a later version. */
    case KAML__FEED__V1__REPLY__RESULT__NOT_SET:
    case _KAML__FEED__V1__REPLY__RESULT__CASE_IS_INT_SIZE:
    default:
        return KAML_OK;
    }
}

bool session_pump(struct session *session, struct window *window) {
    bool has_news = drain_ring(session, window);
    /* The segments of what was drained were announced before, so all messages that are here by now are taken after it. */
    while (session->state != SESSION_ENDED) {
        Kaml__Feed__V1__Reply *reply;
        struct descriptors descriptors;
        enum arrival arrival = connection_receive(&session->connection, 0, &reply, &descriptors, &session->fault);
        if (arrival == ARRIVAL_NOTHING)
            break;
        has_news = true;
        if (arrival == ARRIVAL_MESSAGE) {
            if (take_message(session, reply, &descriptors, window) != KAML_OK)
                end_with(session);
            kaml__feed__v1__reply__free_unpacked(reply, NULL);
            descriptors_close(&descriptors);
        } else {
            if (arrival == ARRIVAL_END) {
                (void)drain_ring(session, window);
                if (session->state != SESSION_ENDED)
                    (void)failure(&session->fault, KAML_UNAVAILABLE, FAILURE_RETRYABLE, "Look at the agent's log.",
                                  "the agent ended the session");
            }
            end_with(session);
        }
    }
    if (session->state == SESSION_LIVE)
        flush(session);
    return has_news;
}

void session_sleep(struct session *session, uint64_t nanoseconds) {
    if (session->rings.completion != NULL) {
        (void)rings_wait(&session->rings, nanoseconds);
    } else {
        const int most = 1000;
        struct pollfd socket = {.fd = session->connection.socket, .events = POLLIN};
        (void)poll(&socket, 1, clock_poll_timeout(nanoseconds, most));
    }
}

enum kaml_code session_seek(struct session *session, uint64_t position, uint64_t deadline, struct kaml_error *error) {
    Kaml__Feed__V1__Seek seek = KAML__FEED__V1__SEEK__INIT;
    Kaml__Feed__V1__Request request = KAML__FEED__V1__REQUEST__INIT;
    seek.position = position;
    seek.generation = (uint16_t)(session->generation + 1);
    request.operation_case = KAML__FEED__V1__REQUEST__OPERATION_SEEK;
    request.seek = &seek;
    enum kaml_code code = connection_send(&session->connection, &request, deadline, error);
    if (code != KAML_OK)
        return code;
    session->generation++;
    session->next = position;
    session->end = UINT64_MAX;
    session->is_halted = false;
    return KAML_OK;
}
