import DatasetStore
import Glibc
import KamlTestSupport
import Synchronization
import System
import Testing

@testable import NodeCache

/// Complete containers that are brought into the page cache for later opens.
@Suite struct PageFillerTests {
    let home: CacheFixture
    let store = MemoryObjectStore()
    private static let bytes = 3 << 20

    init() throws { home = try CacheFixture() }

    /// A complete container whose pages are on disk only.
    private func container(_ cache: NodeCache) throws -> Container {
        let fixture = try PackFixture.random(
            Array(repeating: 1 << 20, count: 3), seed: 1, layout: .file, to: store)
        let container = try cache.container(for: fixture.pack, origin: store)
        _ = try cache.read(container, 0..<3)
        let file = try FileDescriptor.open(home.dataPath(fixture.pack), O_RDONLY)
        try file.sync()
        #expect(posix_fadvise(file.rawValue, 0, 0, POSIX_FADV_DONTNEED) == 0)
        container.isWithReaders.store(true, ordering: .relaxed)
        return container
    }

    /// Pages of the container that are in memory.
    private func residentPages(_ container: Container) -> Int {
        var pages = [UInt8](repeating: 0, count: Self.bytes / 4096)
        unsafe mincore(UnsafeMutableRawPointer(mutating: container.bytes), Self.bytes, &pages)
        return pages.count { $0 & 1 == 1 }
    }

    @Test("its pages are in memory when it is said to be ready")
    func brings() throws {
        let cache = try home.open()
        let container = try container(cache)
        #expect(residentPages(container) < Self.bytes / 4096)
        for _ in 0..<3 { cache.bringIntoPageCache(container) }
        while container.mountsHaveIt { usleep(1000) }
        #expect(residentPages(container) == Self.bytes / 4096)
        #expect(container.isIdle)
        cache.close()
    }

    @Test("one that is asked for after another has a thread again; a closed cache takes none")
    func again() throws {
        let cache = try home.open()
        let container = try container(cache)
        for _ in 0..<20 {
            container.isWithReaders.store(true, ordering: .relaxed)
            cache.bringIntoPageCache(container)
            while container.mountsHaveIt { usleep(100) }
        }
        cache.close()
        container.isWithReaders.store(true, ordering: .relaxed)
        cache.bringIntoPageCache(container)
        usleep(20_000)
        #expect(container.mountsHaveIt)
    }

    @Test(
        "available memory as the kernel tells it",
        arguments: [
            ("MemTotal: 10 kB\nMemAvailable:   24 kB\n", 24 * 1024 as UInt64), ("", 0),
            ("MemAvailable: x kB", 0),
            ("MemAvailable: 5", 0), ("MemAvailable: 18446744073709551615 kB", 18_446_744_073_709_550_592),
        ])
    func memory(_ text: String, _ bytes: UInt64) { #expect(MemoryInformation.available(text) == bytes) }
}
