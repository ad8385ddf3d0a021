/* A stream: positions, who waits for which, and the sessions that serve it one after the other. Inside of the library.
 *
 * One of the threads that wait drives: it alone talks to the agent, seeks and reconnects; the others sleep until it has
 * news. So a stream needs no thread of its own. */
#ifndef KAML_STREAM_H
#define KAML_STREAM_H

#include "batch.h"
#include "clock.h"

/* Longest sleep without a look at the socket and at whether the stream was closed. */
#define SLICE (100 * NANOSECONDS_IN_MILLISECOND)
/* Between attempts to reach an agent that went away: doubles from the first to the last. */
#define FIRST_PAUSE (10 * NANOSECONDS_IN_MILLISECOND)
#define LAST_PAUSE NANOSECONDS_IN_SECOND

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
    /* Threads in kaml_stream_rest, which nobody drives beside. */
    size_t resting;
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

static inline uint64_t earlier(uint64_t left, uint64_t right) { return left < right ? left : right; }

/* ---- place.c: where a position is in the dataset's order ---- */

/* Batches in all; UINT64_MAX for ever. */
uint64_t place_total_steps(const struct kaml_stream_info *info, uint64_t epochs);
enum kaml_code place_cursor(const struct kaml_stream *stream, uint64_t position, struct kaml_cursor *cursor,
                            struct kaml_error *error);

/* ---- drive.c: with the stream's lock held, which is given up while they wait ---- */

/* One round of the driving thread for what `me` waits for: news, or at most a slice of waiting. */
enum kaml_code stream_drive(struct kaml_stream *stream, const struct waiter *me, uint64_t deadline,
                            struct kaml_error *error);
void stream_wait_changed(struct kaml_stream *stream, uint64_t until);
/* Gives batches below `limit` back that nobody has taken. */
void stream_drop_below(struct kaml_stream *stream, uint64_t limit);
void stream_end_session(struct kaml_stream *stream);

#endif
