import CFuse3
import DatasetFS
import Glibc
import System

/// readdir and readdirplus.
extension SessionCore {
    func replyListing(
        _ request: fuse_req_t, _ directory: Inode, _ size: Int, _ offset: off_t, withAttributes: Bool
    ) {
        guard let cookie = UInt64(exactly: offset) else {
            unsafe fuse_reply_err(request, EINVAL)
            return
        }
        ListingBuffer.use { buffer in
            var listing = unsafe Listing(
                request: request, room: min(size, buffer.bytes.count), withAttributes: withAttributes)
            do throws(Errno) {
                try operations.list(directory, from: cookie) { entry in listing.add(entry, buffer) }
            } catch {
                // What fits was read before the error; the caller gets it first and the error next time.
                if listing.used == 0 {
                    unsafe fuse_reply_err(request, error.rawValue)
                    return
                }
            }
            unsafe Self.reply(request, UnsafeRawBufferPointer(rebasing: buffer.bytes[..<listing.used]))
        }
    }
}

/// A reply to readdir being put together.
@safe private struct Listing {
    let request: fuse_req_t
    let room: Int
    let withAttributes: Bool
    var used = 0

    /// `false` when the entry does not fit.
    mutating func add(_ entry: borrowing ListedEntry, _ buffer: ListingBuffer) -> Bool {
        let length = unsafe entry.name.count
        // A name that no lookup could name again is not shown; nor a place that telldir(3) cannot tell.
        guard length > 0, length <= Limits.nameBytes, let next = off_t(exactly: entry.nextCookie) else {
            return true
        }
        unsafe UnsafeMutableRawBufferPointer(buffer.name).copyMemory(from: entry.name)
        unsafe buffer.name[length] = 0
        let target = unsafe buffer.bytes.baseAddress.map {
            unsafe ($0 + used).assumingMemoryBound(to: CChar.self)
        }
        let needed: Int
        if withAttributes {
            var parameters = fuse_entry_param()
            SessionCore.fill(&parameters, entry.attributes)
            // The kernel looks up neither, so no inode is handed out for them.
            if unsafe Self.isDots(entry.name) { parameters.ino = 0 }
            needed = unsafe fuse_add_direntry_plus(
                request, target, room - used, buffer.name.baseAddress, &parameters, next)
        } else {
            var status = stat()
            status.st_ino = UInt(entry.attributes.inode.rawValue)
            status.st_mode = entry.attributes.mode
            needed = unsafe fuse_add_direntry(
                request, target, room - used, buffer.name.baseAddress, &status, next)
        }
        guard needed <= room - used else { return false }
        used += needed
        return true
    }

    private static func isDots(_ name: UnsafeRawBufferPointer) -> Bool {
        let dot = UInt8(ascii: ".")
        return unsafe (name.count == 1 && name[0] == dot)
            || (name.count == 2 && name[0] == dot && name[1] == dot)
    }
}
