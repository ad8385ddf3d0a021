/* A session with the agent that has one stream: connection, rings, segments. When the connection ends, what was published
 * stays readable until its leases are returned.
 *
 * `state`, `generation`, `next`, `fault` and what session_pump and session_seek touch are guarded by the stream's lock;
 * session_sleep is called without it, by one thread at a time. */
#ifndef KAML_SESSION_H
#define KAML_SESSION_H

#include <pthread.h>

#include "client.h"
#include "rings.h"
#include "segments.h"
#include "window.h"

/* Columns and troubles that are remembered, far beyond what an agent sends. */
#define SESSION_MOST_COLUMNS 4096
#define SESSION_MOST_TROUBLES 64

enum session_state {
    /* Hello and OpenStream were sent. */
    SESSION_OPENING,
    SESSION_LIVE,
    /* The agent is gone, or said that it will not: `fault`. */
    SESSION_ENDED,
};

/* A batch of the agent's that is out. */
struct lease {
    struct session *session;
    struct era *era;
    uint64_t sequence;
    uint64_t taken_at;
    uint64_t waited_ns;
    /* A batch that came over the socket lies in memory of its own. */
    struct segment *own;
    struct lease *next;
};

struct trouble {
    uint64_t position;
    struct kaml_error error;
};

struct session {
    unsigned references;
    pid_t pid;
    struct connection connection;
    struct rings rings;
    struct segments segments;
    enum session_state state;
    struct kaml_error fault;
    Kaml__Feed__V1__StreamInfo *info;
    /* The stream's position of the session's position 0. */
    uint64_t base;
    uint16_t generation;
    /* Of the session: the position, and the sequence number, that must come next. */
    uint64_t next;
    uint64_t sequence;
    bool has_sequence;
    /* Position of the END, of the session; UINT64_MAX when none came. */
    uint64_t end;
    /* A batch failed or the stream ended: nothing follows until a seek. */
    bool is_halted;
    /* The rings' descriptors were lost on their way. */
    bool lacks_descriptors;
    bool is_inline;
    struct trouble *troubles[SESSION_MOST_TROUBLES];
    size_t trouble_count;

    /* Guards `is_open`, `owed` and the submission ring. */
    pthread_mutex_t submitting;
    bool is_open;
    /* Given back by the user, but not yet to the agent: the ring was full. */
    struct lease *owed;
    struct lease **owed_end;
};

/* Connects, and sends Hello and OpenStream without waiting for answers. */
enum kaml_code session_start(const struct reach *reach, const Kaml__Feed__V1__OpenStream *request, uint64_t base,
                             uint64_t deadline, struct session **session, struct kaml_error *error);
/* Takes what the agent has sent and published, into `window`. Whether anything came; `state` says what became of it. */
bool session_pump(struct session *session, struct window *window);
/* Waits until there may be something to pump, up to `nanoseconds`. */
void session_sleep(struct session *session, uint64_t nanoseconds);
/* Publishes anew from `position` (of the session) on. */
enum kaml_code session_seek(struct session *session, uint64_t position, uint64_t deadline, struct kaml_error *error);
/* Of an inline stream: the batch at `position` (of the session), by the socket, waiting until `deadline`. What went wrong is
 * the session's `fault`, and its state says whether it is over. By one thread at a time, without the stream's lock. */
enum kaml_code session_fetch(struct session *session, uint64_t position, uint64_t deadline, struct published *item);
/* Ends it; leases stay good. Gives up the caller's reference. NULL does nothing. */
void session_end(struct session *session);

/* Gives the batch back to the agent. From any thread. */
void lease_return(struct lease *lease);

#endif
