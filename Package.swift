// swift-tools-version: 6.2
import PackageDescription

// A folder of Sources is a layer, listed here from the ground up. A target imports only targets
// declared above it; every build passes `--explicit-target-dependency-import-check error`.

/// For generated code and tests; `strict` adds that every unsafe expression says so.
let checked: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]
let strict: [SwiftSetting] = checked + [.strictMemorySafety()]

let protobuf: Target.Dependency = .product(name: "SwiftProtobuf", package: "swift-protobuf")
let grpcCore: Target.Dependency = .product(name: "GRPCCore", package: "grpc-swift-2")
let grpcProtobuf: Target.Dependency = .product(name: "GRPCProtobuf", package: "grpc-swift-protobuf")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let coreMetrics: Target.Dependency = .product(name: "CoreMetrics", package: "swift-metrics")
let instrumentation: Target.Dependency = .product(
    name: "Instrumentation", package: "swift-distributed-tracing")
let tracing: Target.Dependency = .product(name: "Tracing", package: "swift-distributed-tracing")
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

func swiftTarget(
    _ name: String, in layer: String, _ dependencies: [Target.Dependency], exclude: [String] = []
) -> Target {
    .target(
        name: name, dependencies: dependencies, path: "Sources/\(layer)/\(name)", exclude: exclude,
        swiftSettings: strict)
}

func tests(
    _ name: String, _ dependencies: [Target.Dependency], exclude: [String] = [], resources: [Resource] = []
) -> Target {
    .testTarget(
        name: name, dependencies: dependencies, path: "Tests/\(name)", exclude: exclude, resources: resources,
        swiftSettings: checked)
}

