import Chunking
import DatasetStore
import Glibc
import System

/// What a scrub found.
package struct ScrubReport: Sendable, Hashable {
    package var containers: UInt64 = 0
    /// Chunks and plain bytes that were read and hashed.
    package var chunks: UInt64 = 0
    package var bytes: UInt64 = 0
    /// Chunks whose bytes were wrong or unreadable. They are forgotten, and fetched again when they are needed.
    package var badChunks: UInt64 = 0
    /// Chunks whose hash this node does not know, since their pack's footer was never needed. They are hashed at
    /// their next use.
    package var unknownChunks: UInt64 = 0

    package init() {}

    mutating func add(_ other: ScrubReport) {
        containers += other.containers
        chunks += other.chunks
        bytes += other.bytes
        badChunks += other.badChunks
        unknownChunks += other.unknownChunks
    }
}

/// Hashes every present chunk of every container in the directory again.
struct Scrub {
    let context: CacheContext
    let registry: ContainerRegistry

    func run(_ progress: (ScrubReport) -> Void) throws(CacheError) -> ScrubReport {
        var report = ScrubReport()
        let buffers = FetchBuffers(MemoryMeter())
        for pack in packs() {
            report.add(try check(pack, buffers))
            report.containers += 1
            progress(report)
        }
        return report
    }

    /// The packs whose maps lie in the directory and can be read.
    func packs() -> [PackReference] {
        var packs: [PackReference] = []
        for folder in (try? context.files.list(context.layout.containers)) ?? [] {
            for entry in (try? context.files.list(context.layout.containers.appending(folder.name))) ?? [] {
                guard let id = CacheLayout.packID(ofMap: entry.name),
                    let bytes = try? readFile(
                        context.layout.map(id), limit: ContainerMap.headerLength, context.files),
                    let map = unsafe bytes.withUnsafeBytes({ unsafe ContainerMap($0) }), map.pack.id == id,
                    map.pack.isPlausible
                else { continue }
                packs.append(map.pack)
            }
        }
        return packs.sorted { $0.id < $1.id }
    }

    /// Hashes a container's chunks. `goesOn` is told the bytes of each and may end it; between two chunks the container
    /// may be evicted.
    func check(
        _ pack: PackReference, _ buffers: FetchBuffers, goesOn: (Int) -> Bool = { _ in true }
    ) throws(CacheError) -> ScrubReport {
        var report = ScrubReport()
        let wasAwake = registry.find(pack.id)?.hasDisk == true
        let container = try registry.container(for: pack, origin: nil)
        defer { if !wasAwake { _ = registry.sleep(container) } }
        for chunk in 0..<container.bitmap.count where container.bitmap.isPresent(chunk) {
            let before = report.bytes
            check(container, chunk, buffers, &report)
            guard goesOn(Int(clamping: report.bytes - before)) else { break }
        }
        return report
    }

    private func check(
        _ container: Container, _ chunk: Int, _ buffers: FetchBuffers, _ report: inout ScrubReport
    ) {
        let use = ContainerUse(container)
        defer { withExtendedLifetime(use) {} }
        guard let disk = container.disk, container.bitmap.isPresent(chunk) else { return }
        let footer = container.localFooter() ?? (container.origin != nil ? try? container.footer() : nil)
        guard let footer else {
            report.unknownChunks += 1
            return container.distrust(chunk)
        }
        let entry = footer[chunk]
        let plain = unsafe buffers.plain(Int(entry.plainLength))
        report.chunks += 1
        report.bytes += UInt64(entry.plainLength)
        if unsafe disk.read(chunk, into: plain, at: entry.containerOffset),
            let expected = container.expectedHash(chunk, entry),
            unsafe buffers.hasher.hash(.chunk, UnsafeRawBufferPointer(plain)) == expected
        {
            container.trust(chunk)
        } else {
            report.badChunks += 1
            container.reject(chunk)
        }
    }
}
