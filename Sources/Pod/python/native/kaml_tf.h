/* The op KamlNext(position) -> columns, for TensorFlow, and what the Python package calls. Thread-safe. */
#ifndef KAML_TF_H
#define KAML_TF_H

#include <kaml.h>

struct kaml_tf_options {
    /* How long the op waits for a batch. */
    uint64_t timeout_ns;
    /* Whether strings may be views of the agent's cache (plane M); they are copies otherwise. */
    bool has_views;
    /* Views keep at most this much of the cache mapped that the agent has no more use for (kaml_batch_pin). */
    uint64_t view_limit_bytes;
    /* Whether bytes columns are two outputs: the values side by side, and int64 row splits. */
    bool is_ragged;
};

struct kaml_tf_counters {
    uint64_t batches;
    uint64_t aliased_bytes;
    uint64_t viewed_bytes;
    uint64_t copied_bytes;
    /* Streams that are open for it now. */
    uint64_t streams;
};

/* Makes `stream` known to the op by the number that is returned, and takes it over. -1 when there is no memory. */
KAML_API int64_t kaml_tf_define(struct kaml_stream *stream, const struct kaml_tf_options *options);
/* The program has no more use for it; a graph that still has goes on, and opens it again. */
KAML_API void kaml_tf_release(int64_t definition);
/* Ends all waiting, for good: before the process exits. */
KAML_API void kaml_tf_stop(void);
KAML_API bool kaml_tf_count(int64_t definition, struct kaml_tf_counters *counters);

#endif
