import Glibc
import System
import Testing

/// libkaml, TensorFlow, PyTorch, NumPy and the example notebook, fed by the agent under test. The first run makes Python
/// environments below .build/pod, which takes minutes and a package index.
@Suite(.serialized) struct `What runs in pods is fed by the agent` {
    private static let top = ByteString(
        String(#filePath.dropLast("Tests/IntegrationTests/Feed/PodTests.swift".count)))

    @Test func `with the newest and with the oldest TensorFlow`() async throws {
        try await inLab(seconds: 1800) { lab in
            var environment = ["KAMLD": "\(lab.program("kamld"))", "KAML": "\(lab.program("kaml"))"]
            // Environments that somebody has made already.
            if let shared = getenv("POD_VENVS") { environment["POD_VENVS"] = String(cString: shared) }
            let ended = try lab.run(
                ["bash", Self.top.appending(".ci/pod.sh"), "agent"], environment: environment, seconds: 1700)
            #expect(ended.status == 0, "\(ended)")
        }
    }
}
