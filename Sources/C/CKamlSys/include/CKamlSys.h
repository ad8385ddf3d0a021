// The few system interfaces that Swift cannot import: variadic calls, cmsg macros, ioctls, raw syscalls.
// Every function returns >= 0, or -1 with errno set, unless its comment says otherwise.
#ifndef CKAMLSYS_H
#define CKAMLSYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// getdents64(2): fills `buffer` with struct linux_dirent64 records; returns bytes, 0 at the end.
ssize_t kaml_getdents64(int fd, void *buffer, size_t length);

// openat2(2) below `directory` with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS.
int kaml_open_beneath(int directory, const char *path, int flags, mode_t mode);

// flistxattr(2) and fgetxattr(2), whose header Swift's Glibc module lacks.
ssize_t kaml_flistxattr(int fd, void *names, size_t length);
ssize_t kaml_fgetxattr(int fd, const char *name, void *value, size_t length);

// fsetxattr(2).
int kaml_fsetxattr(int fd, const char *name, const void *value, size_t length);

// O_DIRECT of open(2), which Swift does not see; its value differs by processor.
extern const int kaml_open_direct;

// Names the calling thread for ps, perf and gdb (at most 15 bytes are kept).
void kaml_set_thread_name(const char *name);

// Starts writeback of a range without waiting for it (sync_file_range(2), SYNC_FILE_RANGE_WRITE).
int kaml_start_writeback(int fd, uint64_t offset, uint64_t length);

// renameat2(2) with RENAME_NOREPLACE: EEXIST instead of replacing, EINVAL where not supported.
int kaml_rename_exclusively(const char *from, const char *to);

// Receives one descriptor over a Unix socket (SCM_RIGHTS, unix(7); close-on-exec); -1 with errno EPROTO when the message carried none.
int kaml_receive_descriptor(int socket);

// FUSE passthrough (kernel 6.9, include/uapi/linux/fuse.h 7.40): registers `backing_fd` with the
// connection `fuse_fd`; returns the backing id. Needs CAP_SYS_ADMIN.
int kaml_fuse_backing_open(int fuse_fd, int backing_fd);
int kaml_fuse_backing_close(int fuse_fd, int backing_id);

// What statfs(2) tells of the file system that holds `path`, with the type that statvfs(3) leaves out.
struct kaml_file_system {
    uint64_t type;
    uint64_t block_size;
    uint64_t blocks, available_blocks;
    uint64_t inodes, free_inodes;
};
int kaml_file_system_of(const char *path, struct kaml_file_system *answer);

// RLIMIT_NOFILE: raises the soft limit to the hard one; returns the limit now in force.
int64_t kaml_raise_descriptor_limit(void);

#endif
