// The few system interfaces that Swift cannot import: variadic calls, cmsg macros, ioctls, raw syscalls.
// Every function returns >= 0, or -1 with errno set, unless its comment says otherwise.
#ifndef CKAMLSYS_H
#define CKAMLSYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

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

// A file in memory with these bytes, that nobody can change any more (memfd_create(2), all seals of fcntl(2)).
int kaml_make_sealed_file(const char *name, const void *bytes, size_t length);

// FUSE passthrough (kernel 6.9, include/uapi/linux/fuse.h 7.40): registers `backing_fd` with the
// connection `fuse_fd`; returns the backing id. Needs CAP_SYS_ADMIN.
int kaml_fuse_backing_open(int fuse_fd, int backing_fd);
int kaml_fuse_backing_close(int fuse_fd, int backing_id);

// Unix sockets of type SOCK_SEQPACKET or SOCK_DGRAM (unix(7)), close-on-exec. A path that begins with '@' is abstract.
int kaml_unix_socket(int type);
int kaml_unix_bind(int socket, const char *path, size_t length);
// Non-blocking.
int kaml_unix_accept(int socket);
int kaml_unix_connect(int socket, const char *path, size_t length);

// The effective user at the other end of a connected Unix socket (SO_PEERCRED); in `process` its process id.
int64_t kaml_unix_peer(int socket, int32_t *process);

// Bounds how long send and receive block, in milliseconds (SO_SNDTIMEO, SO_RCVTIMEO).
int kaml_socket_timeout(int socket, uint32_t milliseconds);

// Sends one message with descriptors (SCM_RIGHTS), at most KAML_MESSAGE_DESCRIPTORS. No SIGPIPE.
#define KAML_MESSAGE_DESCRIPTORS 8
ssize_t kaml_send_message(int socket, const void *bytes, size_t length, const int *descriptors, size_t count);

// Receives one message; descriptors (close-on-exec) go to `descriptors`, their number to `count`. Returns the
// message's bytes, 0 at the end of the connection. -1 with EMSGSIZE for a message that is larger than `length` or
// brings more descriptors than KAML_MESSAGE_DESCRIPTORS; it is consumed then, and its descriptors are closed.
ssize_t kaml_receive_message(int socket, void *bytes, size_t length, int *descriptors, size_t *count);

// The effective group at the other end of a connected Unix socket (SO_PEERCRED).
int64_t kaml_unix_peer_group(int socket);

// A pidfd of the process at the other end, as it was when it connected (SO_PEERPIDFD, kernel 6.5).
int kaml_unix_peer_process(int socket);

// memfd_create(2) of `bytes` zeros, sealed against shrinking and growing.
int kaml_sealed_memory(const char *name, uint64_t bytes);

// Whether a descriptor is a memfd sealed against shrinking and growing: 1 or 0.
int kaml_has_size_seals(int fd);

// What statfs(2) tells of the file system that holds `path`, with the type that statvfs(3) leaves out.
struct kaml_file_system {
    uint64_t type;
    uint64_t block_size;
    uint64_t blocks, available_blocks;
    uint64_t inodes, free_inodes;
};
int kaml_file_system_of(const char *path, struct kaml_file_system *answer);

// Brings the pages of `pieces` in, by reading a byte of each. 0, or -1 when one cannot be read (a failing disk under a
// mapping), which is no SIGBUS then. From the first call on this process handles SIGBUS here; what was not raised by
// kaml_touch is handled as before.
int kaml_touch(const struct iovec *pieces, size_t count);

// Copies like memcpy(3), from a mapping whose disk may fail: -1 then, as kaml_touch, and `to` holds anything.
int kaml_copy(void *to, const void *from, size_t length);

// memfd_create(2) of `bytes` zeros, that cannot be executed where the kernel knows how (6.3), and can be sealed.
int kaml_shared_memory(const char *name, uint64_t bytes);

// Seals a memfd against shrinking, growing and further seals; unless `stays_writable`, against every way of writing but
// the mappings that are there (F_SEAL_FUTURE_WRITE).
int kaml_seal_shared_memory(int fd, int stays_writable);

// Wakes all who sleep on a word of shared memory (FUTEX_WAKE of futex(2), not private).
int kaml_wake_sleepers(const void *word);

// Words of memory that another process writes or reads meanwhile.
static inline uint64_t kaml_load64(const void *word) { return __atomic_load_n((const uint64_t *)word, __ATOMIC_ACQUIRE); }
static inline uint32_t kaml_load32(const void *word) { return __atomic_load_n((const uint32_t *)word, __ATOMIC_ACQUIRE); }
static inline void kaml_store64(void *word, uint64_t value) { __atomic_store_n((uint64_t *)word, value, __ATOMIC_RELEASE); }
static inline void kaml_store32(void *word, uint32_t value) { __atomic_store_n((uint32_t *)word, value, __ATOMIC_RELEASE); }
// Orders a store before a load of another word: neither of two who do so misses the other's store.
static inline void kaml_full_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// eventfd(2), non-blocking; kaml_signal_event adds 1.
int kaml_make_event(void);
int kaml_signal_event(int event);

// epoll(7). `events` are KAML_POLL_*; every answer has its `key`. wait returns how many there are: at most `capacity`, 0
// after the timeout (-1: none) or an interrupt.
#define KAML_POLL_READ 1u
#define KAML_POLL_WRITE 2u
#define KAML_POLL_END 4u  // the other end hung up, or the descriptor failed: always told
#define KAML_POLL_EDGE 8u // tells of each change once
int kaml_make_poller(void);
int kaml_poller_add(int poller, int fd, uint32_t events, uint64_t key);
int kaml_poller_change(int poller, int fd, uint32_t events, uint64_t key);
int kaml_poller_remove(int poller, int fd);
struct kaml_poll_answer {
    uint64_t key;
    uint32_t events;
};
int kaml_poller_wait(int poller, struct kaml_poll_answer *answers, int capacity, int milliseconds);

// A detached read-only copy of the mount below `directory` (open_tree(2), mount_setattr(2); no devices, no setuid, no
// execution): what is opened below it can be opened again for reading only. Needs CAP_SYS_ADMIN.
int kaml_read_only_tree(int directory);

// RLIMIT_NOFILE: raises the soft limit to the hard one; returns the limit now in force.
int64_t kaml_raise_descriptor_limit(void);

// PR_SET_DUMPABLE 0: no core of this process is written, and no process of the same user may look into it.
int kaml_forbid_dumps(void);

#endif
