import Glibc
import NotifySocket
import System
import Testing

extension OnMounts {
    @Suite(.serialized) struct `An agent under a service manager` {
        @Test func `tells when it is ready, alive, reloading and ending`() async throws {
            try await inLab { lab in
                let node = try LabNode(lab)
                let manager = try NotifySocket(lab.path("notify"))
                lab.set(["NOTIFY_SOCKET": "\(manager.address)", "WATCHDOG_USEC": "400000"])
                func told(_ line: String, seconds: Int = 20) throws -> Bool {
                    try until(seconds: seconds) {
                        try manager.take()
                        return manager.messages.contains { $0.hasPrefix(line) }
                    }
                }
                // The holder would have the same environment.
                try node.launchAgent()
                #expect(try told("STATUS=the mount holder"))
                // Not while it cannot go on with what an agent before it served; but it is not hung.
                #expect(!manager.messages.contains("READY=1\n"))
                #expect(try told("WATCHDOG=1"))
                lab.set(["NOTIFY_SOCKET": ""])
                try node.startHolder()
                #expect(try told("READY=1"))
                _ = try node.mount()
                #expect(try told("STATUS=1 mounts"))
                let ready = manager.messages.count { $0 == "READY=1\n" }
                try node.agent.kill(SIGHUP)
                #expect(try told("RELOADING=1\nMONOTONIC_USEC="))
                #expect(
                    try until(seconds: 10) {
                        try manager.take()
                        return manager.messages.count { $0 == "READY=1\n" } == ready + 1
                    })
                try node.agent.kill(SIGTERM)
                #expect(try told("STOPPING=1"))
                #expect(try node.agent.wait(seconds: 20).status == 0)
            }
        }
    }
}
