#define _GNU_SOURCE
#include "CKamlSys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

const int kaml_open_direct = O_DIRECT;

ssize_t kaml_getdents64(int fd, void *buffer, size_t length) {
    return syscall(SYS_getdents64, fd, buffer, length);
}

int kaml_open_beneath(int directory, const char *path, int flags, mode_t mode) {
    struct open_how how = {
        .flags = (uint64_t)flags | O_CLOEXEC,
        .mode = (flags & O_CREAT) ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

ssize_t kaml_flistxattr(int fd, void *names, size_t length) { return flistxattr(fd, names, length); }

ssize_t kaml_fgetxattr(int fd, const char *name, void *value, size_t length) {
    return fgetxattr(fd, name, value, length);
}

int kaml_fsetxattr(int fd, const char *name, const void *value, size_t length) {
    return fsetxattr(fd, name, value, length, 0);
}

void kaml_set_thread_name(const char *name) {
    char kept[16];
    strncpy(kept, name, sizeof kept - 1);
    kept[sizeof kept - 1] = '\0';
    pthread_setname_np(pthread_self(), kept);
}

int kaml_start_writeback(int fd, uint64_t offset, uint64_t length) {
    return sync_file_range(fd, (off64_t)offset, (off64_t)length, SYNC_FILE_RANGE_WRITE);
}

int kaml_rename_exclusively(const char *from, const char *to) {
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
}

int kaml_receive_descriptor(int socket) {
    char byte;
    int descriptors[KAML_MESSAGE_DESCRIPTORS];
    size_t count;
    if (kaml_receive_message(socket, &byte, 1, descriptors, &count) < 0) return -1;
    if (count == 1) return descriptors[0];
    while (count > 0) close(descriptors[--count]);
    errno = EPROTO;
    return -1;
}

int kaml_make_sealed_file(const char *name, const void *bytes, size_t length) {
    int file = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0) return -1;
    size_t done = 0;
    while (done < length) {
        ssize_t written = write(file, (const char *)bytes + done, length - done);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) break;
        done += (size_t)written;
    }
    if (done == length && fcntl(file, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0)
        return file;
    int error = errno;
    close(file);
    errno = error;
    return -1;
}

// Debian 12's headers stop at protocol 7.38, so the two requests are spelled out.
struct kaml_backing_map {
    int32_t fd;
    uint32_t flags;
    uint64_t padding;
};
#define KAML_FUSE_BACKING_OPEN _IOW(229, 1, struct kaml_backing_map)
#define KAML_FUSE_BACKING_CLOSE _IOW(229, 2, uint32_t)

int kaml_fuse_backing_open(int fuse_fd, int backing_fd) {
    struct kaml_backing_map map = {.fd = backing_fd};
    return ioctl(fuse_fd, KAML_FUSE_BACKING_OPEN, &map);
}

int kaml_fuse_backing_close(int fuse_fd, int backing_id) {
    uint32_t id = (uint32_t)backing_id;
    return ioctl(fuse_fd, KAML_FUSE_BACKING_CLOSE, &id);
}

int kaml_unix_socket(int type) { return socket(AF_UNIX, type | SOCK_CLOEXEC, 0); }

int kaml_unix_accept(int socket) { return accept4(socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); }

static int unix_address(const char *path, size_t length, struct sockaddr_un *address, socklen_t *size) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (length == 0 || length >= sizeof address->sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address->sun_path, path, length);
    // An abstract name has no end but its length.
    if (address->sun_path[0] == '@') address->sun_path[0] = '\0';
    else length += 1;
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return 0;
}

int kaml_unix_bind(int socket, const char *path, size_t length) {
    struct sockaddr_un address;
    socklen_t size;
    if (unix_address(path, length, &address, &size) < 0) return -1;
    return bind(socket, (struct sockaddr *)&address, size);
}

int kaml_unix_connect(int socket, const char *path, size_t length) {
    struct sockaddr_un address;
    socklen_t size;
    if (unix_address(path, length, &address, &size) < 0) return -1;
    return connect(socket, (struct sockaddr *)&address, size);
}

int64_t kaml_unix_peer(int socket, int32_t *process) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return -1;
    *process = peer.pid;
    return peer.uid;
}

int64_t kaml_unix_peer_group(int socket) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return -1;
    return peer.gid;
}

// Debian 12's headers lack it.
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

int kaml_unix_peer_process(int socket) {
    int process;
    socklen_t size = sizeof process;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &process, &size) < 0) return -1;
    return process;
}

int kaml_socket_timeout(int socket, uint32_t milliseconds) {
    struct timeval time = {.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
    if (setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) < 0) return -1;
    return setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

union control {
    struct cmsghdr header;
    char space[CMSG_SPACE(KAML_MESSAGE_DESCRIPTORS * sizeof(int))];
};

ssize_t kaml_send_message(int socket, const void *bytes, size_t length, const int *descriptors, size_t count) {
    struct iovec body = {.iov_base = (void *)bytes, .iov_len = length};
    union control control = {0};
    struct msghdr message = {.msg_iov = &body, .msg_iovlen = 1};
    if (count > KAML_MESSAGE_DESCRIPTORS) {
        errno = EMSGSIZE;
        return -1;
    }
    if (count > 0) {
        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(cmsg), descriptors, count * sizeof(int));
    }
    ssize_t sent;
    do sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

ssize_t kaml_receive_message(int socket, void *bytes, size_t length, int *descriptors, size_t *count) {
    struct iovec body = {.iov_base = bytes, .iov_len = length};
    union control control = {0};
    struct msghdr message = {
        .msg_iov = &body, .msg_iovlen = 1,
        .msg_control = control.space, .msg_controllen = sizeof control.space,
    };
    *count = 0;
    ssize_t received;
    do received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (received < 0 && errno == EINTR);
    if (received < 0) return -1;
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message); cmsg; cmsg = CMSG_NXTHDR(&message, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) continue;
        size_t here = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here; i++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(cmsg) + i * sizeof(int), sizeof descriptor);
            if (*count < KAML_MESSAGE_DESCRIPTORS) descriptors[(*count)++] = descriptor;
            else close(descriptor);
        }
    }
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        while (*count > 0) close(descriptors[--*count]);
        errno = EMSGSIZE;
        return -1;
    }
    return received;
}

int kaml_sealed_memory(const char *name, uint64_t bytes) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -1;
    if (ftruncate(fd, (off_t)bytes) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int kaml_has_size_seals(int fd) {
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK) && (seals & F_SEAL_GROW);
}

int kaml_file_system_of(const char *path, struct kaml_file_system *answer) {
    struct statfs found;
    if (statfs(path, &found) < 0) return -1;
    *answer = (struct kaml_file_system){
        // The magic numbers are 32 bits; the field is signed and wider.
        .type = (uint32_t)found.f_type,
        .block_size = (uint64_t)found.f_bsize,
        .blocks = found.f_blocks,
        .available_blocks = found.f_bavail,
        .inodes = found.f_files,
        .free_inodes = found.f_ffree,
    };
    return 0;
}

int64_t kaml_raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -1;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) return -1;
    return limit.rlim_cur == RLIM_INFINITY ? INT64_MAX : (int64_t)limit.rlim_cur;
}

int kaml_forbid_dumps(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }
