import Glibc

/// Where one thread sleeps until another wakes it, or a time has passed. A wake that comes first is kept for the next
/// sleep.
@safe package final class Parker: @unchecked Sendable {
    // Sendable: `isWoken` is touched only under `mutex`.
    private var isWoken = false
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

    package init() {
        unsafe mutex = .allocate(capacity: 1)
        unsafe condition = .allocate(capacity: 1)
        unsafe mutex.initialize(to: pthread_mutex_t())
        unsafe condition.initialize(to: pthread_cond_t())
        unsafe pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        unsafe pthread_condattr_init(&attributes)
        // A clock that nobody sets.
        unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        unsafe pthread_cond_init(condition, &attributes)
        unsafe pthread_condattr_destroy(&attributes)
    }

    deinit {
        unsafe pthread_cond_destroy(condition)
        unsafe pthread_mutex_destroy(mutex)
        unsafe condition.deallocate()
        unsafe mutex.deallocate()
    }

    /// Sleeps until `unpark`, at most `nanoseconds` when given. Whether it was woken.
    @discardableResult
    package func park(nanoseconds: UInt64? = nil) -> Bool {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        var deadline = timespec()
        if let nanoseconds {
            let end = HostClock().monotonicNanoseconds() &+ nanoseconds
            deadline.tv_sec = Int(end / 1_000_000_000)
            deadline.tv_nsec = Int(end % 1_000_000_000)
        }
        while !isWoken {
            if nanoseconds == nil {
                unsafe pthread_cond_wait(condition, mutex)
            } else if unsafe pthread_cond_timedwait(condition, mutex, &deadline) != 0 {
                break
            }
        }
        defer { isWoken = false }
        return isWoken
    }

    package func unpark() {
        unsafe pthread_mutex_lock(mutex)
        isWoken = true
        unsafe pthread_cond_signal(condition)
        unsafe pthread_mutex_unlock(mutex)
    }
}
