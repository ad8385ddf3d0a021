import Glibc

enum UserAccount {
    /// By its name or number.
    static func id(of name: String) -> UInt32? {
        if let number = UInt32(name) { return number }
        var record = unsafe passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16 << 10)
        let status = unsafe getpwnam_r(name, &record, &buffer, buffer.count, &found)
        guard status == 0, unsafe found != nil else { return nil }
        return unsafe record.pw_uid
    }
}
