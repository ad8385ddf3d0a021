import Agent

/// The agent's configuration file: what is taken reads the same when it is printed.
func fuzzConfiguration(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeRawBufferPointer(start: start, count: count))
    let host = HostSurroundings(isRoot: true, hostName: "node", variables: [:])
    func read(_ bytes: [UInt8]) -> AgentConfiguration? {
        try? ConfigurationReader.read(
            file: (name: "kamld.yaml", bytes: bytes), flags: [], host: host, secretFile: { _ in nil })
    }
    if let configuration = read(bytes) {
        precondition(read(Array(configuration.rendered().utf8)) == configuration)
    }
    return 0
}
