/* The memory that the agent shares with a session, by segment id, and when it may be unmapped.
 *
 * A segment that ended may still hold batches that are out. Batches are counted by era: an era ends with each SegmentEnd,
 * and what ended in it is unmapped once no batch of it or of an earlier era is out. Thread-safe. */
#ifndef KAML_SEGMENTS_H
#define KAML_SEGMENTS_H

#include <pthread.h>

#include "failure.h"
#include "mappings.h"

struct segment {
    uint32_t id;
    bool is_cache;
    bool has_ended;
    /* Stays mapped until the process ends. */
    bool is_pinned;
    /* The mapping belongs to `mappings`, and so does `populated`. */
    bool is_shared;
    /* Was in `mappings` when it was lent. */
    bool was_found;
    /* Of the file, for `mappings`. */
    dev_t device;
    ino_t inode;
    const uint8_t *base;
    uint64_t bytes;
    /* Of a cache segment: when each block of it was populated last, in seconds from 1 on; 0 for never. */
    uint32_t *populated;
    struct segment *next_ended;
};

struct era {
    size_t batches;
    struct segment *ended;
    struct era *next;
};

struct segments {
    pthread_mutex_t lock;
    struct mappings *mappings;
    /* Sorted by id. */
    struct segment **items;
    size_t count;
    size_t capacity;
    struct era *oldest;
    struct era *current;
    uint64_t pinned_ended_bytes;
    uint64_t page_bytes;
};

/* Keeps `mappings`, of which it takes a reference. */
enum kaml_code segments_init(struct segments *segments, struct mappings *mappings, struct kaml_error *error);
/* Unmaps all but what is pinned. */
void segments_destroy(struct segments *segments);

/* Maps `bytes` of `descriptor`, which stays the caller's. */
enum kaml_code segments_add(struct segments *segments, uint32_t id, uint64_t bytes, bool is_cache, int descriptor,
                            struct kaml_error *error);
/* No batch that is still to come lies in it. False when there is no such segment, or no memory for a new era. */
bool segments_end(struct segments *segments, uint32_t id);
/* After a run of segments_end. */
bool segments_close_era(struct segments *segments);

/* A batch is out, until segments_return of what this returned. */
struct era *segments_lend(struct segments *segments);
void segments_return(struct segments *segments, struct era *era);

/* NULL when there is none. Good as long as a batch is out that lies in it. */
struct segment *segments_find(struct segments *segments, uint32_t id);
/* Whether it could be pinned under the limit. */
bool segments_pin(struct segments *segments, struct segment *const *list, size_t count, uint64_t limit_bytes);

/* The bytes, or NULL when they are not all in the segment. */
const uint8_t *segment_at(const struct segment *segment, uint64_t offset, uint64_t length);
/* Brings the pages of the range of a cache segment in, so that a page that cannot be read is an error here and no SIGBUS
 * later. What was brought in a short time ago is not looked at again. An errno, or 0. */
int segments_populate(const struct segments *segments, const struct segment *segment, uint64_t offset, uint64_t length);

#endif
