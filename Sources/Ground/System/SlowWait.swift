import Glibc

/// Told when its thread is about to wait for something slow, such as a network, so that other threads can take over what
/// it would have done meanwhile.
package protocol SlowWaitObserver: AnyObject, Sendable {
    func willWait()
    func didWait()
}

/// Marks waits that may take long. Costs nothing worth mentioning on threads that nobody watches.
package enum SlowWait {
    private static let key: pthread_key_t? = {
        var key = pthread_key_t()
        return unsafe pthread_key_create(&key, nil) == 0 ? key : nil
    }()

    /// Has the calling thread watched, until nil is given. The caller keeps the observer alive as long.
    package static func observe(_ observer: (any SlowWaitObserver)?) {
        guard let key else { return }
        let box = unsafe observer.map { unsafe Unmanaged.passRetained(Box($0)).toOpaque() }
        if let old = unsafe pthread_getspecific(key) { unsafe Unmanaged<Box>.fromOpaque(old).release() }
        unsafe pthread_setspecific(key, box)
    }

    /// Runs what may wait long.
    package static func during<Value, Failure: Error>(
        _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        guard let key, let pointer = unsafe pthread_getspecific(key) else { return try body() }
        let observer = unsafe Unmanaged<Box>.fromOpaque(pointer).takeUnretainedValue().observer
        observer.willWait()
        defer { observer.didWait() }
        return try body()
    }

    private final class Box: Sendable {
        let observer: any SlowWaitObserver
        init(_ observer: any SlowWaitObserver) { self.observer = observer }
    }
}
