import Chunking
import ObjectStore

extension FrameChecker {
    /// Bytes between two bases that are read along to save a request.
    private static let gap: UInt64 = 256 << 10
    private static let runLimit: UInt64 = 8 << 20

    /// Reads the bases of a run of frames into the cache of bases, with few requests: the bases of neighbours lie
    /// side by side. `store` tells where a pack is read. Takes the window.
    ///
    /// What cannot be read is left out: the frame that needs it is what will be complained of.
    func loadBases(
        of frames: Range<Int>, in footer: PackFooter, from store: (PackReference) -> any ObjectStore
    ) {
        for (pack, chunks) in missingBases(of: frames, in: footer) {
            guard let image = try? footers.image(of: pack) else { continue }
            let wanted = chunks.filter { Int($0) < image.footer.chunkCount }.sorted()
            var first = 0
            while first < wanted.count {
                let start = image.footer[Int(wanted[first])].frameOffset
                var end = image.footer[Int(wanted[first])].frame.upperBound
                var last = first + 1
                while last < wanted.count {
                    let next = image.footer[Int(wanted[last])].frame
                    guard next.lowerBound - end <= Self.gap, next.upperBound - start <= Self.runLimit else {
                        break
                    }
                    end = next.upperBound
                    last += 1
                }
                if (try? read(pack, start..<end, from: store(pack))) != nil {
                    for chunk in wanted[first..<last] {
                        guard let plain = plainChunk(Int(chunk), in: image.footer, windowStart: start) else {
                            continue
                        }
                        bases.keep(plain, as: .init(pack: pack.id, chunk: chunk))
                    }
                }
                first = last
            }
        }
    }

    private func missingBases(
        of frames: Range<Int>, in footer: PackFooter
    ) -> [(pack: PackReference, chunks: Set<UInt32>)] {
        var wanted: [UInt16: Set<UInt32>] = [:]
        for index in frames {
            guard let base = footer[index].base else { continue }
            wanted[base.pack, default: []].insert(base.chunk)
        }
        return wanted.compactMap { index, chunks in
            guard let pack = footer.basePack(index) else { return nil }
            let missing = chunks.filter { bases.find(.init(pack: pack.id, chunk: $0)) == nil }
            return missing.isEmpty ? nil : (pack, missing)
        }
    }
}
