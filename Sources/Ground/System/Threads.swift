import CKamlSys
import Glibc

/// A dedicated operating-system thread. Blocking work belongs on these, never on the cooperative pool,
/// which has one thread a core.
package struct Thread: ~Copyable, Sendable {
    private let handle: pthread_t

    /// Starts `body` on a new thread. `name` shows in ps and perf, at most 15 bytes of it.
    package init(
        name: String, stackBytes: Int = 512 << 10, _ body: @escaping @Sendable () -> Void
    ) throws(Errno) {
        let box = unsafe Unmanaged.passRetained(Body(name: name, run: body))
        var attributes = pthread_attr_t()
        unsafe pthread_attr_init(&attributes)
        unsafe pthread_attr_setstacksize(&attributes, stackBytes)
        defer { unsafe pthread_attr_destroy(&attributes) }
        var started = pthread_t()
        let status = unsafe pthread_create(
            &started, &attributes,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let body = unsafe Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
                unsafe kaml_set_thread_name(body.name)
                body.run()
                return nil
            }, unsafe box.toOpaque())
        if status != 0 {
            unsafe box.release()
            throw Errno(rawValue: status)
        }
        handle = started
    }

    /// Waits for the thread's end.
    package consuming func join() { pthread_join(handle, nil) }

    /// Lets the thread run to its end on its own.
    package consuming func detach() { pthread_detach(handle) }

    private final class Body: Sendable {
        let name: String
        let run: @Sendable () -> Void
        init(name: String, run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }
}

/// State under a lock, with waiting: a mutex and one condition variable.
@safe package final class Monitor<State: ~Copyable>: @unchecked Sendable {
    // Sendable: `state` is touched only under `mutex`.
    private var state: State
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

    package init(_ state: consuming sending State) {
        self.state = state
        unsafe mutex = .allocate(capacity: 1)
        unsafe condition = .allocate(capacity: 1)
        unsafe mutex.initialize(to: pthread_mutex_t())
        unsafe condition.initialize(to: pthread_cond_t())
        unsafe pthread_mutex_init(mutex, nil)
        unsafe pthread_cond_init(condition, nil)
    }

    deinit {
        unsafe pthread_cond_destroy(condition)
        unsafe pthread_mutex_destroy(mutex)
        unsafe condition.deallocate()
        unsafe mutex.deallocate()
    }

    package func withLock<Result: ~Copyable, Failure: Error>(
        _ body: (inout State) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        return try body(&state)
    }

    /// Waits until `body` gives a value. It runs under the lock after every `wake`.
    package func wait<Result>(_ body: (inout State) -> Result?) -> Result {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while true {
            if let result = body(&state) { return result }
            unsafe pthread_cond_wait(condition, mutex)
        }
    }

    /// Wakes every waiter to look at the state again.
    package func wake() { unsafe pthread_cond_broadcast(condition) }
}
