#define _GNU_SOURCE
#include "CKamlSys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

int kaml_shared_memory(const char *name, uint64_t bytes) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -1;
    if (ftruncate(fd, (off_t)bytes) == 0) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int kaml_seal_shared_memory(int fd, int stays_writable) {
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    return fcntl(fd, F_ADD_SEALS, stays_writable ? seals : seals | F_SEAL_FUTURE_WRITE);
}

int kaml_wake_sleepers(const void *word) {
    return (int)syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

int kaml_make_event(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

int kaml_signal_event(int event) {
    uint64_t one = 1;
    return write(event, &one, sizeof one) == sizeof one ? 0 : -1;
}

int kaml_make_poller(void) { return epoll_create1(EPOLL_CLOEXEC); }

static struct epoll_event wanted(uint32_t events, uint64_t key) {
    uint32_t bits = EPOLLRDHUP;
    if (events & KAML_POLL_READ) bits |= EPOLLIN;
    if (events & KAML_POLL_WRITE) bits |= EPOLLOUT;
    if (events & KAML_POLL_EDGE) bits |= EPOLLET;
    return (struct epoll_event){.events = bits, .data.u64 = key};
}

int kaml_poller_add(int poller, int fd, uint32_t events, uint64_t key) {
    struct epoll_event event = wanted(events, key);
    return epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

int kaml_poller_change(int poller, int fd, uint32_t events, uint64_t key) {
    struct epoll_event event = wanted(events, key);
    return epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
}

int kaml_poller_remove(int poller, int fd) {
    struct epoll_event event = {0};
    return epoll_ctl(poller, EPOLL_CTL_DEL, fd, &event);
}

int kaml_poller_wait(int poller, struct kaml_poll_answer *answers, int capacity, int milliseconds) {
    struct epoll_event events[64];
    if (capacity > 64) capacity = 64;
    int count = epoll_wait(poller, events, capacity, milliseconds);
    if (count < 0) return errno == EINTR ? 0 : -1;
    for (int i = 0; i < count; i++) {
        uint32_t bits = 0;
        if (events[i].events & EPOLLIN) bits |= KAML_POLL_READ;
        if (events[i].events & EPOLLOUT) bits |= KAML_POLL_WRITE;
        if (events[i].events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)) bits |= KAML_POLL_END;
        answers[i] = (struct kaml_poll_answer){.key = events[i].data.u64, .events = bits};
    }
    return count;
}

int kaml_read_only_tree(int directory) {
    int tree = open_tree(directory, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (tree < 0) return -1;
    struct mount_attr attributes = {
        .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
    };
    if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) == 0) return tree;
    int error = errno;
    close(tree);
    errno = error;
    return -1;
}
