#include "batch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Cache segments that a batch may be pinned in. One that lies in more is copied instead. */
#define MOST_PINS 1024

struct kaml_batch {
    unsigned references;
    struct lease *lease;
    uint64_t position;
    uint32_t records;
    uint8_t flags;
    uint8_t trace[16];
    size_t column_count;
    /* Cache segments that values lie in. */
    struct segment **pins;
    size_t pin_count;
    struct kaml_column_data columns[];
};

/* What making a batch works on. */
struct making {
    struct kaml_batch *batch;
    /* Of a batch that came over the socket: all of it. */
    struct segment *own;
    struct segments *segments;
    const struct segment *home;
    struct kaml_error *error;
    /* The segment that the last entry lay in, and the range of it that is still to be populated. */
    struct segment *last;
    uint64_t begin;
    uint64_t end;
    /* Whether a value of the column at hand lies in a slot. */
    bool has_slots;
};

static enum kaml_code out_of_bounds(struct making *making, const char *what) {
    return failure_protocol(making->error, "%s of batch %" PRIu64 " lies outside of its segment", what,
                            making->batch->position);
}

static enum kaml_code populate(struct making *making) {
    if (making->last == NULL || !making->last->is_cache || making->begin == making->end)
        return KAML_OK;
    int cause = segments_populate(making->segments, making->last, making->begin, making->end - making->begin);
    making->begin = making->end;
    if (cause != 0)
        return failure(making->error, KAML_CORRUPT, FAILURE_RETRYABLE, "Look at the disk of the node's cache.",
                       "batch %" PRIu64 ": %s while reading the node's cache", making->batch->position, strerror(cause));
    return KAML_OK;
}

static bool note_pin(struct kaml_batch *batch, struct segment *segment) {
    for (size_t i = 0; i < batch->pin_count && i < MOST_PINS; i++)
        if (batch->pins[i] == segment)
            return true;
    if (batch->pins == NULL) {
        batch->pins = malloc(MOST_PINS * sizeof(struct segment *));
        if (batch->pins == NULL)
            return false;
    }
    if (batch->pin_count < MOST_PINS)
        batch->pins[batch->pin_count] = segment;
    if (batch->pin_count <= MOST_PINS)
        batch->pin_count++;
    return true;
}

/* Neighbours in one segment are populated with one call, so are those with less than this between them. */
#define POPULATE_GAP 16384

static enum kaml_code resolve(struct making *making, const struct kaml_entry *entry, struct kaml_value *value) {
    if (making->last == NULL || making->last->id != entry->segment) {
        enum kaml_code code = populate(making);
        if (code != KAML_OK)
            return code;
        making->last = making->own != NULL ? making->own : segments_find(making->segments, entry->segment);
        making->begin = making->end = 0;
        if (making->last == NULL)
            return failure_protocol(making->error, "a value of batch %" PRIu64 " lies in segment %u, which is not there",
                                    making->batch->position, entry->segment);
        if (making->last->is_cache && !note_pin(making->batch, making->last))
            return failure_memory(making->error);
    }
    const uint8_t *data = segment_at(making->last, entry->offset, entry->length);
    if (data == NULL)
        return out_of_bounds(making, "a value");
    *value = (struct kaml_value){.data = data, .length = (size_t)entry->length, .record = entry->record};
    if (entry->length == 0)
        return KAML_OK;
    if (!making->last->is_cache) {
        making->has_slots = true;
        return KAML_OK;
    }
    if (entry->offset >= making->begin && entry->offset <= making->end + POPULATE_GAP && making->begin != making->end) {
        if (entry->offset + entry->length > making->end)
            making->end = entry->offset + entry->length;
        return KAML_OK;
    }
    enum kaml_code code = populate(making);
    making->begin = entry->offset;
    making->end = entry->offset + entry->length;
    return code;
}

/* Offsets rise from 0, so that whoever follows them stays within the values. */
static bool are_offsets(const int64_t *offsets, uint32_t records) {
    if (offsets[0] != 0)
        return false;
    for (uint32_t i = 0; i < records; i++)
        if (offsets[i + 1] < offsets[i])
            return false;
    return true;
}

