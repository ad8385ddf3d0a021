import MountHolder

/// Messages between an agent and the mount holder: what is read is written as it was.
func fuzzHolder(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeRawBufferPointer(start: start, count: count))
    if let request = try? HolderRequest.decoded(bytes) {
        let encoded = request.encoded()
        precondition((try? HolderRequest.decoded(encoded).encoded()) == encoded)
    }
    if let reply = try? HolderReply.decoded(bytes) {
        let encoded = reply.encoded()
        precondition((try? HolderReply.decoded(encoded).encoded()) == encoded)
    }
    return 0
}
