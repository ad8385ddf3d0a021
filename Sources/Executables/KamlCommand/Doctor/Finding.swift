/// One line of `kaml doctor`.
package struct Finding: Sendable, Hashable {
    package enum Verdict: String, Sendable, Comparable {
        case ok, warn, fail

        package static func < (left: Verdict, right: Verdict) -> Bool { left.rank < right.rank }

        private var rank: Int {
            switch self {
            case .ok: 0
            case .warn: 1
            case .fail: 2
            }
        }
    }

    /// What was looked at, such as `kernel`.
    package var check: String
    package var verdict: Verdict
    /// What was found.
    package var detail: String
    /// What to do about it; always there unless the verdict is ok.
    package var remedy: String?

    package init(_ check: String, _ verdict: Verdict, _ detail: String, remedy: String? = nil) {
        self.check = check
        self.verdict = verdict
        self.detail = detail
        self.remedy = remedy
    }

    package static func ok(_ check: String, _ detail: String) -> Finding { Finding(check, .ok, detail) }
    package static func warn(_ check: String, _ detail: String, remedy: String) -> Finding {
        Finding(check, .warn, detail, remedy: remedy)
    }
    package static func fail(_ check: String, _ detail: String, remedy: String) -> Finding {
        Finding(check, .fail, detail, remedy: remedy)
    }
}

/// The findings as a whole.
package struct Diagnosis: Sendable {
    package var findings: [Finding]

    package init(_ findings: [Finding]) { self.findings = findings }

    package var verdict: Finding.Verdict { findings.map(\.verdict).max() ?? .ok }

    package var value: OutputValue {
        let lines = findings.map { finding -> OutputValue in
            var line = OutputObject([
                "check": .string(finding.check), "verdict": .string(finding.verdict.rawValue),
                "detail": .string(finding.detail),
            ])
            line["remedy"] = finding.remedy.map(OutputValue.string)
            return line.value
        }
        return ["verdict": .string(verdict.rawValue), "findings": .list(lines)]
    }

    package func render() -> String {
        var text = ""
        let width = findings.map { CellText.width($0.check) }.max() ?? 0
        for finding in findings {
            let padding = String(repeating: " ", count: width - CellText.width(finding.check))
            let verdict = finding.verdict.rawValue
            text +=
                verdict + String(repeating: " ", count: 4 - verdict.utf8.count)
                + "  \(finding.check)\(padding)  "
            text += CellText.safe(finding.detail) + "\n"
            if let remedy = finding.remedy {
                text += String(repeating: " ", count: width + 8) + "-> " + CellText.safe(remedy) + "\n"
            }
        }
        return text
    }
}
