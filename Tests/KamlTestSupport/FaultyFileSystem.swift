import Synchronization
package import System

/// The calls of a file system that faults are counted by.
package enum FileSystemCall: Hashable, Sendable, CaseIterable {
    case open, status, read, write, sync, truncate, link, rename, unlink, makeDirectory, removeDirectory, list
}

/// The machine's file system, with scripted failures before the call is made, so that it has no effect.
package final class FaultyFileSystem: FileSystem {
    private struct State {
        var done: [FileSystemCall: Int] = [:]
        var trace: [FileSystemCall] = []
        /// By call and its number, from 1.
        var script: [FileSystemCall: [Int: Errno]] = [:]
        /// Fails always.
        var always: [FileSystemCall: Errno] = [:]
        var before: [FileSystemCall: @Sendable () -> Void] = [:]
        var space: (@Sendable () -> FileSystemSpace)?
    }

    private let host = HostFileSystem()
    private let state = Mutex(State())

    package init() {}

    /// Lets the n-th call of a kind from now on, counted from 1, fail with `errno`.
    package func on(_ call: FileSystemCall, _ number: Int, _ errno: Errno) {
        state.withLock { state in
            state.script[call, default: [:]][state.done[call, default: 0] + number] = errno
        }
    }

    /// Lets every call of a kind fail, or none when nil.
    package func always(_ call: FileSystemCall, _ errno: Errno?) {
        state.withLock { $0.always[call] = errno }
    }

    /// Runs `body` before every call of a kind: one that turns a clock makes the call slow.
    package func before(_ call: FileSystemCall, _ body: (@Sendable () -> Void)?) {
        state.withLock { $0.before[call] = body }
    }

    /// Lets the file system be as full as `body` says, or as it is when nil.
    package func setSpace(_ body: (@Sendable () -> FileSystemSpace)?) { state.withLock { $0.space = body } }

    package func space(at path: ByteString) throws(Errno) -> FileSystemSpace {
        if let space = state.withLock({ $0.space }) { return space() }
        return try host.space(at: path)
    }

    /// Calls of a kind so far, those that failed too.
    package func count(_ call: FileSystemCall) -> Int { state.withLock { $0.done[call, default: 0] } }

    /// All calls so far, in order.
    package var trace: [FileSystemCall] { state.withLock { $0.trace } }

    private func step(_ call: FileSystemCall) throws(Errno) {
        state.withLock { $0.before[call] }?()
        let errno = state.withLock { state -> Errno? in
            let number = state.done[call, default: 0] + 1
            state.done[call] = number
            state.trace.append(call)
            return state.script[call]?[number] ?? state.always[call]
        }
        if let errno { throw errno }
    }

    package func open(_ path: ByteString, _ flags: Int32, mode: UInt32) throws(Errno) -> FileDescriptor {
        try step(.open)
        return try host.open(path, flags, mode: mode)
    }

    package func status(of path: ByteString) throws(Errno) -> FileStatus {
        try step(.status)
        return try host.status(of: path)
    }

    package func status(of file: borrowing FileDescriptor) throws(Errno) -> FileStatus {
        try step(.status)
        return try host.status(of: file)
    }

    package func read(
        _ file: borrowing FileDescriptor, into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(Errno) -> Int {
        try step(.read)
        return try host.read(file, into: buffer, at: offset)
    }

    package func write(
        _ file: borrowing FileDescriptor, _ bytes: UnsafeRawBufferPointer, at offset: UInt64
    ) throws(Errno) {
        try step(.write)
        try host.write(file, bytes, at: offset)
    }

    package func sync(_ file: borrowing FileDescriptor) throws(Errno) {
        try step(.sync)
        try host.sync(file)
    }

    package func truncate(_ file: borrowing FileDescriptor, to size: UInt64) throws(Errno) {
        try step(.truncate)
        try host.truncate(file, to: size)
    }

    package func link(_ from: ByteString, _ to: ByteString) throws(Errno) {
        try step(.link)
        try host.link(from, to)
    }

    package func rename(_ from: ByteString, _ to: ByteString) throws(Errno) {
        try step(.rename)
        try host.rename(from, to)
    }

    package func renameExclusively(_ from: ByteString, _ to: ByteString) throws(Errno) {
        try step(.rename)
        try host.renameExclusively(from, to)
    }

    package func unlink(_ path: ByteString) throws(Errno) {
        try step(.unlink)
        try host.unlink(path)
    }

    package func makeDirectory(_ path: ByteString, mode: UInt32) throws(Errno) {
        try step(.makeDirectory)
        try host.makeDirectory(path, mode: mode)
    }

    package func removeDirectory(_ path: ByteString) throws(Errno) {
        try step(.removeDirectory)
        try host.removeDirectory(path)
    }

    package func list(_ path: ByteString) throws(Errno) -> [DirectoryEntry] {
        try step(.list)
        return try host.list(path)
    }
}
