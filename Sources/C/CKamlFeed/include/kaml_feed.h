/* The memory that an agent and a pod share: two rings and the layout of batches. Version 1, little-endian.
 *
 * Both rings are single producer, single consumer, with indices that only grow; entry i lies in slot i % slots, and slots
 * is a power of two. Nobody takes a lock in shared memory, so a peer that dies leaves nothing to recover.
 *
 *   completion ring: the agent writes, sealed against every other writer; the pod maps it read-only.
 *   submission ring: the pod writes; the agent takes every word of it for hostile. It copies an entry once, then looks at
 *     the copy; an index that runs ahead of what can be ends the session.
 */
#ifndef KAML_FEED_H
#define KAML_FEED_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KAML_FEED_VERSION 1
#define KAML_FEED_MAGIC_COMPLETION 0x434C4D4Bu /* "KMLC" */
#define KAML_FEED_MAGIC_SUBMISSION 0x534C4D4Bu /* "KMLS" */
/* Entries begin here, behind the header. */
#define KAML_FEED_HEADER_BYTES 4096
#define KAML_FEED_DESCRIPTOR_BYTES 64
#define KAML_FEED_ENTRY_BYTES 32
/* Most slots of a ring. */
#define KAML_FEED_MOST_SLOTS 4096
/* Columns begin on such a boundary: TensorFlow copies what does not. */
#define KAML_FEED_ALIGNMENT 64

/* Indices and flags have cache lines of their own; all are read with acquire and written with release order. */
struct kaml_completion_header {
    uint32_t magic;
    uint32_t version;
    uint32_t slots;
    uint32_t reserved;
    uint8_t pad0[48];
    /* Descriptors published so far. */
    uint64_t tail;
    /* Lowest 32 bits of `tail`: the word a pod sleeps on (FUTEX_WAIT, at most 100 ms at a time; the memory is shared, so no
     * FUTEX_PRIVATE_FLAG). */
    uint32_t wake;
    uint8_t pad1[52];
    /* Submission entries taken so far. */
    uint64_t taken;
    /* Not 0 while the agent sleeps: the pod then writes to the event after it has published an entry. Both sides put a full
     * fence between writing their own word and reading the other's. */
    uint32_t agent_sleeps;
    uint8_t pad2[52];
};

struct kaml_submission_header {
    uint32_t magic;
    uint32_t version;
    uint32_t slots;
    uint32_t reserved;
    uint8_t pad0[48];
    /* Entries published so far. */
    uint64_t tail;
    uint8_t pad1[56];
    /* Descriptors taken so far: what the agent may overwrite. */
    uint64_t taken;
    /* Not 0 while the pod sleeps on `wake`: only then the agent wakes it. */
    uint32_t pod_sleeps;
    uint8_t pad2[52];
};

enum kaml_descriptor_kind {
    /* A batch. */
    KAML_DESCRIPTOR_BATCH = 1,
    /* The stream's last epoch is over; `position` is that of the batch that would have followed. */
    KAML_DESCRIPTOR_END = 2,
    /* The batch at `position` cannot be made; what it is about came as a message before. */
    KAML_DESCRIPTOR_ERROR = 3,
};

enum kaml_descriptor_flags {
    /* Records of the epoch's begin fill up the batch's last ones. */
    KAML_DESCRIPTOR_PADDED = 1,
    /* Some bytes of the batch lie in cache segments (plane M). */
    KAML_DESCRIPTOR_MAPPED = 2,
    /* The trace id is to be given on: the batch is sampled. */
    KAML_DESCRIPTOR_SAMPLED = 4,
};

struct kaml_descriptor {
    uint64_t sequence;   /* names the batch for its release; grows by one with each descriptor */
    uint32_t segment;    /* where the batch's header lies */
    uint8_t kind;
    uint8_t flags;
    uint16_t generation; /* of the last seek; older ones are to be released unread */
    uint64_t offset;     /* of the batch's header in the segment, a multiple of 64 */
    uint64_t length;     /* bytes of the batch in that segment */
    uint64_t position;   /* number of the batch since the stream's cursor */
    uint32_t records;
    uint32_t table;      /* of the columns' array, from `offset` on: struct kaml_column[column_count] */
    uint8_t trace[16];   /* of W3C Trace Context; zeros when there is none */
};

/* One column of a batch, in the order of StreamInfo's columns. */
struct kaml_column {
    /* In the descriptor's segment. Bytes: struct kaml_entry[records]. Dense: records * width bytes. A multiple of 64. */
    uint64_t offset;
    uint64_t length;
    uint32_t kind; /* enum kaml_column_kind */
    uint32_t width; /* bytes of a record in a dense column, 0 otherwise */
    /* All values of a bytes column side by side in the descriptor's segment without gaps, and records + 1 int64 offsets
     * into them, as Arrow and tf.RaggedTensor have them: 0 when they lie elsewhere, one by one. */
    uint64_t values;
    uint64_t value_offsets;
};

enum kaml_column_kind {
    KAML_COLUMN_BYTES = 1,
    KAML_COLUMN_INT64 = 2,
    KAML_COLUMN_UINT8 = 3,
};

/* A value of a bytes column, contiguous in one segment. */
struct kaml_entry {
    uint64_t offset;
    uint64_t length;
    uint32_t segment;
    uint32_t reserved;
    uint64_t record; /* its number in the snapshot */
};

enum kaml_submission_kind {
    /* The batch `sequence` may be overwritten. In any order, each once. */
    KAML_SUBMISSION_RELEASE = 1,
};

struct kaml_submission {
    uint32_t kind;
    uint32_t reserved;
    uint64_t sequence;
    /* From the batch's handing out to its release, and that its taker had waited for it before: for the agent's metrics and
     * spans. */
    uint64_t used_nanoseconds;
    uint64_t waited_nanoseconds;
};

#ifdef __cplusplus
}
static_assert(sizeof(struct kaml_descriptor) == KAML_FEED_DESCRIPTOR_BYTES, "descriptor");
#else
_Static_assert(sizeof(struct kaml_descriptor) == KAML_FEED_DESCRIPTOR_BYTES, "descriptor");
_Static_assert(sizeof(struct kaml_submission) == KAML_FEED_ENTRY_BYTES, "submission");
_Static_assert(sizeof(struct kaml_completion_header) == 192, "completion ring");
_Static_assert(sizeof(struct kaml_submission_header) == 192, "submission ring");
#endif
#endif
