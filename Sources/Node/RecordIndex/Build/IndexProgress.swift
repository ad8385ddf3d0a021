/// How far the making of an index is.
package struct IndexProgress: Sendable, Hashable {
    package var files = 0
    package var filesDone = 0
    /// Of files as they lie in the snapshot.
    package var bytes: UInt64 = 0
    package var bytesDone: UInt64 = 0
    package var records: UInt64 = 0
}
