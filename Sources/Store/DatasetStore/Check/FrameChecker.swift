import Chunking
import ObjectStore

/// One thread's buffers and decoder.
final class FrameChecker {
    private let store: any ObjectStore
    private let footers: FooterTable
    private var window: UnsafeMutableRawBufferPointer
    private var filled = 0
    private var plain: UnsafeMutableRawBufferPointer
    private let decoder = FrameDecoder()
    private let hasher = ContentHasher()
    /// Plain bytes of the bases used last: neighbouring chunks often share one.
    private var bases: [(key: ChunkEntry.Base, pack: PackID, bytes: [UInt8])] = []
    private static let keptBases = 8

    init(store: any ObjectStore, footers: FooterTable) {
        self.store = store
        self.footers = footers
        window = .allocate(byteCount: 1 << 20, alignment: 64)
        plain = .allocate(byteCount: Int(PackFormat.limits.plainLength), alignment: 64)
    }

    deinit {
        window.deallocate()
        plain.deallocate()
    }

    /// Reads a range of a pack; what is wrong with it when that fails. Throws when the store is gone.
    func readWindow(_ pack: PackReference, _ range: Range<UInt64>) throws(StoreError) -> CheckReport.Problem? {
        let count = Int(range.upperBound - range.lowerBound)
        if window.count < count {
            window.deallocate()
            window = .allocate(byteCount: count, alignment: 64)
        }
        filled = count
        do throws(ObjectStoreError) {
            try store.read(pack.key, from: range.lowerBound, into: UnsafeMutableRawBufferPointer(rebasing: window[..<count]))
            return nil
        } catch {
            if error.code == .unavailable { throw StoreError(error) }
            return CheckReport.Problem(StoreError(error))
        }
    }

    func problem(
        of index: Int, in footer: PackFooter, windowStart: UInt64
    ) throws(StoreError) -> CheckReport.Problem? {
        let entry = footer[index]
        let offset = Int(entry.frameOffset - windowStart)
        guard let frame = UnsafeRawBufferPointer(window).part(at: offset, count: entry.frame.count), offset + entry.frame.count <= filled
        else { return .corrupt("lies outside the pack") }
        let expected = FrameHeader(
            index: UInt32(index), storedLength: entry.storedLength, plainLength: entry.plainLength, codec: entry.codec)
        guard FrameHeader(frame) == expected else { return .corrupt("has a damaged frame header") }
        let payload = UnsafeRawBufferPointer(rebasing: frame[PackFormat.frameHeaderLength...])
        var base: [UInt8]?
        if let wanted = entry.base {
            switch try self.base(wanted, of: footer) {
            case .success(let bytes): base = bytes
            case .failure(let problem): return problem.problem
            }
        }
        return decode(entry, payload, base)
    }

    private struct BaseProblem: Error { var problem: CheckReport.Problem }

    private func decode(_ entry: ChunkEntry, _ payload: UnsafeRawBufferPointer, _ base: [UInt8]?) -> CheckReport.Problem? {
        let target = UnsafeMutableRawBufferPointer(rebasing: plain[..<Int(entry.plainLength)])
        func decode(_ prefix: UnsafeRawBufferPointer?) -> CodecError? {
            do throws(CodecError) {
                try decoder.decode(entry.codec, payload, prefix: prefix, into: target)
                return nil
            } catch { return error }
        }
        if let error = base.map({ base in base.withUnsafeBytes { decode($0) } }) ?? decode(nil) {
            return .corrupt("cannot be decompressed (\(error))")
        }
        guard hasher.hash(.chunk, UnsafeRawBufferPointer(target)) == entry.hash else {
            return .corrupt("does not match its hash")
        }
        return nil
    }

    /// The plain bytes of a base: a frame that needs no base itself.
    private func base(
        _ wanted: ChunkEntry.Base, of footer: PackFooter
    ) throws(StoreError) -> Result<[UInt8], BaseProblem> {
        func failed(_ what: String) -> Result<[UInt8], BaseProblem> { .failure(BaseProblem(problem: .corrupt(what))) }
        guard let pack = footer.basePack(wanted.pack) else { return failed("has a base out of range") }
        if let known = bases.first(where: { $0.pack == pack.id && $0.key.chunk == wanted.chunk }) { return .success(known.bytes) }
        let loaded: LoadedFooter
        do throws(StoreError) { loaded = try footers.footer(of: pack) } catch {
            if error.code == .unavailable { throw error }
            return failed("needs a base in \(pack.key), which cannot be read")
        }
        guard wanted.chunk < pack.chunkCount else { return failed("has a base out of range") }
        let entry = loaded.footer[Int(wanted.chunk)]
        guard entry.codec != .zstdPrefix else { return failed("has a base that needs a base itself") }
        let frame: [UInt8]
        do throws(ObjectStoreError) {
            frame = try store.read(pack.key, from: entry.frameOffset, count: entry.frame.count)
        } catch {
            if error.code == .unavailable { throw StoreError(error) }
            return failed("needs a base in \(pack.key), which cannot be read")
        }
        let isSound = frame.withUnsafeBytes { frame in
            decode(entry, UnsafeRawBufferPointer(rebasing: frame[PackFormat.frameHeaderLength...]), nil) == nil
        }
        guard isSound else { return failed("needs chunk \(wanted.chunk) of \(pack.key) as its base, which is damaged") }
        let bytes = Array(UnsafeRawBufferPointer(rebasing: plain[..<Int(entry.plainLength)]))
        if bases.count == Self.keptBases { bases.removeFirst() }
        bases.append((wanted, pack.id, bytes))
        return .success(bytes)
    }
}
