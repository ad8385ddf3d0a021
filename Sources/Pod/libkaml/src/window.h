/* Batches that the agent has published and nobody has taken yet, by the stream's positions. Pure: no I/O, no locks. */
#ifndef KAML_WINDOW_H
#define KAML_WINDOW_H

#include "failure.h"
#include "kaml_feed.h"

struct lease;

struct published {
    /* Of the stream, not of the session. */
    uint64_t position;
    /* A batch's; NULL for what failed. */
    struct lease *lease;
    struct kaml_descriptor descriptor;
    /* What failed; NULL for a batch. */
    struct kaml_error *trouble;
};

struct window {
    /* In the order they came; positions rise but where a session followed another one's seek. */
    struct published *items;
    size_t count;
    size_t capacity;
};

/* False when there is no memory. */
bool window_put(struct window *window, const struct published *item);
/* Takes the item at `position` out. */
bool window_take(struct window *window, uint64_t position, struct published *item);
bool window_has(const struct window *window, uint64_t position);
/* Takes out the lowest item that is below `limit`. */
bool window_take_lowest(struct window *window, uint64_t limit, struct published *item);
struct published *window_at(const struct window *window, uint64_t position);
void window_destroy(struct window *window);

/* What a stream does about a position that somebody asks for. `next` is the position that the session publishes next,
 * `room` how many batches may be out at a time. */
enum wish {
    /* It is in the window. */
    WISH_READY,
    /* It will be published without anything being done. */
    WISH_COMING,
    /* The session must begin anew from there. */
    WISH_SEEK,
};
enum wish window_judge(const struct window *window, uint64_t position, uint64_t next, uint64_t room);

#endif
