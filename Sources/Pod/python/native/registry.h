/* Streams by number: what a graph, which can hold numbers only, knows them by.
 *
 * A definition lives as long as the process, since graphs that name it may. It has a first stream, which one kernel at a
 * time uses; others that run at the same time (several iterators of one dataset) get clones. */
#ifndef KAML_TF_REGISTRY_H
#define KAML_TF_REGISTRY_H

#include "kaml_tf.h"

struct definition;

struct use {
    struct definition *definition;
    struct kaml_stream *stream;
    bool is_first;
    struct use *next;
};

/* NULL when there is no such definition. */
struct definition *registry_find(int64_t number);
const struct kaml_tf_options *definition_options(const struct definition *definition);

/* Gives `use` a stream of its own. */
enum kaml_code use_begin(struct use *use, struct definition *definition, struct kaml_error *error);
void use_end(struct use *use);

/* Batches that tensors alias, over all of a definition's streams: at most a window less one, so that tensors that somebody
 * keeps never stop the stream. False when it is full. */
bool definition_alias(struct definition *definition);
void definition_unalias(struct definition *definition);

enum counted { COUNT_BATCHES, COUNT_ALIASED, COUNT_VIEWED, COUNT_COPIED, COUNTS };
void definition_count(struct definition *definition, enum counted what, uint64_t amount);

#endif
