import Chunking
package import DatasetStore

/// The datasets of a store with their branches and tags.
package struct ListReport: Report {
    private let state: LogState
    private let datasets: [DatasetName]

    package init(_ state: LogState) {
        self.state = state
        // A dataset all of whose names were deleted still has snapshots, which an id can name.
        datasets = state.datasets.keys.sorted()
    }

    package var value: OutputValue {
        let list = datasets.map { name -> OutputValue in
            [
                "name": .string(name.text), "snapshots": .count(state.datasets[name]?.commits.count ?? 0),
                "branches": .list(NamesReport(.branch, of: name, in: state).names.map(\.value)),
                "tags": .list(NamesReport(.tag, of: name, in: state).names.map(\.value)),
            ]
        }
        return ["datasets": .list(list)]
    }

    package func render() -> String {
        var table = Table(
            [
                .init("DATASET"), .init("REF"), .init("KIND"), .init("SNAPSHOT"), .init("TIME"),
                .init("FILES", .right), .init("BYTES", .right),
            ], emptyText: "no datasets yet; make one with: kaml commit NAME DIRECTORY")
        for dataset in datasets {
            for kind in [NamesReport.Kind.branch, .tag] {
                for name in NamesReport(kind, of: dataset, in: state).names {
                    table.add([
                        dataset.text, name.name, kind.rawValue, ShortID.of(name.commit.commit.snapshot),
                        TimeText.local(name.commit.record.time), CountText.of(name.commit.commit.files),
                        BytesText.of(name.commit.commit.bytes),
                    ])
                }
            }
        }
        return table.render()
    }
}

/// The branches or tags of one dataset.
package struct NamesReport: Report {
    package enum Kind: String, Sendable { case branch, tag }

    struct Name {
        var name: String
        var commit: LoggedCommit

        var value: OutputValue {
            [
                "name": .string(name), "snapshot": .string(commit.commit.snapshot.hex),
                "sequence": .unsigned(commit.sequence), "time": .time(commit.record.time),
                "files": .unsigned(commit.commit.files), "bytes": .unsigned(commit.commit.bytes),
            ]
        }
    }

    private let kind: Kind
    private let dataset: DatasetName
    let names: [Name]

    package init(_ kind: Kind, of dataset: DatasetName, in state: LogState) {
        self.kind = kind
        self.dataset = dataset
        let found = state.datasets[dataset]
        let targets = (kind == .branch ? found?.branches : found?.tags) ?? [:]
        names = targets.sorted { $0.key < $1.key }.compactMap { name, target in
            state.commits[target].map { Name(name: name.text, commit: $0) }
        }
    }

    package var value: OutputValue {
        .object([
            "dataset": .string(dataset.text),
            kind == .branch ? "branches" : "tags": .list(names.map(\.value)),
        ])
    }

    package func render() -> String {
        var table = Table(
            [.init(kind.rawValue.uppercased()), .init("SNAPSHOT"), .init("TIME"), .init("MESSAGE")],
            emptyText: "\(dataset) has no \(kind == .branch ? "branches" : "tags")")
        for name in names {
            table.add([
                name.name, ShortID.of(name.commit.commit.snapshot), TimeText.local(name.commit.record.time),
                name.commit.commit.message,
            ])
        }
        return table.render()
    }
}
