#include "mappings.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct mappings {
    unsigned references;
    pthread_mutex_t lock;
    /* By device and inode. */
    struct mapping *items;
    size_t count;
    size_t capacity;
};

struct mappings *mappings_create(void) {
    struct mappings *made = calloc(1, sizeof *made);
    if (made == NULL)
        return NULL;
    made->references = 1;
    pthread_mutex_init(&made->lock, NULL);
    return made;
}

struct mappings *mappings_retain(struct mappings *mappings) {
    __atomic_add_fetch(&mappings->references, 1, __ATOMIC_RELAXED);
    return mappings;
}

void mappings_release(struct mappings *mappings) {
    if (mappings == NULL || __atomic_sub_fetch(&mappings->references, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    for (size_t i = 0; i < mappings->count; i++)
        free(mappings->items[i].populated);
    free(mappings->items);
    pthread_mutex_destroy(&mappings->lock);
    free(mappings);
}

static bool is_before(const struct mapping *item, dev_t device, ino_t inode) {
    return item->device != device ? item->device < device : item->inode < inode;
}

/* Index of the first item that does not come before the file. */
static size_t place_of(const struct mappings *mappings, dev_t device, ino_t inode) {
    size_t low = 0, high = mappings->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (is_before(&mappings->items[middle], device, inode))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct mappings *mappings, size_t place, dev_t device, ino_t inode) {
    return place < mappings->count && mappings->items[place].device == device && mappings->items[place].inode == inode;
}

bool mappings_find(struct mappings *mappings, dev_t device, ino_t inode, uint64_t bytes, struct mapping *mapping) {
    pthread_mutex_lock(&mappings->lock);
    size_t place = place_of(mappings, device, inode);
    bool is_found = is_at(mappings, place, device, inode) && mappings->items[place].bytes >= bytes;
    if (is_found)
        *mapping = mappings->items[place];
    pthread_mutex_unlock(&mappings->lock);
    return is_found;
}

static bool reserve(struct mappings *mappings) {
    const size_t first = 16;
    if (mappings->count < mappings->capacity)
        return true;
    size_t capacity = mappings->capacity == 0 ? first : mappings->capacity * 2;
    struct mapping *items = realloc(mappings->items, capacity * sizeof *items);
    if (items == NULL)
        return false;
    mappings->items = items;
    mappings->capacity = capacity;
    return true;
}

bool mappings_add(struct mappings *mappings, const struct mapping *mapping) {
    pthread_mutex_lock(&mappings->lock);
    size_t place = place_of(mappings, mapping->device, mapping->inode);
    bool is_new = !is_at(mappings, place, mapping->device, mapping->inode) && reserve(mappings);
    if (is_new) {
        memmove(&mappings->items[place + 1], &mappings->items[place],
                (mappings->count - place) * sizeof *mappings->items);
        mappings->items[place] = *mapping;
        mappings->count++;
    }
    pthread_mutex_unlock(&mappings->lock);
    return is_new;
}
