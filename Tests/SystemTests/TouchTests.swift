import CKamlSys
import Glibc
import System
import Testing

@Suite("Bringing in the pages of an answer")
struct TouchTests {
    /// A file without a name.
    private func unlinked() -> Int32 { open("/tmp", O_RDWR | O_TMPFILE_LINUX, 0o600) }

    @Test("a page that cannot be read is told, and is no signal")
    func unreadable() {
        let bytes = 4 * 4096
        let file = unlinked()
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
