/* libkaml: datasets from the node's KAML-D agent, in the pod. C11.
 *
 * A client names the agent. A stream gives batches of records in the order, shard and epochs that were asked for; the
 * bytes lie in memory that the agent shares, so taking a batch copies nothing. Files of a dataset can be looked at and
 * read as well.
 *
 * Threads: every function may be called from any thread at any time, except that an object must not be used by another
 * thread while or after it is closed or its last reference is released.
 * Processes: after fork() the child gets KAML_FORKED from every call that would reach the agent; it may read batches that
 * were taken before, and close or release what it inherited. Nothing survives exec().
 * Versions: structures with a `size` may grow; the others stay as they are as long as the library is libkaml.so.1.
 * State: everything belongs to the objects below; the library keeps nothing global.
 * Units: times are nanoseconds of CLOCK_MONOTONIC, sizes are bytes.
 * Errors: functions return an enum kaml_code and fill in `error` when it is not NULL. KAML_OK leaves it alone. */
#ifndef KAML_H
#define KAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KAML_API __attribute__((visibility("default")))

enum kaml_code {
    KAML_OK = 0,
    /* Arguments or a request that cannot be. */
    KAML_INVALID = 1,
    /* No such dataset, snapshot, path or column. */
    KAML_NOT_FOUND = 2,
    KAML_DENIED = 3,
    /* Over a quota of the agent. */
    KAML_EXHAUSTED = 4,
    /* A record or file is damaged, or the agent broke the protocol. */
    KAML_CORRUPT = 5,
    /* There is no agent, or it or the store cannot do it now. */
    KAML_UNAVAILABLE = 6,
    KAML_UNSUPPORTED = 7,
    /* The time given was over; the call may be made again and loses nothing. */
    KAML_TIMED_OUT = 8,
    /* The stream's last epoch is over. */
    KAML_END = 9,
    /* The stream was closed while the call waited. */
    KAML_CLOSED = 10,
    KAML_FORKED = 11,
    KAML_NO_MEMORY = 12,
};

#define KAML_MESSAGE_BYTES 1024
#define KAML_REMEDY_BYTES 512

/* What went wrong, in words. Strings end in NUL and are cut where they are too long. */
struct kaml_error {
    enum kaml_code code;
    /* Whether the same call may succeed later. */
    bool is_retryable;
    /* Of the batch that it is about, or UINT64_MAX. */
    uint64_t position;
    /* Dataset, path and cause. */
    char message[KAML_MESSAGE_BYTES];
    /* What to do about it. */
    char remedy[KAML_REMEDY_BYTES];
};

/* The library's version, "1.0.0". Static. */
KAML_API const char *kaml_version(void);
/* A code's name, "not found". Static. */
KAML_API const char *kaml_code_name(enum kaml_code code);

/* ---- client ---- */

struct kaml_client;

/* Zero means the default everywhere. `size` is sizeof(struct kaml_options): how later versions know what was given. */
struct kaml_options {
    size_t size;
    /* Path of the agent's socket. Default: the environment's KAML_FEED_SOCKET, else /run/kaml/feed/feed.sock. */
    const char *socket;
    /* Name and version of the program, for the agent's log; at most 128 bytes. */
    const char *program;
    /* How long the agent may take to answer a request. Default 60 s. */
    uint64_t answer_timeout_ns;
    /* How long a stream looks for an agent that went away before kaml_stream_next says KAML_UNAVAILABLE. Default 120 s. */
    uint64_t reconnect_timeout_ns;
};

/* Reaches the agent and greets it. `options` may be NULL; nothing of it is kept.
 * KAML_UNAVAILABLE (retryable) where there is no agent, KAML_DENIED, KAML_UNSUPPORTED (no common version).
 * The client belongs to the caller: kaml_close. */
KAML_API enum kaml_code kaml_connect(const struct kaml_options *options, struct kaml_client **client,
                                     struct kaml_error *error);
/* Closes the client. Its streams go on: they hold what they need. NULL does nothing. */
KAML_API void kaml_close(struct kaml_client *client);

