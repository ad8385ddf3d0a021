import KamlCommand
import System
import Testing

@Suite struct DoctorTests {
    /// A machine on which all is well.
    private var healthy: HostFacts {
        var facts = HostFacts()
        facts.kernelRelease = "6.12.0-1-amd64"
        facts.isRoot = true
        facts.hasSystemAdministration = true
        facts.mountHelper = "/usr/bin/fusermount3"
        facts.helperIsSetuid = true
        facts.allowsOtherUsers = true
        facts.descriptorLimit = 1 << 20
        facts.descriptorHardLimit = 1 << 20
        facts.cacheDirectory = "/var/cache/kaml"
        facts.cacheDisk = .init(
            path: "/var/cache/kaml", type: 0xEF53, totalBytes: 100 << 30, freeBytes: 50 << 30,
            totalInodes: 1 << 20,
            freeInodes: 1 << 19, writing: .ok)
        facts.now = Timestamp(seconds: 1_800_000_000, nanoseconds: 0)
        return facts
    }

    private func verdict(_ check: String, _ change: (inout HostFacts) -> Void) -> Finding.Verdict? {
        var facts = healthy
        change(&facts)
        return facts.judge().first { $0.check == check }?.verdict
    }

    @Test func aHealthyMachine() { #expect(Diagnosis(healthy.judge()).verdict == .ok) }

    @Test(arguments: [
        ("6.18.44-fc-v657", Finding.Verdict.ok), ("6.9", .ok), ("6.8.0-45-generic", .warn), ("5.10.0", .warn),
        ("4.19.0", .fail), ("strange", .warn),
    ])
    func kernels(_ release: String, _ expected: Finding.Verdict) {
        #expect(verdict("kernel") { $0.kernelRelease = release } == expected)
        // What cannot resend loses what a killed agent had in hand.
        #expect(verdict("agent's end") { $0.kernelRelease = release } == (expected == .ok ? .ok : .warn))
    }

    @Test func whatAMachineCanLack() {
        #expect(verdict("/dev/fuse") { $0.fuseDevice = .failed(.noEntry) } == .fail)
        #expect(verdict("/dev/fuse") { $0.fuseDevice = .failed(.accessDenied) } == .fail)
        #expect(verdict("privileges") { $0.hasSystemAdministration = false } == .warn)
        #expect(verdict("fusermount3") { $0.mountHelper = nil } == .ok)
        #expect(
            verdict("fusermount3") {
                $0.mountHelper = nil
                $0.isRoot = false
            } == .fail)
        #expect(verdict("open files") { $0.descriptorHardLimit = 1024 } == .warn)
        #expect(verdict("cache") { $0.cacheDisk = nil } == .fail)
        #expect(verdict("cache") { $0.cacheDisk?.writing = .failed(.readOnlyFileSystem) } == .fail)
        #expect(verdict("cache disk") { $0.cacheDisk?.type = 0x794C_7630 } == .warn)
        #expect(verdict("cache disk") { $0.cacheDisk?.type = 0x6969 } == .fail)
        #expect(verdict("cache space") { $0.cacheDisk?.freeBytes = 1 << 20 } == .warn)
        #expect(verdict("cache space") { $0.cacheDisk?.freeInodes = 3 } == .warn)
        #expect(verdict("clock") { $0.now = Timestamp(seconds: 0, nanoseconds: 0) } == .warn)
    }

    @Test func whateverIsNotOkHasARemedy() {
        var facts = HostFacts()
        facts.fuseDevice = .failed(.noEntry)
        for finding in facts.judge() where finding.verdict != .ok {
            #expect(finding.remedy?.isEmpty == false)
        }
        let text = Diagnosis(facts.judge()).render()
        #expect(text.contains("fail  /dev/fuse"))
        #expect(text.contains("-> modprobe fuse"))
    }
}
