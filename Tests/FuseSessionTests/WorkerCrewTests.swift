import Testing

@testable import FuseSession

/// Who serves while others wait for a store.
@Suite struct WorkerCrewTests {
    private static func full(regular: Int, total: Int) -> WorkerCrew {
        var crew = WorkerCrew(regular: regular, total: total)
        while crew.allAreBusy() != nil {}
        return crew
    }

    @Test("one serves at first, and one more each time that all are busy, up to the regular number")
    func growing() {
        var crew = WorkerCrew(regular: 3, total: 9)
        #expect(!crew.isFull)
        let started = (0..<3).map { _ in crew.allAreBusy() }
        #expect(started == [1, 2, nil])
        #expect(crew.isFull)
    }

    @Test("a lone worker that is about to wait is replaced by a regular one first")
    func waitingAlone() {
        var crew = WorkerCrew(regular: 2, total: 9)
        let started = (0..<2).map { _ in crew.willWait() }
        #expect(started == [1, 2])
    }

    @Test("of four workers two may wait; for each further one a spare starts, as long as there are any")
    func spares() {
        var crew = Self.full(regular: 4, total: 7)
        let started = (0..<8).map { _ in crew.willWait() }
        #expect(started == [nil, nil, 4, 5, 6, nil, nil, nil])
    }

    @Test("spares leave when those that waited are back, and come again")
    func leaving() {
        var crew = Self.full(regular: 2, total: 10)
        let first = crew.willWait()
        let second = crew.willWait()
        #expect(first == nil && second == 2)
        let tooEarly = crew.mayLeave(2)
        crew.didWait()
        crew.didWait()
        let regular = crew.mayLeave(0)
        let spare = crew.mayLeave(2)
        #expect(!tooEarly && !regular && spare)
        _ = crew.willWait()
        // Its thread has yet to leave what is the worker's.
        let other = crew.willWait()
        #expect(other == 3)
        crew.didLeave(2)
        let again = crew.willWait()
        #expect(again == 2)
    }
}
