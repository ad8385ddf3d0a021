import DatasetStore
import ObjectStore
import System
import Telemetry

/// What a trace shows of a fetch: its own span, and how long it took to verify and to write what came.
enum FetchTrace {
    static func fetch<Value, Failure: Error>(
        _ container: Container, chunks: Int, _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        guard let span = Trace.current?.child("fetch") else { return try body() }
        span.set("kaml.pack", container.pack.key.text)
        span.set("kaml.chunks", chunks)
        defer {
            span.addPart("verification", nanoseconds: span.spent(on: "verification"))
            span.addPart("write", nanoseconds: span.spent(on: "write"))
            span.end()
        }
        do throws(Failure) { return try Trace.with(span, body) } catch {
            span.finish(as: .failed("\(error)"))
            throw error
        }
    }

    /// Counts what `body` takes as verification, but for the writes in it.
    static func verifying(_ clock: any Clock, _ body: () -> Void) {
        guard let span = Trace.current else { return body() }
        let (start, written) = (clock.monotonicNanoseconds(), span.spent(on: "write"))
        body()
        let taken = clock.monotonicNanoseconds() &- start
        let writing = span.spent(on: "write") &- written
        span.spend(taken > writing ? taken - writing : 0, on: "verification")
    }
}
