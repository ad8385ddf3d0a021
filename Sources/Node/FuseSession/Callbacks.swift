import CFuse3
import FuseMount
import DatasetFS
import Glibc
import System

/// The functions libfuse calls, as plain C functions: each finds the session in the request and goes on in
/// an extension of `SessionCore`.
///
/// Made here, in nonisolated code: a closure from main.swift would be isolated to the main actor and trap on
/// a worker's thread.
enum Callbacks {
    static func table() -> fuse_lowlevel_ops {
        var table = fuse_lowlevel_ops()
        addConnection(&table)
        addNames(&table)
        addFiles(&table)
        addRefusals(&table)
        // Left out on purpose, answered ENOSYS by libfuse, which the kernel asks once and remembers: flush,
        // fsync, access (default_permissions decides), lseek, poll, ioctl, bmap. forget is free.
        return table
    }

    private static func addConnection(_ table: inout fuse_lowlevel_ops) {
        unsafe table.`init` = { _, connection in
            if let connection = unsafe connection { unsafe negotiate(&connection.pointee) }
        }
        unsafe table.statfs = { request, _ in unsafe serve(request) { unsafe $0.replyStatistics($1) } }
        unsafe table.forget = { request, _, _ in
            if let request = unsafe request { unsafe fuse_reply_none(request) }
        }
        unsafe table.forget_multi = { request, _, _ in
            if let request = unsafe request { unsafe fuse_reply_none(request) }
        }
    }

    private static func addNames(_ table: inout fuse_lowlevel_ops) {
        unsafe table.lookup = { request, parent, name in
            unsafe serve(request) { unsafe $0.lookUp($1, Inode(rawValue: parent), name) }
        }
        unsafe table.getattr = { request, inode, _ in
            unsafe serve(request) { unsafe $0.replyAttributes($1, Inode(rawValue: inode)) }
        }
        unsafe table.readlink = { request, inode in
            unsafe serve(request) { unsafe $0.replyLink($1, Inode(rawValue: inode)) }
        }
        // The kernel then asks no more, and keeps listings in its page cache.
        unsafe table.opendir = { request, _, _ in unsafe refuse(request, ENOSYS) }
        unsafe table.readdir = { request, inode, size, offset, _ in
            unsafe serve(request) {
                unsafe $0.replyListing($1, Inode(rawValue: inode), size, offset, withAttributes: false)
            }
        }
        unsafe table.readdirplus = { request, inode, size, offset, _ in
            unsafe serve(request) {
                unsafe $0.replyListing($1, Inode(rawValue: inode), size, offset, withAttributes: true)
            }
        }
        unsafe table.getxattr = { request, inode, name, size in
            unsafe serve(request) { unsafe $0.replyExtendedAttribute($1, Inode(rawValue: inode), name, size) }
        }
        unsafe table.listxattr = { request, inode, size in
            unsafe serve(request) { unsafe $0.replyExtendedAttributeNames($1, Inode(rawValue: inode), size) }
        }
    }

    private static func addFiles(_ table: inout fuse_lowlevel_ops) {
        unsafe table.open = { request, inode, info in
            unsafe serve(request) { core, request in
                if core.profile == .zeroMessageOpen {
                    unsafe fuse_reply_err(request, ENOSYS)
                } else {
                    unsafe core.open(request, Inode(rawValue: inode), flags: info?.pointee.flags ?? 0)
                }
            }
        }
        unsafe table.release = { request, inode, info in
            unsafe serve(request) {
                unsafe $0.release($1, Inode(rawValue: inode), handle: info?.pointee.fh ?? 0)
            }
        }
        unsafe table.read = { request, inode, size, offset, _ in
            unsafe serve(request) { unsafe $0.read($1, Inode(rawValue: inode), size, offset) }
        }
    }

    /// The mount is read-only, so the kernel refuses these itself; this is for a mount that was made
    /// writable by other hands.
    private static func addRefusals(_ table: inout fuse_lowlevel_ops) {
        unsafe table.setattr = { request, _, _, _, _ in unsafe refuse(request, EROFS) }
        unsafe table.mknod = { request, _, _, _, _ in unsafe refuse(request, EROFS) }
        unsafe table.mkdir = { request, _, _, _ in unsafe refuse(request, EROFS) }
        unsafe table.unlink = { request, _, _ in unsafe refuse(request, EROFS) }
        unsafe table.rmdir = { request, _, _ in unsafe refuse(request, EROFS) }
        unsafe table.symlink = { request, _, _, _ in unsafe refuse(request, EROFS) }
        unsafe table.rename = { request, _, _, _, _, _ in unsafe refuse(request, EROFS) }
        unsafe table.link = { request, _, _, _ in unsafe refuse(request, EROFS) }
        unsafe table.write = { request, _, _, _, _, _ in unsafe refuse(request, EROFS) }
        unsafe table.setxattr = { request, _, _, _, _, _ in unsafe refuse(request, EROFS) }
        unsafe table.removexattr = { request, _, _ in unsafe refuse(request, EROFS) }
        unsafe table.create = { request, _, _, _, _ in unsafe refuse(request, EROFS) }
        unsafe table.fallocate = { request, _, _, _, _, _ in unsafe refuse(request, EROFS) }
        unsafe table.copy_file_range = { request, _, _, _, _, _, _, _, _ in unsafe refuse(request, EROFS) }
    }
}

// Functions of the file, not of the type: a C function pointer cannot capture the type.

@inline(__always)
private func serve(_ request: fuse_req_t?, _ body: (SessionCore, fuse_req_t) -> Void) {
    guard let request = unsafe request, let userdata = unsafe fuse_req_userdata(request) else { return }
    unsafe Unmanaged<SessionCore>.fromOpaque(userdata)._withUnsafeGuaranteedRef { unsafe body($0, request) }
}

private func refuse(_ request: fuse_req_t?, _ error: Int32) {
    if let request = unsafe request { unsafe fuse_reply_err(request, error) }
}

/// Chooses what to have of what the kernel offers. libfuse fills in defaults for file systems that
/// change; this one never does.
private func negotiate(_ connection: inout fuse_conn_info) {
    let wanted =
        FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS
        | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_NO_OPENDIR_SUPPORT
        | FUSE_CAP_EXPLICIT_INVAL_DATA
    connection.want = connection.capable & UInt32(wanted)
    connection.max_read = UInt32(Mounter.maxReadBytes)
    connection.max_write = UInt32(Mounter.maxReadBytes)
    // max_readahead stays what the kernel offers. Its read-ahead requests count as background ones, of
    // which the default of 12 is soon used up by several readers with megabytes of read-ahead each.
    connection.max_background = 128
    connection.congestion_threshold = 96
    connection.time_gran = 1
}
