#define _GNU_SOURCE
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "stream.h"

/* ---- sessions ---- */

static void drop(struct published *item) {
    if (item->lease != NULL)
        lease_return(item->lease);
    free(item->trouble);
}

void stream_drop_below(struct kaml_stream *stream, uint64_t limit) {
    struct published item;
    while (window_take_lowest(&stream->window, limit, &item))
        drop(&item);
}

void stream_end_session(struct kaml_stream *stream) {
    session_end(stream->session);
    stream->session = NULL;
}

static enum kaml_code start_session(struct kaml_stream *stream, uint64_t position, uint64_t deadline,
                                    struct kaml_error *error) {
    Kaml__Feed__V1__OpenStream request = *stream->request;
    Kaml__Feed__V1__Cursor place = KAML__FEED__V1__CURSOR__INIT;
    struct kaml_cursor cursor;
    enum kaml_code code = place_cursor(stream, position, &cursor, error);
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
    stream_end_session(stream);
}

static void check_end(struct kaml_stream *stream) {
    struct session *session = stream->session;
    struct kaml_error fault;
    if (session->end == UINT64_MAX || session->base + session->end == stream->info.total_steps)
        return;
    (void)failure_protocol(&fault, "the stream ended at batch %" PRIu64 " where %" PRIu64 " were to come",
                           session->base + session->end, stream->info.total_steps);
    set_fault(stream, &fault);
    stream_end_session(stream);
}

/* After session_pump with news. */
static void look_at_session(struct kaml_stream *stream, enum session_state before) {
    struct session *session = stream->session;
    if (before == SESSION_OPENING && session->info != NULL) {
        if (!is_same_stream(stream, session->info)) {
            struct kaml_error fault;
            (void)failure_protocol(&fault, "after a restart %s is another stream than before", stream->request->dataset);
            set_fault(stream, &fault);
            stream_end_session(stream);
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

void stream_wait_changed(struct kaml_stream *stream, uint64_t until) {
    struct timespec at = clock_timespec(until);
    (void)pthread_cond_timedwait(&stream->changed, &stream->lock, &at);
}

static enum kaml_code reconnect(struct kaml_stream *stream, uint64_t wanted, uint64_t deadline,
                                struct kaml_error *error) {
    uint64_t now = clock_now();
    if (stream->lost_since != 0 && now - stream->lost_since > stream->reach.reconnect_timeout_ns) {
        /* Whoever asks again waits as long again. */
        stream->lost_since = 0;
        return failure_copy(error, &stream->loss);
    }
    if (now < stream->resume_at) {
        stream_wait_changed(stream, earlier(earlier(stream->resume_at, deadline), now + SLICE));
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
    stream_drop_below(stream, UINT64_MAX);
    stream->counters.seeks++;
    if (position < session->base) {
        stream->resume = position;
        stream->resume_at = 0;
        stream_end_session(stream);
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
            stream_drop_below(stream, earlier(me->position - room + 1, lowest_wish(stream)));
        break;
    case WISH_SEEK:
        if (!others_depend(stream, me))
            seek(stream, me->position);
        break;
    }
}

/* Asks for the batch that is wanted, and puts it into the window. Not bounded by who waits, who may come back for it in
 * short steps: half an answer is of no use. */
static enum kaml_code fetch(struct kaml_stream *stream, uint64_t position, struct kaml_error *error) {
    struct session *session = stream->session;
    struct published item;
    if (position < session->base) {
        seek(stream, position);
        return KAML_OK;
    }
    pthread_mutex_unlock(&stream->lock);
    enum kaml_code code =
        session_fetch(session, position - session->base, clock_after(stream->reach.answer_timeout_ns), &item);
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

enum kaml_code stream_drive(struct kaml_stream *stream, const struct waiter *me, uint64_t deadline,
                            struct kaml_error *error) {
    struct published item;
    if (stream->session == NULL)
        return reconnect(stream, me->position, deadline, error);
    if (stream->session->state == SESSION_LIVE && stream->info.is_inline)
        return fetch(stream, me->position, error);
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
