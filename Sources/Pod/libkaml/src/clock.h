/* Points in time: nanoseconds of CLOCK_MONOTONIC. */
#ifndef KAML_CLOCK_H
#define KAML_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NANOSECONDS_IN_SECOND UINT64_C(1000000000)
#define NANOSECONDS_IN_MILLISECOND UINT64_C(1000000)

static inline uint64_t clock_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NANOSECONDS_IN_SECOND + (uint64_t)now.tv_nsec;
}

/* Saturates, so that UINT64_MAX waits for ever. */
static inline uint64_t clock_after(uint64_t nanoseconds) {
    uint64_t now = clock_now();
    return nanoseconds > UINT64_MAX - now ? UINT64_MAX : now + nanoseconds;
}

static inline uint64_t clock_left(uint64_t deadline) {
    uint64_t now = clock_now();
    return deadline > now ? deadline - now : 0;
}

static inline struct timespec clock_timespec(uint64_t nanoseconds) {
    /* Beyond what time_t holds nobody waits. */
    const uint64_t most = UINT64_C(1) << 62;
    if (nanoseconds > most)
        nanoseconds = most;
    return (struct timespec){
        .tv_sec = (time_t)(nanoseconds / NANOSECONDS_IN_SECOND),
        .tv_nsec = (long)(nanoseconds % NANOSECONDS_IN_SECOND),
    };
}

/* Whole milliseconds for poll(), rounded up, at most `most`. */
static inline int clock_poll_timeout(uint64_t nanoseconds, int most) {
    uint64_t milliseconds = nanoseconds / NANOSECONDS_IN_MILLISECOND + (nanoseconds % NANOSECONDS_IN_MILLISECOND != 0);
    return milliseconds > (uint64_t)most ? most : (int)milliseconds;
}

#endif
