import Glibc
import System

/// holder-test-helper serve SOCKET MOUNTPOINT passthrough|zero DATA
/// holder-test-helper load MOUNTPOINT         until SIGTERM; then says how it went
@main
enum Helper {
    static func main() {
        let arguments = CommandLine.arguments
        switch arguments.dropFirst().first {
        case "serve" where arguments.count == 6:
            Serving.run(
                socket: ByteString(arguments[2]), mountPoint: ByteString(arguments[3]),
                passthrough: arguments[4] == "passthrough", data: ByteString(arguments[5]))
        case "load" where arguments.count == 3: Load.run(arguments[2])
        default: exit(2)
        }
    }
}
