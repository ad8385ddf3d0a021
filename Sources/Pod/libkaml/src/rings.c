#define _GNU_SOURCE
#include "rings.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"

/* Looks at the ring before a thread goes to sleep, which costs more than a batch takes to come when the agent is ahead. */
#define SPINS 200

static void *map(int descriptor, int protection, size_t *bytes) {
    struct stat status;
    if (fstat(descriptor, &status) != 0 || status.st_size < KAML_FEED_HEADER_BYTES ||
        (uint64_t)status.st_size > KAML_FEED_HEADER_BYTES + (uint64_t)KAML_FEED_MOST_SLOTS * KAML_FEED_DESCRIPTOR_BYTES * 2)
        return NULL;
    /* What the agent could cut off under a reader would be a SIGBUS. */
    int seals = fcntl(descriptor, F_GET_SEALS);
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0)
        return NULL;
    *bytes = (size_t)status.st_size;
    void *base = mmap(NULL, *bytes, protection, MAP_SHARED, descriptor, 0);
    return base == MAP_FAILED ? NULL : base;
}

static bool is_right(uint32_t magic, uint32_t wanted, uint32_t version, uint32_t slots, size_t slot_bytes, size_t bytes) {
    return magic == wanted && version == KAML_FEED_VERSION && slots > 0 && slots <= KAML_FEED_MOST_SLOTS &&
           (slots & (slots - 1)) == 0 && bytes >= KAML_FEED_HEADER_BYTES + (size_t)slots * slot_bytes;
}

enum kaml_code rings_open(struct rings *rings, int completion, int submission, int event, struct kaml_error *error) {
    *rings = (struct rings){.event = -1};
    rings->completion = map(completion, PROT_READ, &rings->completion_bytes);
    rings->submission = map(submission, PROT_READ | PROT_WRITE, &rings->submission_bytes);
    if (rings->completion == NULL || rings->submission == NULL) {
        rings_close(rings);
        return failure_protocol(error, "a ring that cannot be mapped");
    }
    uint32_t completion_slots = __atomic_load_n(&rings->completion->slots, __ATOMIC_RELAXED);
    uint32_t submission_slots = __atomic_load_n(&rings->submission->slots, __ATOMIC_RELAXED);
    if (!is_right(rings->completion->magic, KAML_FEED_MAGIC_COMPLETION, rings->completion->version, completion_slots,
                  KAML_FEED_DESCRIPTOR_BYTES, rings->completion_bytes) ||
        !is_right(rings->submission->magic, KAML_FEED_MAGIC_SUBMISSION, rings->submission->version, submission_slots,
                  KAML_FEED_ENTRY_BYTES, rings->submission_bytes)) {
        rings_close(rings);
        return failure_protocol(error, "a ring with another header than version %d has", KAML_FEED_VERSION);
    }
    rings->completion_slots = completion_slots;
    rings->submission_slots = submission_slots;
    rings->event = event;
    return KAML_OK;
}

void rings_close(struct rings *rings) {
    if (rings->completion != NULL)
        munmap((void *)(uintptr_t)rings->completion, rings->completion_bytes);
    if (rings->submission != NULL)
        munmap(rings->submission, rings->submission_bytes);
    if (rings->event >= 0)
        close(rings->event);
    *rings = (struct rings){.event = -1};
}

enum rings_news rings_take(struct rings *rings, struct kaml_descriptor *descriptor) {
    uint64_t tail = __atomic_load_n(&rings->completion->tail, __ATOMIC_ACQUIRE);
    if (tail == rings->taken)
        return RINGS_NOTHING;
    if (tail - rings->taken > rings->completion_slots)
        return RINGS_FAULT;
    const uint8_t *slots = (const uint8_t *)rings->completion + KAML_FEED_HEADER_BYTES;
    memcpy(descriptor, slots + (rings->taken & (rings->completion_slots - 1)) * KAML_FEED_DESCRIPTOR_BYTES,
           sizeof *descriptor);
    rings->taken++;
    return RINGS_DESCRIPTOR;
}

void rings_acknowledge(struct rings *rings) {
    __atomic_store_n(&rings->submission->taken, rings->taken, __ATOMIC_RELEASE);
}

static bool has_news(const struct rings *rings) {
    return __atomic_load_n(&rings->completion->tail, __ATOMIC_ACQUIRE) != rings->taken;
}

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

bool rings_wait(struct rings *rings, uint64_t nanoseconds) {
    for (int i = 0; i < SPINS; i++) {
        if (has_news(rings))
            return true;
        relax();
    }
    if (nanoseconds == 0)
        return has_news(rings);
    struct timespec timeout = clock_timespec(nanoseconds);
    __atomic_store_n(&rings->submission->pod_sleeps, 1, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!has_news(rings))
        (void)syscall(SYS_futex, &rings->completion->wake, FUTEX_WAIT, (uint32_t)rings->taken, &timeout, NULL, 0);
    __atomic_store_n(&rings->submission->pod_sleeps, 0, __ATOMIC_RELEASE);
    return has_news(rings);
}

bool rings_submit(struct rings *rings, const struct kaml_submission *entry) {
    uint64_t agent_taken = __atomic_load_n(&rings->completion->taken, __ATOMIC_ACQUIRE);
    if (rings->submitted - agent_taken >= rings->submission_slots)
        return false;
    uint8_t *slots = (uint8_t *)rings->submission + KAML_FEED_HEADER_BYTES;
    memcpy(slots + (rings->submitted & (rings->submission_slots - 1)) * KAML_FEED_ENTRY_BYTES, entry, sizeof *entry);
    rings->submitted++;
    __atomic_store_n(&rings->submission->tail, rings->submitted, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&rings->completion->agent_sleeps, __ATOMIC_RELAXED) != 0) {
        const uint64_t one = 1;
        ssize_t written;
        do
            written = write(rings->event, &one, sizeof one);
        while (written < 0 && errno == EINTR);
        /* EAGAIN means that the event's counter is full, so the agent is being woken anyway. */
    }
    return true;
}
