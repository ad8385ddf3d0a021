/* Files of a dataset: sessions without a stream, one request at a time each, a few for a client. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "client.h"
#include "segments.h"

/* Of one Read, as feed.proto has it; more is read in pieces. */
#define MOST_READ_BYTES (UINT64_C(1) << 30)

struct file_session {
    struct file_session *next;
    struct connection connection;
    struct segments segments;
};

struct file_session *file_session_next(const struct file_session *session) { return session->next; }

void file_session_link(struct file_session *session, struct file_session *next) { session->next = next; }

void file_session_close(struct file_session *session) {
    connection_close(&session->connection);
    segments_destroy(&session->segments);
    free(session);
}

static enum kaml_code take_segments(struct file_session *session, const Kaml__Feed__V1__Segments *list,
                                    const struct descriptors *descriptors, struct kaml_error *error) {
    if (list->n_segments != descriptors->count)
        return failure(error, KAML_EXHAUSTED, FAILURE_RETRYABLE, "Raise the limit of open files (ulimit -n).",
                       "%zu descriptors came for %zu segments", descriptors->count, list->n_segments);
    for (size_t i = 0; i < list->n_segments; i++) {
        const Kaml__Feed__V1__Segment *segment = list->segments[i];
        enum kaml_code code = segments_add(&session->segments, segment->id, segment->bytes, segment->is_cache,
                                           descriptors->values[i], error);
        if (code != KAML_OK)
            return code;
    }
    return KAML_OK;
}

static enum kaml_code take_end(struct file_session *session, const Kaml__Feed__V1__SegmentEnd *end,
                               struct kaml_error *error) {
    for (size_t i = 0; i < end->n_ids; i++)
        if (!segments_end(&session->segments, end->ids[i]))
            return failure_protocol(error, "segment %u ended, which is not there", end->ids[i]);
    return segments_close_era(&session->segments) ? KAML_OK : failure_memory(error);
}

/* What one message does to the session. `*reply` stays when it is the answer, and is NULL otherwise. */
static enum kaml_code take_message(struct file_session *session, Kaml__Feed__V1__Reply **reply,
                                   const struct descriptors *descriptors, struct kaml_error *error) {
    Kaml__Feed__V1__Reply *message = *reply;
    enum kaml_code code = KAML_OK;
    if (message->result_case == KAML__FEED__V1__REPLY__RESULT_SEGMENTS)
        code = take_segments(session, message->segments, descriptors, error);
    else if (message->result_case == KAML__FEED__V1__REPLY__RESULT_SEGMENT_END)
        code = take_end(session, message->segment_end, error);
    else if (message->id == session->connection.last_id)
        return KAML_OK;
    kaml__feed__v1__reply__free_unpacked(message, NULL);
    *reply = NULL;
    return code;
}

/* The answer to the last request: of `wanted`, or a failure. */
static enum kaml_code receive(struct file_session *session, uint64_t deadline, Kaml__Feed__V1__Reply__ResultCase wanted,
                              Kaml__Feed__V1__Reply **reply, struct kaml_error *error) {
    for (;;) {
        struct descriptors descriptors;
        enum kaml_code code;
        switch (connection_receive(&session->connection, deadline, reply, &descriptors, error)) {
        case ARRIVAL_NOTHING:
            return failure(error, KAML_TIMED_OUT, FAILURE_RETRYABLE, "Look at the agent's load.",
                           "the agent has not answered in time");
        case ARRIVAL_END:
            return failure(error, KAML_UNAVAILABLE, FAILURE_RETRYABLE, "Look at the agent's log.",
                           "the agent ended the session");
        case ARRIVAL_FAULT:
            return KAML_CORRUPT;
        case ARRIVAL_MESSAGE:
            break;
        }
        code = take_message(session, reply, &descriptors, error);
        descriptors_close(&descriptors);
        if (code != KAML_OK)
            return code;
        if (*reply == NULL)
            continue;
        if ((*reply)->result_case == wanted)
            return KAML_OK;
        if ((*reply)->result_case == KAML__FEED__V1__REPLY__RESULT_FAILURE)
            code = failure_told(error, (*reply)->failure);
        else
            code = failure_protocol(error, "an answer of kind %d", (int)(*reply)->result_case);
        kaml__feed__v1__reply__free_unpacked(*reply, NULL);
        *reply = NULL;
        return code;
    }
}

