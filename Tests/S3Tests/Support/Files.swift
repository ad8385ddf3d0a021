import Glibc
import KamlTestSupport
import System

extension TemporaryDirectory {
    /// Writes a file and returns its path.
    func write(_ name: String, _ text: String) throws -> String {
        let path = self.path.appending(ByteString(name))
        let host = HostFileSystem()
        let file = try host.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
        let outcome = Array(text.utf8).withUnsafeBytes { bytes in
            Result { () throws(Errno) in try host.write(file, bytes, at: 0) }
        }
        try outcome.get()
        return path.description
    }
}
