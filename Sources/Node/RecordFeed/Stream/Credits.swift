/// How much may be given out before something comes back.
package struct Credits: Sendable {
    package let batches: Int
    package let bytes: Int
    package private(set) var usedBatches = 0
    package private(set) var usedBytes = 0

    package init(batches: Int, bytes: Int) {
        self.batches = max(1, batches)
        self.bytes = max(1, bytes)
    }

    /// Whether a batch of so many bytes may be begun: one always may, however large.
    package func allow(_ count: Int) -> Bool {
        if usedBatches == 0 { return true }
        return usedBatches < batches && count <= bytes - usedBytes
    }

    package mutating func take(_ count: Int) {
        usedBatches += 1
        usedBytes += count
    }

    package mutating func giveBack(_ count: Int) {
        usedBatches -= 1
        usedBytes -= count
    }
}
