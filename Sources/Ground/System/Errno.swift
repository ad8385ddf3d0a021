import Glibc

/// An errno(3) value, thrown by every wrapper of a system call in this module.
package struct Errno: Error, Hashable, Sendable, RawRepresentable, CustomStringConvertible {
    package let rawValue: Int32

    package init(rawValue: Int32) { self.rawValue = rawValue }

    /// The calling thread's errno. Read it before anything else can set it.
    package static var last: Errno { Errno(rawValue: errno) }

    package static let accessDenied = Errno(rawValue: EACCES)
    package static let alreadyExists = Errno(rawValue: EEXIST)
    package static let connectionReset = Errno(rawValue: ECONNRESET)
    package static let badAddress = Errno(rawValue: EFAULT)
    package static let busy = Errno(rawValue: EBUSY)
    package static let interrupted = Errno(rawValue: EINTR)
    package static let invalid = Errno(rawValue: EINVAL)
    package static let inputOutput = Errno(rawValue: EIO)
    package static let isDirectory = Errno(rawValue: EISDIR)
    package static let loop = Errno(rawValue: ELOOP)
    package static let noEntry = Errno(rawValue: ENOENT)
    package static let noSpace = Errno(rawValue: ENOSPC)
    package static let notDirectory = Errno(rawValue: ENOTDIR)
    package static let notPermitted = Errno(rawValue: EPERM)
    package static let notSupported = Errno(rawValue: ENOTSUP)
    package static let noData = Errno(rawValue: ENODATA)
    package static let noSystemCall = Errno(rawValue: ENOSYS)
    package static let noDevice = Errno(rawValue: ENODEV)
    package static let notConnected = Errno(rawValue: ENOTCONN)
    package static let quotaExceeded = Errno(rawValue: EDQUOT)
    package static let range = Errno(rawValue: ERANGE)
    package static let readOnlyFileSystem = Errno(rawValue: EROFS)
    package static let stale = Errno(rawValue: ESTALE)
    package static let fileTooLarge = Errno(rawValue: EFBIG)
    package static let timedOut = Errno(rawValue: ETIMEDOUT)
    package static let hostDown = Errno(rawValue: EHOSTDOWN)
    package static let tooManyLinks = Errno(rawValue: EMLINK)
    package static let tooManyOpenFiles = Errno(rawValue: EMFILE)
    package static let tooManyOpenFilesInSystem = Errno(rawValue: ENFILE)
    package static let wouldBlock = Errno(rawValue: EAGAIN)

    package var description: String {
        var buffer = [CChar](repeating: 0, count: 128)
        guard unsafe strerror_r(rawValue, &buffer, buffer.count) == 0 else { return "error \(rawValue)" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// Runs a system call until it is not interrupted by a signal.
@inline(__always)
package func retryingOnInterrupt<Value: FixedWidthInteger & SignedInteger>(
    _ call: () -> Value
) throws(Errno) -> Value {
    while true {
        let value = call()
        if value >= 0 { return value }
        let error = Errno.last
        if error != .interrupted { throw error }
    }
}