enum kaml_code file_session_open(const struct reach *reach, struct file_session **session, struct kaml_error *error) {
    struct file_session *made = calloc(1, sizeof *made);
    Kaml__Feed__V1__Reply *reply = NULL;
    uint64_t deadline = clock_after(reach->answer_timeout_ns);
    *session = NULL;
    if (made == NULL)
        return failure_memory(error);
    made->connection = CONNECTION_CLOSED;
    enum kaml_code code = segments_init(&made->segments, reach->mappings, error);
    if (code == KAML_OK)
        code = connection_open(&made->connection, reach->socket, error);
    if (code == KAML_OK)
        code = connection_greet(&made->connection, reach->program, deadline, error);
    if (code == KAML_OK)
        code = receive(made, deadline, KAML__FEED__V1__REPLY__RESULT_WELCOME, &reply, error);
    if (code == KAML_OK) {
        code = connection_check_welcome(reply->welcome, error);
        kaml__feed__v1__reply__free_unpacked(reply, NULL);
    }
    if (code != KAML_OK) {
        file_session_close(made);
        return code;
    }
    *session = made;
    return KAML_OK;
}

/* ---- a client's sessions ---- */

static enum kaml_code borrow(struct kaml_client *client, struct file_session **session, struct kaml_error *error) {
    if (reach_is_forked(&client->reach))
        return failure_forked(error);
    pthread_mutex_lock(&client->lock);
    while (client->idle == NULL && client->file_sessions == CLIENT_FILE_SESSIONS)
        pthread_cond_wait(&client->freed, &client->lock);
    *session = client->idle;
    if (*session != NULL)
        client->idle = (*session)->next;
    else
        client->file_sessions++;
    pthread_mutex_unlock(&client->lock);
    if (*session != NULL)
        return KAML_OK;
    enum kaml_code code = file_session_open(&client->reach, session, error);
    if (code != KAML_OK) {
        pthread_mutex_lock(&client->lock);
        client->file_sessions--;
        pthread_cond_signal(&client->freed);
        pthread_mutex_unlock(&client->lock);
    }
    return code;
}

/* NULL: the session was closed. */
static void give_back(struct kaml_client *client, struct file_session *session) {
    pthread_mutex_lock(&client->lock);
    if (session != NULL) {
        session->next = client->idle;
        client->idle = session;
    } else {
        client->file_sessions--;
    }
    pthread_cond_signal(&client->freed);
    pthread_mutex_unlock(&client->lock);
}

/* Whether the session cannot go on after it. What the agent answered with leaves the session as it is. */
static bool ends_session(enum kaml_code code) {
    return code == KAML_UNAVAILABLE || code == KAML_TIMED_OUT || code == KAML_CORRUPT || code == KAML_NO_MEMORY;
}

static enum kaml_code ask_once(struct kaml_client *client, struct file_session *session,
                               Kaml__Feed__V1__Request *request, Kaml__Feed__V1__Reply__ResultCase wanted,
                               Kaml__Feed__V1__Reply **reply, struct kaml_error *error) {
    uint64_t deadline = clock_after(client->reach.answer_timeout_ns);
    enum kaml_code code = connection_send(&session->connection, request, deadline, error);
    return code == KAML_OK ? receive(session, deadline, wanted, reply, error) : code;
}

/* A session that is borrowed from a client, or NULL when it broke; `is_borrowed` false when there is nothing to give back. */
struct loan {
    struct kaml_client *client;
    struct file_session *session;
    bool is_borrowed;
};

static void break_session(struct loan *loan) {
    file_session_close(loan->session);
    loan->session = NULL;
}

/* Asks, on a new session when the agent was restarted since the last time. The caller ends the loan. */
static enum kaml_code ask(struct loan *loan, Kaml__Feed__V1__Request *request, Kaml__Feed__V1__Reply__ResultCase wanted,
                          Kaml__Feed__V1__Reply **reply, struct kaml_error *error) {
    struct kaml_client *client = loan->client;
    enum kaml_code code = borrow(client, &loan->session, error);
    if (code != KAML_OK)
        return code;
    loan->is_borrowed = true;
    code = ask_once(client, loan->session, request, wanted, reply, error);
    if (!ends_session(code))
        return code;
    break_session(loan);
    if (code != KAML_UNAVAILABLE || file_session_open(&client->reach, &loan->session, error) != KAML_OK)
        return code;
    code = ask_once(client, loan->session, request, wanted, reply, error);
    if (ends_session(code))
        break_session(loan);
    return code;
}

