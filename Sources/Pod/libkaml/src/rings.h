/* The two rings of a session (kaml_feed.h). Descriptors are taken and waited for by one thread at a time, entries are
 * submitted by one thread at a time; the two may be different threads. */
#ifndef KAML_RINGS_H
#define KAML_RINGS_H

#include "failure.h"
#include "kaml_feed.h"

struct rings {
    const struct kaml_completion_header *completion;
    struct kaml_submission_header *submission;
    size_t completion_bytes;
    size_t submission_bytes;
    uint64_t completion_slots;
    uint64_t submission_slots;
    /* Descriptors taken and entries published so far: the words in shared memory are for the agent to read. */
    uint64_t taken;
    uint64_t submitted;
    int event;
};

enum rings_news { RINGS_NOTHING, RINGS_DESCRIPTOR, RINGS_FAULT };

/* Maps the rings; takes `event` over when it succeeds. The other two descriptors stay the caller's. */
enum kaml_code rings_open(struct rings *rings, int completion, int submission, int event, struct kaml_error *error);
void rings_close(struct rings *rings);

enum rings_news rings_take(struct rings *rings, struct kaml_descriptor *descriptor);
/* Tells the agent how far descriptors were taken; after a run of rings_take. */
void rings_acknowledge(struct rings *rings);
/* Whether there may be something to take, after waiting for it up to `nanoseconds`. */
bool rings_wait(struct rings *rings, uint64_t nanoseconds);

/* False when the ring is full. */
bool rings_submit(struct rings *rings, const struct kaml_submission *entry);

#endif
