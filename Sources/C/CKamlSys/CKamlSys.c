#define _GNU_SOURCE
#include "CKamlSys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
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
    struct iovec body = {.iov_base = &byte, .iov_len = 1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {
        .msg_iov = &body, .msg_iovlen = 1,
        .msg_control = control.space, .msg_controllen = sizeof control.space,
    };
    ssize_t received;
    do received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (received < 0 && errno == EINTR);
    if (received < 0) return -1;
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
    if (!cmsg || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS ||
        cmsg->cmsg_len != CMSG_LEN(sizeof(int))) {
        errno = EPROTO;
        return -1;
    }
    int descriptor;
    memcpy(&descriptor, CMSG_DATA(cmsg), sizeof descriptor);
    return descriptor;
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