let c: [Target] = [
    .systemLibrary(
        name: "CFuse3", path: "Sources/C/CFuse3", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
    .systemLibrary(
        name: "CZstd", path: "Sources/C/CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(
        name: "CCrypto", path: "Sources/C/CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(
        name: "CCurl", path: "Sources/C/CCurl", pkgConfig: "libcurl",
        providers: [.apt(["libcurl4-openssl-dev"])]
    ),
    // Not Yams, which brings all of Foundation and gives up at the first error.
    .systemLibrary(
        name: "CLibYAML", path: "Sources/C/CLibYAML", pkgConfig: "yaml-0.1",
        providers: [.apt(["libyaml-dev"])]
    ),
    .systemLibrary(
        name: "CZlib", path: "Sources/C/CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .target(name: "CKamlSys", path: "Sources/C/CKamlSys"),
    // What agent and pod share: the feed's memory layout and order. The pod's library compiles it too.
    .target(name: "CKamlFeed", path: "Sources/C/CKamlFeed"),
]

let ground: [Target] = [
    swiftTarget("System", in: "Ground", ["CKamlSys"]),
    swiftTarget("Telemetry", in: "Ground", ["System"], exclude: ["metrics.yaml", "alerts.yaml"]),
    swiftTarget("Chunking", in: "Ground", ["System", "CZstd", "CCrypto"]),
    swiftTarget("ObjectStore", in: "Ground", ["System"]),
    swiftTarget("HTTPExchange", in: "Ground", ["System", "Telemetry"]),
    swiftTarget("S3", in: "Ground", ["System", "Chunking", "ObjectStore", "HTTPExchange", "CCrypto"]),
    .target(
        name: "KamlProtos", dependencies: [protobuf], path: "Sources/Ground/KamlProtos",
        exclude: ["Generated/CURRENT"], swiftSettings: checked),
    // The stubs of the services in proto/: apart, so that what reads a store's log needs no gRPC.
    .target(
        name: "KamlRPC", dependencies: ["KamlProtos", protobuf, grpcCore, grpcProtobuf],
        path: "Sources/Ground/KamlRPC", exclude: ["Generated/CURRENT"], swiftSettings: checked),
]

let store: [Target] = [
    swiftTarget("DatasetStore", in: "Store", ["System", "Chunking", "ObjectStore", "KamlProtos", protobuf])
]

let cache: [Target] = [
    swiftTarget(
        "NodeCache", in: "Cache",
        ["System", "Telemetry", "Chunking", "ObjectStore", "DatasetStore", "CCrypto"])
]

let node: [Target] = [
    swiftTarget(
        "DatasetFS", in: "Node",
        ["System", "Telemetry", "Chunking", "ObjectStore", "DatasetStore", "NodeCache"]),
    swiftTarget(
        "RecordIndex", in: "Node",
        ["System", "Chunking", "ObjectStore", "DatasetStore", "CKamlFeed", "CZlib"]),
    swiftTarget(
        "RecordFeed", in: "Node",
        [
            "System", "Telemetry", "Chunking", "ObjectStore", "KamlProtos", "DatasetStore", "NodeCache",
            "DatasetFS", "RecordIndex", "CKamlFeed", "CKamlSys", protobuf,
        ]),
    swiftTarget("FuseMount", in: "Node", ["System", "CKamlSys"]),
    swiftTarget("MountHolder", in: "Node", ["System", "KamlProtos", "FuseMount", "CKamlSys", protobuf]),
    swiftTarget(
        "FuseSession", in: "Node", ["System", "Telemetry", "FuseMount", "DatasetFS", "CFuse3", "CKamlSys"]),
]

let wiring: [Target] = [
    // The only importer of curl, NIO and the gRPC transports.
    swiftTarget(
        "Transport", in: "Wiring",
        [
            "System", "HTTPExchange", "CCurl", grpcCore,
            .product(name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport"),
            .product(name: "NIOCore", package: "swift-nio"),
            .product(name: "NIOPosix", package: "swift-nio"),
            .product(name: "NIOHTTP1", package: "swift-nio"),
        ]),
    swiftTarget(
        "Observability", in: "Wiring",
        [
            "System", "Telemetry", "HTTPExchange", "KamlProtos", "KamlRPC", "CKamlSys", protobuf, grpcCore,
            logging, coreMetrics, instrumentation, tracing,
        ]),
    swiftTarget("Stores", in: "Wiring", ["System", "ObjectStore", "HTTPExchange", "S3", "Transport"]),
    swiftTarget(
        "Agent", in: "Wiring",
        [
            "System", "Telemetry", "Chunking", "ObjectStore", "HTTPExchange", "S3", "KamlProtos", "KamlRPC",
            "DatasetStore", "NodeCache", "DatasetFS", "RecordIndex", "RecordFeed", "FuseMount", "FuseSession",
            "MountHolder", "Transport",
            "Observability", "Stores", "CLibYAML", protobuf, grpcCore, logging, coreMetrics, instrumentation,
            lifecycle,
        ], exclude: ["Configuration/kamld.example.yaml"]),
]

let executables: [Target] = [
    swiftTarget(
        "KamlCommand", in: "Executables",
        [
            "System", "Chunking", "ObjectStore", "S3", "Stores", "DatasetStore", "NodeCache", "RecordIndex",
            "FuseMount", "CKamlSys", "CFuse3", "CZstd", "CCrypto",
        ], exclude: ["README.md"]),
    .executableTarget(
        name: "kaml",
        dependencies: [
            "System", "Chunking", "ObjectStore", "S3", "Stores", "DatasetStore", "NodeCache", "RecordIndex",
            "FuseMount", "FuseSession", "Agent", "KamlCommand", "KamlProtos", "KamlRPC", "Transport",
            grpcCore, protobuf,
            argumentParser,
        ],
        path: "Sources/Executables/kaml", swiftSettings: strict),
    .executableTarget(
        name: "kamld",
        dependencies: [
            "System", "KamlCommand", "KamlRPC", "Agent", argumentParser, logging, lifecycle,
            .product(name: "UnixSignals", package: "swift-service-lifecycle"),
        ],
        path: "Sources/Executables/kamld", swiftSettings: strict),
    .executableTarget(
        name: "kamld-holder", dependencies: ["System", "MountHolder", argumentParser],
        path: "Sources/Executables/kamld-holder", swiftSettings: strict),
    .executableTarget(
        name: "kaml-bench",
        dependencies: [
            "System", "Chunking", "ObjectStore", "DatasetStore", "NodeCache", "Agent", argumentParser,
        ],
        path: "Sources/Executables/kaml-bench", swiftSettings: strict),
]

let testTargets: [Target] = [
    .target(
        name: "KamlTestSupport",
        dependencies: ["System", "Telemetry", "Chunking", "ObjectStore", "DatasetStore"],
        path: "Tests/KamlTestSupport", swiftSettings: checked),
    tests("SystemTests", ["System", "CKamlSys", "KamlTestSupport"]),
    tests("TelemetryTests", ["System", "Telemetry", "KamlTestSupport"]),
    // Vectors are read by path: Bundle.module would bring Foundation.
    tests("ChunkingTests", ["System", "Chunking", "CCrypto", "KamlTestSupport"], exclude: ["Vectors"]),
    .target(
        name: "HTTPTestSupport", dependencies: ["System", "HTTPExchange"], path: "Tests/HTTPTestSupport",
        swiftSettings: checked),
    tests(
        "HTTPExchangeTests",
        ["System", "Telemetry", "HTTPExchange", "Transport", "KamlTestSupport", "HTTPTestSupport"]),
    tests("TransportTests", ["System", "HTTPExchange", "Transport", "KamlTestSupport", "HTTPTestSupport"]),
    tests(
        "ObservabilityTests",
        [
            "System", "Telemetry", "HTTPExchange", "Transport", "KamlProtos", "Observability", "CKamlSys",
            "KamlTestSupport", "HTTPTestSupport", protobuf, logging, coreMetrics, instrumentation, tracing,
        ]),
    tests("KamlProtosTests", ["System", "Chunking", "CCrypto"]),
    tests("ObjectStoreTests", ["System", "ObjectStore", "KamlTestSupport"]),
    // Vectors are read by path, as in ChunkingTests.
    tests(
        "S3Tests", ["System", "Chunking", "ObjectStore", "HTTPExchange", "S3", "Stores", "KamlTestSupport"],
        exclude: ["Vectors"]),
    tests(
        "DatasetStoreTests", ["System", "Chunking", "ObjectStore", "DatasetStore", "KamlTestSupport"],
        exclude: ["Vectors"]),
    // Filled by a process of its own, so that a test can kill it.
    .executableTarget(
        name: "cache-fill-helper",
        dependencies: ["System", "Chunking", "ObjectStore", "DatasetStore", "NodeCache", "KamlTestSupport"],
        path: "Tests/CacheFillHelper", swiftSettings: checked),
    // Traces are read by path, as vectors are.
    tests(
        "NodeCacheTests",
        [
            "System", "Chunking", "ObjectStore", "DatasetStore", "NodeCache", "KamlTestSupport",
            "cache-fill-helper",
        ], exclude: ["Traces"]),
    tests(
        "DatasetFSTests",
        [
            "System", "Telemetry", "Chunking", "ObjectStore", "DatasetStore", "NodeCache", "DatasetFS",
            "KamlTestSupport",
        ]),
    // Vectors are read by path, as in ChunkingTests.
    tests(
        "RecordIndexTests",
        [
            "System", "Chunking", "ObjectStore", "DatasetStore", "RecordIndex", "CKamlFeed", "CZlib",
            "KamlTestSupport",
        ], exclude: ["order-vectors.json"]),
    // Feeds without an agent around it.
    .executableTarget(
        name: "feed-test-server",
        dependencies: [
            "System", "ObjectStore", "DatasetStore", "NodeCache", "DatasetFS", "RecordIndex", "RecordFeed",
        ],
        path: "Tests/FeedTestServer", swiftSettings: checked),
    tests(
        "RecordFeedTests",
        [
            "System", "Telemetry", "ObjectStore", "DatasetStore", "NodeCache", "DatasetFS", "RecordIndex",
            "RecordFeed", "KamlProtos", "CKamlFeed", "KamlTestSupport", protobuf,
        ]),
    .target(
        name: "FuseTestSupport", dependencies: ["System", "DatasetFS", "FuseSession"],
        path: "Tests/FuseTestSupport", swiftSettings: checked),
    // A serving process that tests can kill, or run as another user.
    .executableTarget(
        name: "fuse-test-server",
        dependencies: ["System", "DatasetFS", "FuseMount", "FuseSession", "FuseTestSupport"],
        path: "Tests/FuseTestServer", swiftSettings: checked),
    // Serves, and loads, mounts that the holder keeps; killed again and again.
    .target(
        name: "NotifySocket", dependencies: ["CKamlSys", "System"], path: "Tests/NotifySocket",
        swiftSettings: checked),
    .executableTarget(
        name: "holder-test-helper",
        dependencies: [
            "CXattr", "System", "DatasetFS", "FuseMount", "FuseSession", "MountHolder", "FuseTestSupport",
        ],
        path: "Tests/HolderTestHelper", swiftSettings: checked),
    tests(
        "MountHolderTests",
        [
            "CKamlSys", "System", "FuseMount", "MountHolder", "FuseTestSupport", "KamlTestSupport",
            "NotifySocket", "holder-test-helper", "kamld-holder",
        ]),
    // Swift's Glibc module leaves sys/xattr.h out.
    .systemLibrary(name: "CXattr", path: "Tests/CXattr"),
    tests(
        "KamlCommandTests",
        [
            "System", "Chunking", "ObjectStore", "DatasetStore", "NodeCache", "FuseMount", "KamlCommand",
            "KamlTestSupport",
        ]),
    tests("AgentTests", ["System", "NodeCache", "FuseSession", "Agent", "KamlTestSupport"]),
    // Runs the built `kaml`: the one that KAML_BIN names, else the one beside the tests.
    tests(
        "IntegrationTests",
        [
            "CXattr", "System", "Chunking", "ObjectStore", "S3", "DatasetStore", "NodeCache", "Stores",
            "FuseMount", "MountHolder", "KamlTestSupport", "NotifySocket", "kaml", "kamld", "kamld-holder",
            "kaml-bench",
        ]),
    tests(
        "FuseSessionTests",
        ["CXattr", "System", "DatasetFS", "FuseMount", "FuseSession", "FuseTestSupport", "fuse-test-server"]),
]

// Built only for fuzzing, with libFuzzer's own flags: `.ci/fuzz.sh`.
let fuzzTargets: [Target] =
    Context.environment["KAML_FUZZ"] == nil
    ? []
    : [
        .systemLibrary(name: "CLibFuzzer", path: "Tests/Fuzz/CLibFuzzer"),
        .executableTarget(
            name: "kaml-fuzz",
            dependencies: [
                "System", "Chunking", "ObjectStore", "S3", "DatasetStore", "RecordIndex", "CKamlFeed",
                "CZlib", "FuseMount", "MountHolder",
                "KamlTestSupport", "CLibFuzzer",
            ],
            path: "Tests/Fuzz/KamlFuzz", swiftSettings: checked),
    ]

let package = Package(
    name: "kaml",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "kaml", targets: ["kaml"]), .executable(name: "kamld", targets: ["kamld"]),
        .executable(name: "kamld-holder", targets: ["kamld-holder"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.1"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.3"),
    ],
    targets: c + ground + store + cache + node + wiring + executables + testTargets + fuzzTargets
)
