import Chunking

/// What is wrong with bytes of the format.
struct FormatProblem: ExpressibleByStringLiteral {
    var text: String
    /// Not damage: a later version wrote it.
    var needsNewerProgram = false

    init(stringLiteral text: String) { self.text = text }

    static let unknownCodec: FormatProblem = {
        var problem: FormatProblem = "names a codec that this kaml does not know"
        problem.needsNewerProgram = true
        return problem
    }()
}

extension PackFooter {
    /// Looks at every entry once, so that readers need not.
    func firstProblem(frameEnd: UInt64) -> FormatProblem? {
        var nextPlain: UInt64 = 0
        var frames = FrameOrder(end: frameEnd)
        var references = ReferenceOrder()
        for index in 0..<chunkCount {
            let raw = unsafe base + PackFormat.footerHeaderLength + index * PackFormat.chunkEntryLength
            guard let codec = unsafe Codec(rawValue: raw.u8(56)) else { return .unknownCodec }
            guard unsafe raw.u8(57) == 0, unsafe codec == .zstdPrefix || raw.u16(58) == UInt16.max,
                unsafe codec == .zstdPrefix || codec == .reference || raw.u32(60) == 0
            else { return "has bits in a zero field" }
            guard (codec == .reference) == (sources != nil) else {
                return "mixes references with chunks of its own"
            }
            let entry = entry(index)
            guard entry.plainLength > 0, entry.plainLength <= PackFormat.limits.plainLength,
                entry.storedLength <= entry.plainLength
            else { return "has a chunk length out of range" }
            if let sources {
                if let problem = references.problem(of: entry, in: sources) { return problem }
            } else {
                if let problem = frames.problem(of: entry) { return problem }
            }
            guard entry.containerOffset >= nextPlain, entry.containerOffset <= pack.containerSize,
                UInt64(entry.plainLength) <= pack.containerSize - entry.containerOffset
            else { return "has chunks that overlap or lie outside the container" }
            // A manifest's record holds it in 32 bits.
            if pack.layout == .slots, entry.frameOffset > UInt64(UInt32.max) {
                return "has small files beyond 4 GiB"
            }
            if pack.layout == .slots, !entry.containerOffset.isMultiple(of: PackFormat.slotAlignment) {
                return "has a chunk that is not at a slot"
            }
            if let base = entry.base, Int(base.pack) >= baseCount { return "has a base out of range" }
            nextPlain = entry.containerOffset + UInt64(entry.plainLength)
        }
        if let sources {
            guard baseCount == 0 else { return "has bases that no reference needs" }
            guard pack.layout == .slots || sources.count == 1 else {
                return "has one file of several objects"
            }
        }
        for index in 0..<baseCount where basePack(UInt16(index)) == nil { return "has a bad base table" }
        return nil
    }
}

/// Frames rise in their pack and do not overlap.
private struct FrameOrder {
    let end: UInt64
    private var next = UInt64(PackFormat.headerLength)

    init(end: UInt64) { self.end = end }

    mutating func problem(of entry: ChunkEntry) -> FormatProblem? {
        guard entry.frameOffset >= next, entry.frameOffset <= end, entry.frame.upperBound <= end else {
            return "has frames that overlap or lie outside the pack"
        }
        next = entry.frame.upperBound
        return nil
    }
}

/// References rise by object, and within an object by offset.
private struct ReferenceOrder {
    private var object: UInt32 = 0
    private var next: UInt64 = 0

    mutating func problem(of entry: ChunkEntry, in sources: SourceTable) -> FormatProblem? {
        guard let object = entry.object, Int(object) < sources.count, object >= self.object else {
            return "has references out of order or to no object"
        }
        if object > self.object { next = 0 }
        let size = sources.size(of: Int(object))
        guard entry.storedLength == entry.plainLength, entry.frameOffset >= next, entry.frameOffset <= size,
            UInt64(entry.plainLength) <= size - entry.frameOffset
        else { return "has references that overlap or lie outside their object" }
        self.object = object
        next = entry.objectRange.upperBound
        return nil
    }
}
