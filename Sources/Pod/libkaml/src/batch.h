/* Batches: descriptors made into pointers that were checked against the mapped segments. */
#ifndef KAML_BATCH_H
#define KAML_BATCH_H

#include "session.h"

/* What every batch of a stream has: its columns, and at most so many records. */
struct batch_shape {
    uint32_t most_records;
    size_t column_count;
    const struct kaml_column_info *columns;
};

/* Makes the published batch of `item`, whose lease goes over to it, or is returned when this fails. */
enum kaml_code batch_make(const struct published *item, const struct batch_shape *shape, struct kaml_batch **batch,
                          struct kaml_error *error);

#endif
