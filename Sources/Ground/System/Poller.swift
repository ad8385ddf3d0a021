import CKamlSys

/// Waits for many descriptors at once (epoll).
package struct Poller: ~Copyable, Sendable {
    package struct Events: OptionSet, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        package static let read = Events(rawValue: KAML_POLL_READ)
        package static let write = Events(rawValue: KAML_POLL_WRITE)
        /// The other end hung up, or the descriptor failed. Always told.
        package static let end = Events(rawValue: KAML_POLL_END)
        /// Each change is told once, so that nobody has to read what a stranger may fill or empty.
        package static let edge = Events(rawValue: KAML_POLL_EDGE)
    }

    private let descriptor: FileDescriptor

    package init() throws(Errno) {
        let made = kaml_make_poller()
        if made < 0 { throw .last }
        descriptor = FileDescriptor(owning: made)
    }

    /// `key` comes with every answer about the descriptor.
    package borrowing func add(_ watched: Int32, _ events: Events, key: UInt64) throws(Errno) {
        if kaml_poller_add(descriptor.rawValue, watched, events.rawValue, key) < 0 { throw .last }
    }

    package borrowing func change(_ watched: Int32, _ events: Events, key: UInt64) throws(Errno) {
        if kaml_poller_change(descriptor.rawValue, watched, events.rawValue, key) < 0 { throw .last }
    }

    package borrowing func remove(_ watched: Int32) { _ = kaml_poller_remove(descriptor.rawValue, watched) }

    /// Waits at most so long (nil: until something happens) and calls `body` for each descriptor that something happened
    /// to. Returns after an interrupt too.
    package borrowing func wait(
        milliseconds: Int32?, _ body: (_ key: UInt64, _ events: Events) -> Void
    ) throws(Errno) {
        let capacity: Int32 = 64
        let poller = descriptor.rawValue
        let failure = unsafe withUnsafeTemporaryAllocation(
            of: kaml_poll_answer.self, capacity: Int(capacity)
        ) { answers -> Errno? in
            let count = unsafe kaml_poller_wait(poller, answers.baseAddress, capacity, milliseconds ?? -1)
            if count < 0 { return .last }
            for index in 0..<Int(count) {
                let answer = unsafe answers[index]
                body(answer.key, Events(rawValue: answer.events))
            }
            return nil
        }
        if let failure { throw failure }
    }
}

/// A counter that wakes who polls it (eventfd), non-blocking.
package struct Event: ~Copyable, Sendable {
    package let descriptor: FileDescriptor
    package var rawValue: Int32 { descriptor.rawValue }

    package init() throws(Errno) {
        let made = kaml_make_event()
        if made < 0 { throw .last }
        descriptor = FileDescriptor(owning: made)
    }

    /// Not for one whose descriptor others have: they could fill it, and make it block.
    package borrowing func signal() { _ = kaml_signal_event(descriptor.rawValue) }
}
