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
    .target(name: "CKamlSys", path: "Sources/C/CKamlSys"),
]

let ground: [Target] = [
    swiftTarget("System", in: "Ground", ["CKamlSys"]),
    swiftTarget("Chunking", in: "Ground", ["System", "CZstd", "CCrypto"]),
    swiftTarget("ObjectStore", in: "Ground", ["System"]),
    swiftTarget("HTTPExchange", in: "Ground", ["System"]),
    swiftTarget("S3", in: "Ground", ["System", "Chunking", "ObjectStore", "HTTPExchange", "CCrypto"]),
    .target(
        name: "KamlProtos", dependencies: [protobuf], path: "Sources/Ground/KamlProtos",
        exclude: ["Generated/CURRENT"], swiftSettings: checked),
]

let store: [Target] = [
    swiftTarget("DatasetStore", in: "Store", ["System", "Chunking", "ObjectStore", "KamlProtos", protobuf])
]

let cache: [Target] = [
    swiftTarget("NodeCache", in: "Cache", ["System", "Chunking", "ObjectStore", "DatasetStore", "CCrypto"])
]

let node: [Target] = [
    swiftTarget("DatasetFS", in: "Node", ["System", "Chunking", "ObjectStore", "DatasetStore", "NodeCache"]),
    swiftTarget("FuseSession", in: "Node", ["System", "DatasetFS", "CFuse3", "CKamlSys"]),
]

let wiring: [Target] = [
    swiftTarget("Transport", in: "Wiring", ["System", "HTTPExchange", "CCurl"]),
    swiftTarget("Stores", in: "Wiring", ["System", "ObjectStore", "HTTPExchange", "S3", "Transport"]),
    swiftTarget(
        "Agent", in: "Wiring",
        ["System", "Chunking", "ObjectStore", "DatasetStore", "NodeCache", "DatasetFS", "FuseSession"]),
]

let executables: [Target] = [
    swiftTarget(
        "KamlCommand", in: "Executables",
        [
            "System", "Chunking", "ObjectStore", "S3", "Stores", "DatasetStore", "NodeCache", "FuseSession",
            "CKamlSys", "CFuse3", "CZstd", "CCrypto",
        ], exclude: ["README.md"]),
    .executableTarget(
        name: "kaml",
        dependencies: [
            "System", "Chunking", "ObjectStore", "S3", "Stores", "DatasetStore", "NodeCache", "FuseSession",
            "Agent", "KamlCommand", argumentParser,
        ],
        path: "Sources/Executables/kaml", swiftSettings: strict),
    .executableTarget(
        name: "kaml-bench",
        dependencies: [
            "System", "Chunking", "ObjectStore", "DatasetStore", "NodeCache", "Agent", argumentParser,
        ],
        path: "Sources/Executables/kaml-bench", swiftSettings: strict),
]

let testTargets: [Target] = [
    .target(
        name: "KamlTestSupport", dependencies: ["System", "Chunking", "ObjectStore", "DatasetStore"],
        path: "Tests/KamlTestSupport", swiftSettings: checked),
    tests("SystemTests", ["System", "KamlTestSupport"]),
    // Vectors are read by path: Bundle.module would bring Foundation.
    tests("ChunkingTests", ["System", "Chunking", "CCrypto", "KamlTestSupport"], exclude: ["Vectors"]),
    .target(
        name: "HTTPTestSupport", dependencies: ["System", "HTTPExchange"], path: "Tests/HTTPTestSupport",
        swiftSettings: checked),
    tests(
        "HTTPExchangeTests", ["System", "HTTPExchange", "Transport", "KamlTestSupport", "HTTPTestSupport"]),
    tests("TransportTests", ["System", "HTTPExchange", "Transport", "KamlTestSupport", "HTTPTestSupport"]),
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
        ["System", "Chunking", "ObjectStore", "DatasetStore", "NodeCache", "DatasetFS", "KamlTestSupport"]),
    .target(
        name: "FuseTestSupport", dependencies: ["System", "DatasetFS", "FuseSession"],
        path: "Tests/FuseTestSupport", swiftSettings: checked),
    // A serving process that tests can kill, or run as another user.
    .executableTarget(
        name: "fuse-test-server", dependencies: ["System", "DatasetFS", "FuseSession", "FuseTestSupport"],
        path: "Tests/FuseTestServer", swiftSettings: checked),
    // Swift's Glibc module leaves sys/xattr.h out.
    .systemLibrary(name: "CXattr", path: "Tests/CXattr"),
    tests(
        "KamlCommandTests",
        [
            "System", "Chunking", "ObjectStore", "DatasetStore", "NodeCache", "FuseSession", "KamlCommand",
            "KamlTestSupport",
        ]),
    // Runs the built `kaml`: the one that KAML_BIN names, else the one beside the tests.
    tests(
        "IntegrationTests",
        [
            "CXattr", "System", "Chunking", "ObjectStore", "S3", "DatasetStore", "NodeCache", "Stores",
            "KamlTestSupport", "kaml",
        ]),
    tests(
        "FuseSessionTests",
        ["CXattr", "System", "DatasetFS", "FuseSession", "FuseTestSupport", "fuse-test-server"]),
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
                "System", "Chunking", "ObjectStore", "S3", "DatasetStore", "KamlTestSupport", "CLibFuzzer",
            ],
            path: "Tests/Fuzz/KamlFuzz", swiftSettings: checked),
    ]

let package = Package(
    name: "kaml",
    platforms: [.macOS(.v15)],
    products: [.executable(name: "kaml", targets: ["kaml"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
    ],
    targets: c + ground + store + cache + node + wiring + executables + testTargets + fuzzTargets
)
