import CKamlSys
import Glibc
import KamlTestSupport
import System
import Testing

@Suite("Bringing in the pages of an answer")
struct TouchTests {
    @Test("a page that cannot be read is told, and is no signal")
    func unreadable() throws {
        let directory = try TemporaryDirectory()
        let file = directory.path.appending("file").withCString { open($0, O_RDWR | O_CREAT, 0o600) }
        defer { close(file) }
        #expect(ftruncate(file, 4 * 4096) == 0)
        guard let start = mmap(nil, 4 * 4096, PROT_READ, MAP_SHARED, file, 0), start != MAP_FAILED else {
            Issue.record("no mapping: \(Errno.last)")
            return
        }
        defer { munmap(start, 4 * 4096) }
        var pieces = [
            iovec(iov_base: start, iov_len: 4096), iovec(iov_base: start + 4096 + 7, iov_len: 2 * 4096),
            iovec(iov_base: nil, iov_len: 0),
        ]
        #expect(kaml_touch(&pieces, pieces.count) == 0)
        #expect(ftruncate(file, 2 * 4096) == 0)
        #expect(kaml_touch(&pieces, pieces.count) == -1)
        #expect(kaml_touch(&pieces, 1) == 0)
    }
}
