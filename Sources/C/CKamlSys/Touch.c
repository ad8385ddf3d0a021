#define _GNU_SOURCE
#include "CKamlSys.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

/* Where a thread that touches goes on when a page cannot be read. */
static __thread sigjmp_buf *touching;
static struct sigaction before;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void on_bus_error(int signal, siginfo_t *information, void *context) {
    (void)signal, (void)information, (void)context;
    if (touching) siglongjmp(*touching, 1);
    /* Not ours: the access happens again, with the handling that was there. */
    sigaction(SIGBUS, &before, NULL);
}

static void install(void) {
    /* SA_NODEFER: the jump leaves the handler without unblocking the signal. */
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &before);
}

int kaml_touch(const struct iovec *pieces, size_t count) {
    pthread_once(&once, install);
    sigjmp_buf place;
    if (sigsetjmp(place, 0)) {
        touching = NULL;
        return -1;
    }
    touching = &place;
    for (size_t i = 0; i < count; i++) {
        const volatile char *bytes = pieces[i].iov_base;
        size_t length = pieces[i].iov_len;
        if (length == 0) continue;
        for (size_t at = 0; at < length; at += 4096) (void)bytes[at];
        (void)bytes[length - 1];
    }
    touching = NULL;
    return 0;
}

int kaml_copy(void *to, const void *from, size_t length) {
    pthread_once(&once, install);
    sigjmp_buf place;
    if (sigsetjmp(place, 0)) {
        touching = NULL;
        return -1;
    }
    touching = &place;
    memcpy(to, from, length);
    touching = NULL;
    return 0;
}