static void end_loan(struct loan *loan, Kaml__Feed__V1__Reply *reply) {
    if (reply != NULL)
        kaml__feed__v1__reply__free_unpacked(reply, NULL);
    if (loan->is_borrowed)
        give_back(loan->client, loan->session);
}

/* ---- the interface ---- */

/* protobuf-c knows no const, and packing does not write. */
static char *mutable(const char *text) { return (char *)(uintptr_t)(text != NULL ? text : ""); }

static ProtobufCBinaryData bytes_of(const char *text, size_t length) {
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text, .len = length};
}

static enum kaml_file_kind kind_of(Kaml__Feed__V1__Attributes__Kind kind) {
    bool is_known = kind == KAML__FEED__V1__ATTRIBUTES__KIND__KIND_FILE ||
                    kind == KAML__FEED__V1__ATTRIBUTES__KIND__KIND_DIRECTORY ||
                    kind == KAML__FEED__V1__ATTRIBUTES__KIND__KIND_LINK;
    return is_known ? (enum kaml_file_kind)kind : KAML_FILE_OTHER;
}

enum kaml_code kaml_stat(struct kaml_client *client, const char *dataset, const char *store, const char *path,
                         struct kaml_attributes *attributes, struct kaml_error *error) {
    Kaml__Feed__V1__Stat stat = KAML__FEED__V1__STAT__INIT;
    Kaml__Feed__V1__Request request = KAML__FEED__V1__REQUEST__INIT;
    Kaml__Feed__V1__Reply *reply = NULL;
    struct loan loan = {.client = client};
    stat.dataset = mutable(dataset);
    stat.store = mutable(store);
    stat.path = bytes_of(path, strlen(path));
    request.operation_case = KAML__FEED__V1__REQUEST__OPERATION_STAT;
    request.stat = &stat;
    enum kaml_code code = ask(&loan, &request, KAML__FEED__V1__REPLY__RESULT_ATTRIBUTES, &reply, error);
    if (code == KAML_OK) {
        const Kaml__Feed__V1__Attributes *told = reply->attributes;
        attributes->kind = kind_of(told->kind);
        attributes->bytes = told->bytes;
        attributes->modified_ns = told->modified_nanoseconds;
        if (strlen(told->snapshot) < sizeof attributes->snapshot)
            memcpy(attributes->snapshot, told->snapshot, strlen(told->snapshot) + 1);
        else
            code = failure_protocol(error, "a snapshot id of %zu bytes", strlen(told->snapshot));
    }
    end_loan(&loan, reply);
    return code;
}

/* The name that the next request goes on after. */
struct listed {
    uint8_t *name;
    size_t length;
    bool is_over;
};

static enum kaml_code take_listing(const Kaml__Feed__V1__Listing *listing, struct listed *listed,
                                   bool (*each)(void *, const char *, size_t, enum kaml_file_kind), void *context,
                                   struct kaml_error *error) {
    if (listing->n_entries == 0 && !listing->is_last)
        return failure_protocol(error, "a listing that does not go on");
    listed->is_over = listing->is_last;
    for (size_t i = 0; i < listing->n_entries; i++) {
        const Kaml__Feed__V1__Listing__Entry *entry = listing->entries[i];
        if (!each(context, (const char *)entry->name.data, entry->name.len, kind_of(entry->kind))) {
            listed->is_over = true;
            return KAML_OK;
        }
    }
    if (listed->is_over)
        return KAML_OK;
    const ProtobufCBinaryData *last = &listing->entries[listing->n_entries - 1]->name;
    if (last->len == 0)
        return failure_protocol(error, "a name of no bytes");
    uint8_t *copy = malloc(last->len);
    if (copy == NULL)
        return failure_memory(error);
    memcpy(copy, last->data, last->len);
    free(listed->name);
    listed->name = copy;
    listed->length = last->len;
    return KAML_OK;
}

