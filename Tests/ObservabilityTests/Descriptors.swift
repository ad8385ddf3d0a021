import CKamlSys
import System

/// The descriptor that comes over a Unix socket.
func receivedDescriptor(_ socket: Int32) throws -> Int32 {
    let descriptor = kaml_receive_descriptor(socket)
    guard descriptor >= 0 else { throw Errno.last }
    return descriptor
}
