#include "window.h"

#include <stdlib.h>
#include <string.h>

bool window_put(struct window *window, const struct published *item) {
    const size_t first = 16;
    if (window->count == window->capacity) {
        size_t capacity = window->capacity == 0 ? first : window->capacity * 2;
        struct published *items = realloc(window->items, capacity * sizeof *items);
        if (items == NULL)
            return false;
        window->items = items;
        window->capacity = capacity;
    }
    window->items[window->count++] = *item;
    return true;
}

struct published *window_at(const struct window *window, uint64_t position) {
    for (size_t i = 0; i < window->count; i++)
        if (window->items[i].position == position)
            return &window->items[i];
    return NULL;
}

bool window_has(const struct window *window, uint64_t position) { return window_at(window, position) != NULL; }

static void remove_at(struct window *window, struct published *place) {
    size_t index = (size_t)(place - window->items);
    window->count--;
    memmove(place, place + 1, (window->count - index) * sizeof *place);
}

bool window_take(struct window *window, uint64_t position, struct published *item) {
    struct published *place = window_at(window, position);
    if (place == NULL)
        return false;
    *item = *place;
    remove_at(window, place);
    return true;
}

bool window_take_lowest(struct window *window, uint64_t limit, struct published *item) {
    struct published *lowest = NULL;
    for (size_t i = 0; i < window->count; i++)
        if (window->items[i].position < limit && (lowest == NULL || window->items[i].position < lowest->position))
            lowest = &window->items[i];
    if (lowest == NULL)
        return false;
    *item = *lowest;
    remove_at(window, lowest);
    return true;
}

void window_destroy(struct window *window) {
    free(window->items);
    *window = (struct window){0};
}

enum wish window_judge(const struct window *window, uint64_t position, uint64_t next, uint64_t room) {
    if (window_has(window, position))
        return WISH_READY;
    return position >= next && position - next < room ? WISH_COMING : WISH_SEEK;
}