enum kaml_code kaml_list(struct kaml_client *client, const char *dataset, const char *store, const char *path,
                         bool (*each)(void *context, const char *name, size_t length, enum kaml_file_kind kind),
                         void *context, struct kaml_error *error) {
    struct listed listed = {0};
    enum kaml_code code = KAML_OK;
    while (code == KAML_OK && !listed.is_over) {
        Kaml__Feed__V1__List list = KAML__FEED__V1__LIST__INIT;
        Kaml__Feed__V1__Request request = KAML__FEED__V1__REQUEST__INIT;
        Kaml__Feed__V1__Reply *reply = NULL;
        struct loan loan = {.client = client};
        list.dataset = mutable(dataset);
        list.store = mutable(store);
        list.path = bytes_of(path, strlen(path));
        list.after = (ProtobufCBinaryData){.data = listed.name, .len = listed.length};
        request.operation_case = KAML__FEED__V1__REQUEST__OPERATION_LIST;
        request.list = &list;
        code = ask(&loan, &request, KAML__FEED__V1__REPLY__RESULT_LISTING, &reply, error);
        /* The session is free before `each` runs, which may make requests of its own. */
        Kaml__Feed__V1__Reply *answer = code == KAML_OK ? reply : NULL;
        end_loan(&loan, NULL);
        if (answer != NULL) {
            code = take_listing(answer->listing, &listed, each, context, error);
            kaml__feed__v1__reply__free_unpacked(answer, NULL);
        }
    }
    free(listed.name);
    return code;
}

/* Copies the answer's bytes, which lie in it or in a slot. */
static enum kaml_code take_bytes(struct file_session *session, const Kaml__Feed__V1__Bytes *bytes, uint8_t *buffer,
                                 size_t room, size_t *count, struct kaml_error *error) {
    const uint8_t *from = bytes->inline_.data;
    uint64_t length = bytes->inline_.len;
    if (length == 0 && bytes->length > 0) {
        struct segment *segment = segments_find(&session->segments, bytes->segment);
        length = bytes->length;
        from = segment == NULL ? NULL : segment_at(segment, bytes->offset, length);
        if (from == NULL)
            return failure_protocol(error, "bytes that lie outside of segment %u", bytes->segment);
        if (segment->is_cache && segments_populate(&session->segments, segment, bytes->offset, length) != 0)
            return failure(error, KAML_CORRUPT, FAILURE_RETRYABLE, "Look at the disk of the node's cache.",
                           "the node's cache cannot be read");
    }
    if (length > room)
        return failure_protocol(error, "%llu bytes where %zu were asked for", (unsigned long long)length, room);
    if (length > 0)
        memcpy(buffer, from, (size_t)length);
    *count = (size_t)length;
    return KAML_OK;
}

enum kaml_code kaml_read(struct kaml_client *client, const char *dataset, const char *store, const char *path,
                         uint64_t offset, void *buffer, size_t length, size_t *count, struct kaml_error *error) {
    enum kaml_code code = KAML_OK;
    bool is_end = false;
    *count = 0;
    if (length > UINT64_MAX - offset)
        return failure(error, KAML_INVALID, FAILURE_FINAL, "Read what is in the file.", "a read beyond 2^64");
    while (code == KAML_OK && !is_end && *count < length) {
        Kaml__Feed__V1__Read read = KAML__FEED__V1__READ__INIT;
        Kaml__Feed__V1__Request request = KAML__FEED__V1__REQUEST__INIT;
        Kaml__Feed__V1__Reply *reply = NULL;
        struct loan loan = {.client = client};
        size_t room = length - *count, taken = 0;
        read.dataset = mutable(dataset);
        read.store = mutable(store);
        read.path = bytes_of(path, strlen(path));
        read.offset = offset + *count;
        read.length = room < MOST_READ_BYTES ? room : MOST_READ_BYTES;
        read.takes_slot = true;
        request.operation_case = KAML__FEED__V1__REQUEST__OPERATION_READ;
        request.read = &read;
        code = ask(&loan, &request, KAML__FEED__V1__REPLY__RESULT_BYTES, &reply, error);
        if (code == KAML_OK)
            code = take_bytes(loan.session, reply->bytes, (uint8_t *)buffer + *count, room, &taken, error);
        if (code == KAML_OK) {
            is_end = reply->bytes->is_end;
            if (taken == 0 && !is_end)
                code = failure_protocol(error, "a read that does not go on");
        }
        *count += taken;
        end_loan(&loan, reply);
    }
    return code;
}
