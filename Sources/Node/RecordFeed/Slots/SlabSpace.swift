/// Which parts of a slab are taken. The lowest that fits is given out, so that what is small stays in the same few pages,
/// which are in the processor's cache.
///
/// Few runs are out at a time (a stream's window), so a sorted array is searched.
package struct SlabSpace: Sendable {
    package let count: Int
    /// Sorted, apart from one another.
    private var taken: [Range<Int>] = []

    package static let alignment = 64

    package init(count: Int) { self.count = count }

    package var isEmpty: Bool { taken.isEmpty }

    /// The offset of `wanted` bytes (more than 0), a multiple of 64; nil when there is no room.
    package mutating func take(_ wanted: Int) -> Int? {
        guard wanted > 0, wanted <= count else { return nil }
        let size = (wanted + Self.alignment - 1) & ~(Self.alignment - 1)
        var start = 0
        for (index, run) in taken.enumerated() {
            if run.lowerBound - start >= size {
                taken.insert(start..<(start + size), at: index)
                return start
            }
            start = run.upperBound
        }
        guard count - start >= size else { return nil }
        taken.append(start..<(start + size))
        return start
    }

    /// Gives back what begins at `offset`. False when nothing does.
    @discardableResult
    package mutating func giveBack(_ offset: Int) -> Bool {
        guard let index = taken.firstIndex(where: { $0.lowerBound == offset }) else { return false }
        taken.remove(at: index)
        return true
    }
}