/* ---- where a stream stands ---- */

/* Bytes of a snapshot's id in hex, with the NUL: ids of up to 32 bytes. */
#define KAML_SNAPSHOT_TEXT 65

/* A place in an order: all that a checkpoint needs. */
struct kaml_cursor {
    /* Whole id in hex, or "" for what the dataset's name stands for now. */
    char snapshot[KAML_SNAPSHOT_TEXT];
    uint64_t seed;
    uint64_t epoch;
    /* Of the epoch's places, those before this one were given out already, to all ranks together. */
    uint64_t ordinal;
    /* 0 for the newest. */
    uint32_t order_version;
    /* enum kaml_stream_order; 0 where it is not known. */
    uint32_t order;
    /* Of the order of blocks: records in a block, blocks in a window. 0 for the agent's choice. */
    uint64_t block;
    uint64_t window;
};

/* Room for a token as text, with its NUL. */
#define KAML_TOKEN_TEXT 128

/* Writes `cursor` as text (letters, digits, - and _) of fewer than KAML_TOKEN_TEXT bytes, with version and checksum.
 * KAML_INVALID when the snapshot is not hex or too long. */
KAML_API enum kaml_code kaml_token_encode(const struct kaml_cursor *cursor, char text[KAML_TOKEN_TEXT],
                                          struct kaml_error *error);
/* Reads such text. KAML_INVALID when it is damaged, KAML_UNSUPPORTED when it is of a later version. */
KAML_API enum kaml_code kaml_token_decode(const char *text, struct kaml_cursor *cursor, struct kaml_error *error);

/* ---- streams ---- */

struct kaml_stream;
struct kaml_batch;

enum kaml_format {
    KAML_FORMAT_BY_NAME = 0,
    KAML_FORMAT_TFRECORD = 1,
    KAML_FORMAT_FILES = 2,
    KAML_FORMAT_TAR = 3,
    KAML_FORMAT_JSONL = 4,
    KAML_FORMAT_FIXED = 5,
};

enum kaml_stream_order {
    KAML_STREAM_ORDER_DEFAULT = 0, /* shuffled */
    KAML_STREAM_ORDER_SEQUENTIAL = 1,
    KAML_STREAM_ORDER_SHUFFLED = 2,
    KAML_STREAM_ORDER_BLOCKS = 3,
    KAML_STREAM_ORDER_CACHED_FIRST = 4,
};

enum kaml_plane {
    KAML_PLANE_ANY = 0,
    KAML_PLANE_SLOTS = 1,
    KAML_PLANE_MAPPED = 2,
};

/* What to stream. Zero means the default; what is said in feed.proto about OpenStream holds. */
struct kaml_stream_options {
    size_t size;
    /* dataset@ref. */
    const char *dataset;
    const char *store;
    const char *const *paths;
    size_t path_count;
    const char *const *columns;
    size_t column_count;
    enum kaml_format format;
    uint32_t record_bytes;
    uint32_t header_bytes;
    /* Records in a batch, 1 to 1,048,576. */
    uint32_t batch_size;
    bool drop_remainder;
    bool pad_remainder;
    /* Where to begin; NULL for the first epoch's begin with seed 0. */
    const struct kaml_cursor *cursor;
    /* From the cursor's epoch on, that one counted; 0 to go on for ever. */
    uint64_t epochs;
    enum kaml_stream_order order;
    uint32_t rank;
    uint32_t world_size;
    enum kaml_plane plane;
    uint32_t window_batches;
    uint64_t window_bytes;
    /* W3C Trace Context, or NULL. */
    const char *traceparent;
    /* Takes batches over the socket even where memory can be passed. */
    bool is_inline;
};

