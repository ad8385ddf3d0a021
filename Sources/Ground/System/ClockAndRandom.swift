import Glibc

/// Time as a seam: tests turn it by hand.
package protocol Clock: Sendable {
    /// Wall-clock time, for records that people read; never for order or safety.
    func now() -> Timestamp
    /// Nanoseconds that never run backwards, for durations.
    func monotonicNanoseconds() -> UInt64
}

/// The machine's clocks.
package struct HostClock: Clock {
    package init() {}

    package func now() -> Timestamp {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(seconds: Int64(time.tv_sec), nanoseconds: UInt32(truncatingIfNeeded: time.tv_nsec))
    }

    package func monotonicNanoseconds() -> UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

/// Randomness as a seam: a failing test replays from its seed.
package protocol RandomSource: Sendable {
    func fill(_ buffer: UnsafeMutableRawBufferPointer)
}

extension RandomSource {
    package func bytes(_ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        unsafe bytes.withUnsafeMutableBytes { unsafe fill($0) }
        return bytes
    }
}

/// getrandom(2).
package struct HostRandom: RandomSource {
    package init() {}

    package func fill(_ buffer: UnsafeMutableRawBufferPointer) {
        var generator = SystemRandomNumberGenerator()
        for index in buffer.indices { unsafe buffer[index] = generator.next() }
    }
}