static enum kaml_code take_packed(struct making *making, const struct kaml_column *column,
                                  struct kaml_column_data *data) {
    uint32_t records = making->batch->records;
    if (column->values == 0 && column->value_offsets == 0)
        return KAML_OK;
    const uint8_t *offsets =
        segment_at(making->home, column->value_offsets, ((uint64_t)records + 1) * sizeof(int64_t));
    if (offsets == NULL || column->value_offsets % sizeof(int64_t) != 0)
        return out_of_bounds(making, "the offsets of a column");
    const int64_t *list = (const int64_t *)(const void *)offsets;
    if (!are_offsets(list, records))
        return failure_protocol(making->error, "offsets of batch %" PRIu64 " that do not rise", making->batch->position);
    const uint8_t *packed = segment_at(making->home, column->values, (uint64_t)list[records]);
    if (packed == NULL)
        return out_of_bounds(making, "a column's values");
    data->offsets = list;
    data->packed = packed;
    return KAML_OK;
}

static enum kaml_code take_bytes(struct making *making, const struct kaml_column *column, struct kaml_column_data *data,
                                 struct kaml_value *values) {
    uint32_t records = making->batch->records;
    const uint8_t *entries = segment_at(making->home, column->offset, (uint64_t)records * sizeof(struct kaml_entry));
    if (entries == NULL || column->offset % sizeof(uint64_t) != 0)
        return out_of_bounds(making, "a column");
    making->has_slots = false;
    for (uint32_t i = 0; i < records; i++) {
        struct kaml_entry entry;
        memcpy(&entry, entries + (size_t)i * sizeof entry, sizeof entry);
        enum kaml_code code = resolve(making, &entry, &values[i]);
        if (code != KAML_OK)
            return code;
    }
    data->values = values;
    data->is_mapped = !making->has_slots && making->batch->pin_count > 0 && making->batch->pin_count <= MOST_PINS;
    enum kaml_code code = populate(making);
    return code == KAML_OK ? take_packed(making, column, data) : code;
}

static enum kaml_code take_dense(struct making *making, const struct kaml_column *column, uint64_t width,
                                 struct kaml_column_data *data) {
    uint64_t bytes;
    if (__builtin_mul_overflow(width, making->batch->records, &bytes))
        return out_of_bounds(making, "a column");
    const uint8_t *dense = segment_at(making->home, column->offset, bytes);
    if (dense == NULL || column->offset % KAML_FEED_ALIGNMENT != 0)
        return out_of_bounds(making, "a column");
    data->dense = dense;
    return KAML_OK;
}

static enum kaml_code take_columns(struct making *making, const struct kaml_descriptor *descriptor,
                                   const struct batch_shape *shape, struct kaml_value *values) {
    struct kaml_batch *batch = making->batch;
    uint64_t table_bytes = batch->column_count * sizeof(struct kaml_column);
    const uint8_t *begin = segment_at(making->home, descriptor->offset, descriptor->length);
    if (begin == NULL || descriptor->offset % KAML_FEED_ALIGNMENT != 0 || table_bytes > descriptor->length ||
        descriptor->table > descriptor->length - table_bytes)
        return out_of_bounds(making, "the table");
    for (size_t i = 0; i < batch->column_count; i++) {
        struct kaml_column column;
        struct kaml_column_data *data = &batch->columns[i];
        enum kaml_code code;
        memcpy(&column, begin + descriptor->table + i * sizeof column, sizeof column);
        data->kind = shape->columns[i].kind;
        data->width = shape->columns[i].width;
        if (column.kind != (uint32_t)data->kind || (data->kind == KAML_KIND_UINT8 && column.width != data->width))
            return failure_protocol(making->error, "column %s of batch %" PRIu64 " is of another kind than announced",
                                    shape->columns[i].name, batch->position);
        if (data->kind == KAML_KIND_BYTES) {
            code = take_bytes(making, &column, data, values);
            values += batch->records;
        } else {
            code = take_dense(making, &column, data->kind == KAML_KIND_INT64 ? sizeof(int64_t) : data->width, data);
        }
        if (code != KAML_OK)
            return code;
    }
    return KAML_OK;
}

