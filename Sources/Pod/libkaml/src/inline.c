/* Batches over the socket, piece by piece, for processes that memory cannot be passed to. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "session.h"

/* Most bytes of a batch: more would not fit a slot either. */
#define MOST_BATCH_BYTES (UINT64_C(1) << 34)

static enum kaml_code over(struct session *session, enum kaml_code code) {
    session->state = SESSION_ENDED;
    return code;
}

/* Asks for the piece at `offset`. The caller frees the reply, which is a piece of the batch at `position`. */
static enum kaml_code ask(struct session *session, uint64_t position, uint64_t offset, uint64_t deadline,
                          Kaml__Feed__V1__Reply **reply) {
    Kaml__Feed__V1__ReadBatch read = KAML__FEED__V1__READ_BATCH__INIT;
    Kaml__Feed__V1__Request request = KAML__FEED__V1__REQUEST__INIT;
    struct kaml_error *fault = &session->fault;
    read.position = position;
    read.offset = offset;
    request.operation_case = KAML__FEED__V1__REQUEST__OPERATION_READ_BATCH;
    request.read_batch = &read;
    enum kaml_code code = connection_send(&session->connection, &request, deadline, fault);
    if (code != KAML_OK)
        return over(session, code);
    for (;;) {
        struct descriptors descriptors;
        enum arrival arrival = connection_receive(&session->connection, deadline, reply, &descriptors, fault);
        if (arrival == ARRIVAL_NOTHING)
            return failure(fault, KAML_TIMED_OUT, FAILURE_RETRYABLE, "Call again.", "batch %" PRIu64 " did not come in time",
                           position);
        if (arrival == ARRIVAL_END)
            return over(session, failure(fault, KAML_UNAVAILABLE, FAILURE_RETRYABLE, "Look at the agent's log.",
                                         "the agent ended the session"));
        if (arrival == ARRIVAL_FAULT)
            return over(session, KAML_CORRUPT);
        descriptors_close(&descriptors);
        if ((*reply)->id == session->connection.last_id)
            break;
        kaml__feed__v1__reply__free_unpacked(*reply, NULL);
    }
    if ((*reply)->result_case == KAML__FEED__V1__REPLY__RESULT_BATCH_PIECE)
        return KAML_OK;
    if ((*reply)->result_case == KAML__FEED__V1__REPLY__RESULT_FAILURE)
        code = failure_told(fault, (*reply)->failure);
    else
        code = over(session, failure_protocol(fault, "an answer of kind %d", (int)(*reply)->result_case));
    kaml__feed__v1__reply__free_unpacked(*reply, NULL);
    return code;
}

/* What the first piece says of the whole batch. */
static enum kaml_code begin(struct session *session, const Kaml__Feed__V1__BatchPiece *piece, uint64_t position,
                            struct kaml_descriptor *descriptor, uint8_t **bytes) {
    if (piece->kind != KAML_DESCRIPTOR_BATCH || piece->length == 0 || piece->length > MOST_BATCH_BYTES)
        return over(session, failure_protocol(&session->fault, "batch %" PRIu64 " of kind %u with %" PRIu64 " bytes",
                                              position, piece->kind, piece->length));
    *descriptor = (struct kaml_descriptor){
        .kind = KAML_DESCRIPTOR_BATCH,
        .flags = (uint8_t)piece->flags,
        .length = piece->length,
        .position = position,
        .records = piece->records,
        .table = piece->table,
    };
    /* Columns lie on boundaries of 64 only if the batch does. */
    size_t whole = (size_t)(piece->length + KAML_FEED_ALIGNMENT - 1) / KAML_FEED_ALIGNMENT * KAML_FEED_ALIGNMENT;
    *bytes = aligned_alloc(KAML_FEED_ALIGNMENT, whole);
    return *bytes == NULL ? failure_memory(&session->fault) : KAML_OK;
}

/* The bytes of the batch, in memory of its own. */
static enum kaml_code collect(struct session *session, uint64_t position, uint64_t deadline,
                              struct kaml_descriptor *descriptor, uint8_t **bytes) {
    uint64_t offset = 0;
    enum kaml_code code = KAML_OK;
    *bytes = NULL;
    do {
        Kaml__Feed__V1__Reply *reply;
        code = ask(session, position, offset, deadline, &reply);
        if (code != KAML_OK)
            break;
        const Kaml__Feed__V1__BatchPiece *piece = reply->batch_piece;
        if (*bytes == NULL)
            code = begin(session, piece, position, descriptor, bytes);
        if (code == KAML_OK && (piece->inline_.len == 0 || piece->inline_.len > descriptor->length - offset))
            code = over(session, failure_protocol(&session->fault, "a piece of %zu bytes", piece->inline_.len));
        if (code == KAML_OK) {
            memcpy(*bytes + offset, piece->inline_.data, piece->inline_.len);
            offset += piece->inline_.len;
        }
        kaml__feed__v1__reply__free_unpacked(reply, NULL);
    } while (code == KAML_OK && offset < descriptor->length);
    if (code != KAML_OK) {
        free(*bytes);
        *bytes = NULL;
    }
    return code;
}

enum kaml_code session_fetch(struct session *session, uint64_t position, uint64_t deadline, struct published *item) {
    struct lease *lease = calloc(1, sizeof *lease);
    struct segment *own = calloc(1, sizeof *own);
    uint8_t *bytes = NULL;
    enum kaml_code code = lease == NULL || own == NULL
                              ? failure_memory(&session->fault)
                              : collect(session, position, deadline, &item->descriptor, &bytes);
    if (code != KAML_OK) {
        free(lease);
        free(own);
        return code;
    }
    *own = (struct segment){.base = bytes, .bytes = item->descriptor.length};
    *lease = (struct lease){.session = session, .own = own};
    __atomic_add_fetch(&session->references, 1, __ATOMIC_RELAXED);
    item->position = session->base + position;
    item->lease = lease;
    item->trouble = NULL;
    return KAML_OK;
}
