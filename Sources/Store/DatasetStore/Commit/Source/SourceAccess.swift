import Glibc
import System

/// An open file of what is committed, read by several threads.
protocol SourceFile: AnyObject, Sendable {
    func status() throws(Errno) -> FileStatus

    /// Fills `buffer` from `offset` on; returns fewer bytes only at the end. Throws `.stale` when the file is not what
    /// it was when it was opened, so that it has to be read again.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int

    /// The same for one reader that goes from start to end.
    func readNext(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int

    /// The next byte at or after `offset` that is not in a hole; nil when there is none.
    func nextData(from offset: UInt64) throws(Errno) -> UInt64?
    /// The next hole at or after `offset`, which may be the end of the file.
    func nextHole(from offset: UInt64) throws(Errno) -> UInt64?

    func attributes() throws(Errno) -> [ExtendedAttribute]
}

/// Opens the files of a tree that was listed before.
protocol SourceAccess: Sendable {
    /// Opens a regular file. `directory` is the caller's, kept between calls so that neighbours share it.
    func open(
        _ place: SourcePlace, in tree: SourceTree, _ directory: inout OpenDirectory?
    ) throws(Errno) -> any SourceFile

    func readSymlink(
        _ place: SourcePlace, in tree: SourceTree, _ directory: inout OpenDirectory?
    ) throws(Errno) -> (target: ByteString, status: FileStatus)

    /// Attributes that a file gets without having any of its own.
    func givenAttributes(of node: SourceNode) -> [ExtendedAttribute]

    /// Whether the parent's record is of this very file, so that it need not be read.
    func isRecorded(_ node: SourceNode, _ record: RecordView) -> Bool
}

/// A directory that a reader of its files keeps open.
final class OpenDirectory: Sendable {
    /// In the tree's directories.
    let index: Int
    let descriptor: FileDescriptor

    init(_ index: Int, _ descriptor: consuming FileDescriptor) {
        self.index = index
        self.descriptor = descriptor
    }
}

/// A file or directory of this machine.
final class DescriptorFile: SourceFile {
    let descriptor: FileDescriptor

    init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

    func status() throws(Errno) -> FileStatus { try descriptor.status() }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
        try unsafe descriptor.read(into: buffer, at: offset)
    }

    func readNext(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
        if offset == 0 { descriptor.adviseSequential() }
        return try unsafe descriptor.read(into: buffer, at: offset)
    }

    func nextData(from offset: UInt64) throws(Errno) -> UInt64? { try descriptor.nextData(from: offset) }
    func nextHole(from offset: UInt64) throws(Errno) -> UInt64? { try descriptor.nextHole(from: offset) }
    func attributes() throws(Errno) -> [ExtendedAttribute] { try SourceFiles.attributes(of: descriptor) }
}

/// Files below a directory of this machine; nothing here follows a symlink.
struct DirectoryAccess: SourceAccess {
    /// Stays open as long as this is in use.
    let root: Int32

    func open(
        _ place: SourcePlace, in tree: SourceTree, _ directory: inout OpenDirectory?
    ) throws(Errno) -> any SourceFile {
        let parent = try openDirectory(place, in: tree, &directory)
        let arena = tree.arena(place)
        let name = unsafe arena.cName(arena.nodes[place.index])
        return unsafe DescriptorFile(
            try FileDescriptor.openEntry(name, in: parent.descriptor.rawValue))
    }

    func readSymlink(
        _ place: SourcePlace, in tree: SourceTree, _ directory: inout OpenDirectory?
    ) throws(Errno) -> (target: ByteString, status: FileStatus) {
        let parent = try openDirectory(place, in: tree, &directory).descriptor.rawValue
        let arena = tree.arena(place)
        let name = unsafe arena.cName(arena.nodes[place.index])
        let target = try unsafe System.readSymlink(name, in: parent)
        return unsafe (target, try FileStatus.of(name, in: parent))
    }

    func givenAttributes(of node: SourceNode) -> [ExtendedAttribute] { [] }

    func isRecorded(_ node: SourceNode, _ record: RecordView) -> Bool { false }

    private func openDirectory(
        _ place: SourcePlace, in tree: SourceTree, _ directory: inout OpenDirectory?
    ) throws(Errno) -> OpenDirectory {
        if let directory, directory.index == place.directory { return directory }
        directory = nil
        let opened = OpenDirectory(
            place.directory,
            try SourceFiles.openDirectory(tree.directories[place.directory].keyPath, below: root))
        directory = opened
        return opened
    }
}
