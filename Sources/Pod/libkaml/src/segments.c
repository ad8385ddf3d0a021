#define _GNU_SOURCE
#include "segments.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"

/* Of Linux 5.14; Debian's headers may be older. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

/* Looking at pages that are there costs as much as reading them. So large ranges are populated by blocks, and a block that
 * was is trusted for a while: the kernel hardly takes pages that were just used. */
#define BLOCK_BYTES UINT64_C(65536)
#define TRUSTED_SECONDS 30

enum kaml_code segments_init(struct segments *segments, struct mappings *mappings, struct kaml_error *error) {
    memset(segments, 0, sizeof *segments);
    segments->current = calloc(1, sizeof *segments->current);
    if (segments->current == NULL)
        return failure_memory(error);
    segments->mappings = mappings_retain(mappings);
    segments->oldest = segments->current;
    segments->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    pthread_mutex_init(&segments->lock, NULL);
    return KAML_OK;
}

static void unmap(struct segment *segment) {
    if (!segment->is_pinned)
        munmap((void *)(uintptr_t)segment->base, segment->bytes);
    if (!segment->is_shared)
        free(segment->populated);
    free(segment);
}

void segments_destroy(struct segments *segments) {
    if (segments->current == NULL)
        return;
    for (size_t i = 0; i < segments->count; i++)
        unmap(segments->items[i]);
    free(segments->items);
    for (struct era *era = segments->oldest; era != NULL;) {
        struct era *next = era->next;
        free(era);
        era = next;
    }
    pthread_mutex_destroy(&segments->lock);
    mappings_release(segments->mappings);
    memset(segments, 0, sizeof *segments);
}