/* What a stream is. Strings belong to the stream. */
struct kaml_stream_info {
    /* Where position 0 is; names the snapshot whole. */
    struct kaml_cursor cursor;
    /* In an epoch. */
    uint64_t records;
    /* Batches from the cursor to its epoch's end, and in each later epoch. */
    uint64_t first_steps;
    uint64_t steps;
    /* Batches in all; UINT64_MAX when it goes on for ever. */
    uint64_t total_steps;
    size_t column_count;
    uint32_t window_batches;
    bool lends_cache;
    /* Memory cannot be passed to this process: batches come over the socket, which copies them three times. */
    bool is_inline;
    /* What the user should be told once: why a faster way is not taken. "" when there is nothing. */
    const char *notice;
};

enum kaml_kind {
    KAML_KIND_BYTES = 1, /* of any length */
    KAML_KIND_INT64 = 2, /* dense, little-endian */
    KAML_KIND_UINT8 = 3, /* dense, `width` bytes for each record */
};

struct kaml_column_info {
    const char *name;
    enum kaml_kind kind;
    uint32_t width;
};

/* Opens a stream; a session of its own with the agent, whose index may have to be built first (answer_timeout_ns).
 * Nothing of `options` is kept. The stream belongs to the caller: kaml_stream_close. */
KAML_API enum kaml_code kaml_stream_open(struct kaml_client *client, const struct kaml_stream_options *options,
                                         struct kaml_stream **stream, struct kaml_error *error);
/* Ends the stream: calls that wait return KAML_CLOSED, and this one returns once they did (at most about 100 ms).
 * Batches that were taken stay valid until they are released. NULL does nothing. */
KAML_API void kaml_stream_close(struct kaml_stream *stream);

/* Another stream of the same, from position 0 of the same snapshot. Belongs to the caller as well. */
KAML_API enum kaml_code kaml_stream_clone(const struct kaml_stream *stream, struct kaml_stream **clone,
                                          struct kaml_error *error);
/* Gives the session up, and all that the agent keeps for it, until a batch is asked for again. */
KAML_API void kaml_stream_rest(struct kaml_stream *stream);
/* From now on calls that take batches return KAML_CLOSED, those that wait within about 100 ms. */
KAML_API void kaml_stream_stop(struct kaml_stream *stream);

KAML_API void kaml_stream_describe(const struct kaml_stream *stream, struct kaml_stream_info *info);
/* Column `index`, below column_count; false otherwise. */
KAML_API bool kaml_stream_column(const struct kaml_stream *stream, size_t index, struct kaml_column_info *info);

/* The next batch that this function has not given out, waiting up to `timeout_ns` (of an inline stream up to
 * answer_timeout_ns instead, if that is longer). Several threads get different ones.
 * An agent that goes away is looked for; no batch is lost or comes twice.
 * KAML_TIMED_OUT, KAML_END, KAML_CLOSED; what a batch failed by (the one after it comes next time); KAML_UNAVAILABLE.
 * The batch belongs to the caller: kaml_batch_release. */
KAML_API enum kaml_code kaml_stream_next(struct kaml_stream *stream, uint64_t timeout_ns, struct kaml_batch **batch,
                                         struct kaml_error *error);
/* The batch at `position` (0 is the first of the cursor). Cheapest in about rising order; any other makes the agent begin
 * anew from there. Several threads may wait for different positions. Otherwise as kaml_stream_next. */
KAML_API enum kaml_code kaml_stream_take(struct kaml_stream *stream, uint64_t position, uint64_t timeout_ns,
                                         struct kaml_batch **batch, struct kaml_error *error);
/* Where a stream that begins with the batch at `position` starts: what to keep in a checkpoint once all batches before it
 * were used. Does not reach the agent. KAML_END past the stream's end. */
KAML_API enum kaml_code kaml_stream_cursor(const struct kaml_stream *stream, uint64_t position,
                                           struct kaml_cursor *cursor, struct kaml_error *error);

struct kaml_stream_counters {
    uint64_t batches;
    uint64_t seeks;
    uint64_t reconnects;
    uint64_t waited_ns;
    /* Of cache segments that the agent has ended and that kaml_batch_pin keeps. */
    uint64_t pinned_bytes;
};
KAML_API void kaml_stream_count(struct kaml_stream *stream, struct kaml_stream_counters *counters);