static size_t bytes_columns(const struct batch_shape *shape) {
    size_t count = 0;
    for (size_t i = 0; i < shape->column_count; i++)
        count += shape->columns[i].kind == KAML_KIND_BYTES;
    return count;
}

/* A batch and the values of its bytes columns in one piece of memory. NULL when there is none. */
static struct kaml_batch *allocate(const struct batch_shape *shape, uint32_t records, struct kaml_value **values) {
    size_t head, tail, bytes;
    if (__builtin_mul_overflow(shape->column_count, sizeof(struct kaml_column_data), &head) ||
        __builtin_add_overflow(head, sizeof(struct kaml_batch), &head) ||
        __builtin_mul_overflow(bytes_columns(shape), sizeof(struct kaml_value) * records, &tail) ||
        __builtin_add_overflow(head, tail, &bytes))
        return NULL;
    struct kaml_batch *batch = malloc(bytes);
    if (batch == NULL)
        return NULL;
    memset(batch, 0, head);
    *values = (struct kaml_value *)(void *)((char *)batch + head);
    return batch;
}

enum kaml_code batch_make(const struct published *item, const struct batch_shape *shape, struct kaml_batch **batch,
                          struct kaml_error *error) {
    const struct kaml_descriptor *descriptor = &item->descriptor;
    struct segments *segments = &item->lease->session->segments;
    struct kaml_value *values;
    *batch = NULL;
    if (descriptor->records > shape->most_records) {
        lease_return(item->lease);
        return failure_protocol(error, "batch %" PRIu64 " has %u records, more than asked for", item->position,
                                descriptor->records);
    }
    struct kaml_batch *made = allocate(shape, descriptor->records, &values);
    if (made == NULL) {
        lease_return(item->lease);
        return failure_memory(error);
    }
    made->references = 1;
    made->lease = item->lease;
    made->position = item->position;
    made->records = descriptor->records;
    made->flags = descriptor->flags;
    made->column_count = shape->column_count;
    memcpy(made->trace, descriptor->trace, sizeof made->trace);
    struct making making = {
        .batch = made,
        .segments = segments,
        .own = item->lease->own,
        .home = item->lease->own != NULL ? item->lease->own : segments_find(segments, descriptor->segment),
        .error = error,
    };
    enum kaml_code code;
    if (making.home == NULL)
        code = failure_protocol(error, "batch %" PRIu64 " lies in segment %u, which is not there", item->position,
                                descriptor->segment);
    else
        code = take_columns(&making, descriptor, shape, values);
    if (code != KAML_OK) {
        kaml_batch_release(made);
        return code;
    }
    *batch = made;
    return KAML_OK;
}

uint64_t kaml_batch_position(const struct kaml_batch *batch) { return batch->position; }

uint32_t kaml_batch_records(const struct kaml_batch *batch) { return batch->records; }

bool kaml_batch_is_padded(const struct kaml_batch *batch) { return (batch->flags & KAML_DESCRIPTOR_PADDED) != 0; }

bool kaml_batch_is_mapped(const struct kaml_batch *batch) { return batch->pin_count > 0; }

bool kaml_batch_trace(const struct kaml_batch *batch, uint8_t trace[16]) {
    memcpy(trace, batch->trace, sizeof batch->trace);
    return (batch->flags & KAML_DESCRIPTOR_SAMPLED) != 0;
}

bool kaml_batch_column(const struct kaml_batch *batch, size_t index, struct kaml_column_data *data) {
    if (index >= batch->column_count)
        return false;
    *data = batch->columns[index];
    return true;
}

bool kaml_batch_pin(struct kaml_batch *batch, uint64_t limit_bytes) {
    return batch->pin_count > 0 && batch->pin_count <= MOST_PINS &&
           segments_pin(&batch->lease->session->segments, batch->pins, batch->pin_count, limit_bytes);
}

struct kaml_batch *kaml_batch_retain(struct kaml_batch *batch) {
    __atomic_add_fetch(&batch->references, 1, __ATOMIC_RELAXED);
    return batch;
}

void kaml_batch_release(struct kaml_batch *batch) {
    if (batch == NULL || __atomic_sub_fetch(&batch->references, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    lease_return(batch->lease);
    free(batch->pins);
    free(batch);
}
