/* The order in which a feed gives out an epoch's records: a bijection from places to records that is a pure function of
 * its parameters. One implementation, for the agent, libkaml and their tests; test vectors: Tests/.../order-vectors.json.
 *
 * An order is named by its version, which is part of every checkpoint: what a version computes never changes. */
#ifndef KAML_ORDER_H
#define KAML_ORDER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KAML_ORDER_VERSION 1

enum kaml_order_kind {
    KAML_ORDER_SEQUENTIAL = 1,
    /* A keyed permutation of all records. */
    KAML_ORDER_SHUFFLED = 2,
    /* Blocks of `block` neighbouring records are permuted, and records within windows of `window` blocks. */
    KAML_ORDER_BLOCKS = 3,
};

struct kaml_order {
    uint64_t records; /* of the epoch, at most 2^62 */
    uint64_t seed;
    uint64_t epoch;
    uint64_t block;  /* records in a block; only of KAML_ORDER_BLOCKS, at least 1 */
    uint64_t window; /* blocks in a window; likewise */
    uint32_t kind;
    uint32_t version;
    /* Computed by kaml_order_init. */
    uint64_t keys[8];
};

/* Fills in `order`. 0, or EINVAL for parameters that name no order. */
int kaml_order_init(struct kaml_order *order, uint32_t version, uint32_t kind, uint64_t records, uint64_t seed,
                    uint64_t epoch, uint64_t block, uint64_t window);

/* The record at `ordinal`, below `records`. Constant time and no memory; safe from any number of threads.
 * UINT64_MAX when `ordinal` is no place of the order. */
uint64_t kaml_order_record(const struct kaml_order *order, uint64_t ordinal);

/* The place of `record`: the inverse. */
uint64_t kaml_order_ordinal(const struct kaml_order *order, uint64_t record);

/* Sharding: steps that one rank has from `ordinal` to the epoch's end. Batch `step` of rank r out of w holds the places
 * ordinal + (step * w + r) * batch + 0, 1, ... batch - 1 as far as they are below `records`.
 * With `drop` only steps in which every rank's batch is full count; without it those in which any rank has a record, so that
 * all ranks have the same number (a rank's last batch may then be short, or empty unless it is padded). */
uint64_t kaml_order_steps(uint64_t records, uint64_t ordinal, uint64_t batch, uint32_t world, int drop);

#ifdef __cplusplus
}
#endif
#endif