/* ---- batches ---- */

/* A value of a bytes column. */
struct kaml_value {
    const void *data;
    size_t length;
    /* Its number in the snapshot. */
    uint64_t record;
};

/* One column of a batch. Pointers are good until the batch's last reference is released. */
struct kaml_column_data {
    enum kaml_kind kind;
    uint32_t width;
    /* Dense: records * width bytes (int64: 8), on a boundary of 64. NULL for bytes. */
    const void *dense;
    /* Bytes: one for each record. NULL for dense. */
    const struct kaml_value *values;
    /* Bytes, where they lie side by side, else NULL: all values without gaps, and records + 1 offsets into them. */
    const void *packed;
    const int64_t *offsets;
    /* Whether all values lie in the agent's cache, which nobody ever rewrites (plane M). */
    bool is_mapped;
};

KAML_API uint64_t kaml_batch_position(const struct kaml_batch *batch);
KAML_API uint32_t kaml_batch_records(const struct kaml_batch *batch);
/* Whether records of the epoch's begin fill up its end. */
KAML_API bool kaml_batch_is_padded(const struct kaml_batch *batch);
/* Whether any of its bytes lie in the agent's cache (plane M). */
KAML_API bool kaml_batch_is_mapped(const struct kaml_batch *batch);
/* W3C trace id; false when the batch is not sampled. */
KAML_API bool kaml_batch_trace(const struct kaml_batch *batch, uint8_t trace[16]);
/* Column `index` in the order of kaml_stream_column; false when there is none. */
KAML_API bool kaml_batch_column(const struct kaml_batch *batch, size_t index, struct kaml_column_data *data);
/* Keeps the cache memory that values of the batch lie in mapped until the process ends, for pointers into columns with
 * `is_mapped` whose life nobody can follow. A file of the cache is kept once for a client and its streams. False, and nothing kept, when the batch is not mapped, or
 * when it lies in files that are not kept yet and the stream keeps more than `limit_bytes` already that the agent has no more
 * use for (their disk space is not free before). */
KAML_API bool kaml_batch_pin(struct kaml_batch *batch, uint64_t limit_bytes);
/* One reference more. Returns `batch`. */
KAML_API struct kaml_batch *kaml_batch_retain(struct kaml_batch *batch);
/* Gives a reference back, from any thread; the last one gives the memory back to the agent. NULL does nothing. */
KAML_API void kaml_batch_release(struct kaml_batch *batch);

/* ---- files ---- */

enum kaml_file_kind {
    KAML_FILE_REGULAR = 1,
    KAML_FILE_DIRECTORY = 2,
    KAML_FILE_LINK = 3,
    KAML_FILE_OTHER = 4,
};

struct kaml_attributes {
    enum kaml_file_kind kind;
    uint64_t bytes;
    /* Since 1970. */
    int64_t modified_ns;
    char snapshot[KAML_SNAPSHOT_TEXT];
};

/* Attributes of `path` ("" is the root, no slash before or after) in dataset@ref; `store` may be NULL. */
KAML_API enum kaml_code kaml_stat(struct kaml_client *client, const char *dataset, const char *store, const char *path,
                                  struct kaml_attributes *attributes, struct kaml_error *error);
/* Calls `each` for the names in a directory, sorted, until it returns false. `name` is good during the call only. */
KAML_API enum kaml_code kaml_list(struct kaml_client *client, const char *dataset, const char *store, const char *path,
                                  bool (*each)(void *context, const char *name, size_t length, enum kaml_file_kind kind),
                                  void *context, struct kaml_error *error);
/* Reads up to `length` bytes from `offset` into `buffer`; `*count` says how many there were, fewer only at the end. */
KAML_API enum kaml_code kaml_read(struct kaml_client *client, const char *dataset, const char *store, const char *path,
                                  uint64_t offset, void *buffer, size_t length, size_t *count, struct kaml_error *error);

#ifdef __cplusplus
}
#endif
#endif