/* Index of the first item whose id is not below `id`. */
static size_t place_of(const struct segments *segments, uint32_t id) {
    size_t low = 0, high = segments->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (segments->items[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool reserve(struct segments *segments) {
    const size_t first = 16;
    if (segments->count < segments->capacity)
        return true;
    size_t capacity = segments->capacity == 0 ? first : segments->capacity * 2;
    struct segment **items = realloc(segments->items, capacity * sizeof *items);
    if (items == NULL)
        return false;
    segments->items = items;
    segments->capacity = capacity;
    return true;
}

/* Memory that the agent could cut off under a reader would be a SIGBUS: slots must be sealed against it. */
static bool cannot_shrink(int descriptor) {
    int seals = fcntl(descriptor, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

/* Maps the file, unless a mapping of it is kept already. */
static enum kaml_code map(struct segments *segments, struct segment *segment, int descriptor, struct kaml_error *error) {
    struct mapping kept;
    if (segment->is_cache && mappings_find(segments->mappings, segment->device, segment->inode, segment->bytes, &kept)) {
        segment->base = kept.base;
        segment->populated = kept.populated;
        segment->is_pinned = segment->is_shared = segment->was_found = true;
        return KAML_OK;
    }
    if (segment->is_cache) {
        segment->populated = calloc((size_t)(segment->bytes / BLOCK_BYTES + 1), sizeof *segment->populated);
        if (segment->populated == NULL)
            return failure_memory(error);
    }
    void *base = mmap(NULL, (size_t)segment->bytes, PROT_READ, MAP_SHARED, descriptor, 0);
    if (base == MAP_FAILED) {
        int cause = errno;
        free(segment->populated);
        return failure(error, KAML_EXHAUSTED, FAILURE_RETRYABLE,
                       "Raise vm.max_map_count, or open fewer streams in this process.",
                       "cannot map %llu bytes of the agent's memory: %s", (unsigned long long)segment->bytes,
                       strerror(cause));
    }
    segment->base = base;
    return KAML_OK;
}

enum kaml_code segments_add(struct segments *segments, uint32_t id, uint64_t bytes, bool is_cache, int descriptor,
                            struct kaml_error *error) {
    struct stat status;
    if (bytes == 0 || bytes > (uint64_t)PTRDIFF_MAX || fstat(descriptor, &status) != 0 ||
        (uint64_t)status.st_size < bytes)
        return failure_protocol(error, "segment %u has fewer than its %llu bytes", id, (unsigned long long)bytes);
    if (!is_cache && !cannot_shrink(descriptor))
        return failure_protocol(error, "segment %u is not sealed against shrinking", id);
    struct segment *segment = malloc(sizeof *segment);
    if (segment == NULL)
        return failure_memory(error);
    *segment = (struct segment){
        .id = id, .is_cache = is_cache, .bytes = bytes, .device = status.st_dev, .inode = status.st_ino};
    enum kaml_code code = map(segments, segment, descriptor, error);
    if (code != KAML_OK) {
        free(segment);
        return code;
    }
    pthread_mutex_lock(&segments->lock);
    size_t place = place_of(segments, id);
    bool is_known = place < segments->count && segments->items[place]->id == id;
    if (is_known || !reserve(segments)) {
        pthread_mutex_unlock(&segments->lock);
        unmap(segment);
        return is_known ? failure_protocol(error, "segment %u came twice", id) : failure_memory(error);
    }
    memmove(&segments->items[place + 1], &segments->items[place], (segments->count - place) * sizeof *segments->items);
    segments->items[place] = segment;
    segments->count++;
    pthread_mutex_unlock(&segments->lock);
    return KAML_OK;
}

bool segments_end(struct segments *segments, uint32_t id) {
    pthread_mutex_lock(&segments->lock);
    size_t place = place_of(segments, id);
    bool is_known = place < segments->count && segments->items[place]->id == id && !segments->items[place]->has_ended;
    if (is_known) {
        struct segment *segment = segments->items[place];
        segment->has_ended = true;
        segment->next_ended = segments->current->ended;
        segments->current->ended = segment;
        /* A mapping that was found here does not come to more by being lent again. */
        if (segment->is_pinned && !segment->was_found)
            segments->pinned_ended_bytes += segment->bytes;
    }
    pthread_mutex_unlock(&segments->lock);
    return is_known;
}

/* Unmaps what ended in eras that no batch is out of any more. */
static void sweep(struct segments *segments) {
    while (segments->oldest != segments->current && segments->oldest->batches == 0) {
        struct era *era = segments->oldest;
        while (era->ended != NULL) {
            struct segment *segment = era->ended;
            size_t place = place_of(segments, segment->id);
            era->ended = segment->next_ended;
            segments->count--;
            memmove(&segments->items[place], &segments->items[place + 1],
                    (segments->count - place) * sizeof *segments->items);
            unmap(segment);
        }
        segments->oldest = era->next;
        free(era);
    }
}

bool segments_close_era(struct segments *segments) {
    struct era *era = calloc(1, sizeof *era);
    if (era == NULL)
        return false;
    pthread_mutex_lock(&segments->lock);
    segments->current->next = era;
    segments->current = era;
    sweep(segments);
    pthread_mutex_unlock(&segments->lock);
    return true;
}

struct era *segments_lend(struct segments *segments) {
    pthread_mutex_lock(&segments->lock);
    struct era *era = segments->current;
    era->batches++;
    pthread_mutex_unlock(&segments->lock);
    return era;
}

void segments_return(struct segments *segments, struct era *era) {
    pthread_mutex_lock(&segments->lock);
    era->batches--;
    sweep(segments);
    pthread_mutex_unlock(&segments->lock);
}

struct segment *segments_find(struct segments *segments, uint32_t id) {
    pthread_mutex_lock(&segments->lock);
    size_t place = place_of(segments, id);
    struct segment *segment =
        place < segments->count && segments->items[place]->id == id ? segments->items[place] : NULL;
    pthread_mutex_unlock(&segments->lock);
    return segment;
}

/* With the lock held. */
static void pin(struct segments *segments, struct segment *segment) {
    if (segment->is_pinned)
        return;
    struct mapping mapping = {
        .device = segment->device,
        .inode = segment->inode,
        .base = segment->base,
        .bytes = segment->bytes,
        .populated = segment->populated,
    };
    segment->is_shared = mappings_add(segments->mappings, &mapping);
    segment->is_pinned = true;
    if (segment->has_ended)
        segments->pinned_ended_bytes += segment->bytes;
}

bool segments_pin(struct segments *segments, struct segment *const *list, size_t count, uint64_t limit_bytes) {
    pthread_mutex_lock(&segments->lock);
    bool may = segments->pinned_ended_bytes <= limit_bytes, are_pinned = true;
    for (size_t i = 0; i < count; i++)
        are_pinned = are_pinned && list[i]->is_pinned;
    for (size_t i = 0; may && i < count; i++)
        pin(segments, list[i]);
    pthread_mutex_unlock(&segments->lock);
    return may || are_pinned;
}

const uint8_t *segment_at(const struct segment *segment, uint64_t offset, uint64_t length) {
    if (offset > segment->bytes || length > segment->bytes - offset)
        return NULL;
    return segment->base + offset;
}

static int populate(const struct segments *segments, const struct segment *segment, uint64_t offset, uint64_t length) {
    /* A mapping begins on a page, so the offset tells the page as well as the address does. */
    uint64_t before = offset % segments->page_bytes;
    void *begin = (void *)(uintptr_t)(segment->base + (offset - before));
    while (madvise(begin, (size_t)(length + before), MADV_POPULATE_READ) != 0) {
        if (errno == EINTR || errno == EAGAIN)
            continue;
        /* A kernel before 5.14: reads fault the pages in, as any mapping does. */
        return errno == EINVAL ? 0 : errno;
    }
    return 0;
}

static bool is_trusted(const struct segment *segment, uint64_t block, uint32_t now) {
    uint32_t last = __atomic_load_n(&segment->populated[block], __ATOMIC_RELAXED);
    return last != 0 && now - last <= TRUSTED_SECONDS;
}

int segments_populate(const struct segments *segments, const struct segment *segment, uint64_t offset,
                      uint64_t length) {
    if (length < BLOCK_BYTES || segment->populated == NULL)
        return length == 0 ? 0 : populate(segments, segment, offset, length);
    uint32_t now = (uint32_t)(clock_now() / NANOSECONDS_IN_SECOND) + 1;
    uint64_t block = offset / BLOCK_BYTES, end = (offset + length - 1) / BLOCK_BYTES + 1;
    while (block < end) {
        uint64_t first = block++;
        if (is_trusted(segment, first, now))
            continue;
        while (block < end && !is_trusted(segment, block, now))
            block++;
        uint64_t begin = first * BLOCK_BYTES, stop = block * BLOCK_BYTES;
        int cause = populate(segments, segment, begin, (stop < segment->bytes ? stop : segment->bytes) - begin);
        if (cause != 0)
            return cause;
        for (uint64_t i = first; i < block; i++)
            __atomic_store_n(&segment->populated[i], now, __ATOMIC_RELAXED);
    }
    return 0;
}
