import Testing

@testable import Agent

@Suite("Mounts that break")
struct RetakeLimitTests {
    @Test("are gone on with a few times, and again when that was long ago")
    func limit() {
        let second: UInt64 = 1_000_000_000
        let tries = (1...UInt64(RetakeLimit.most)).map { $0 * second }
        let later = [
            10 * second, RetakeLimit.window, RetakeLimit.window + second, RetakeLimit.window + second,
            3 * RetakeLimit.window,
        ]
        var limit = RetakeLimit()
        let answers = (tries + later).map { limit.allows(at: $0) }
        // The first is out of the window after it, the others are not.
        #expect(answers == tries.map { _ in true } + [false, false, true, false, true])
    }
}
