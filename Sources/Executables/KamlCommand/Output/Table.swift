/// Rows for people: columns as wide as their widest cell, two spaces between them.
package struct Table: Sendable {
    package enum Alignment: Sendable { case left, right }

    package struct Column: Sendable {
        package var title: String
        package var alignment: Alignment

        package init(_ title: String, _ alignment: Alignment = .left) {
            self.title = title
            self.alignment = alignment
        }
    }

    package private(set) var columns: [Column]
    package private(set) var rows: [[String]] = []
    /// Said instead of an empty table.
    package var emptyText: String

    package init(_ columns: [Column], emptyText: String = "") {
        self.columns = columns
        self.emptyText = emptyText
    }

    /// Adds a row with a cell for every column.
    package mutating func add(_ cells: [String]) {
        precondition(cells.count == columns.count, "a row has a cell for every column")
        rows.append(cells.map(CellText.safe))
    }

    /// Lines with a header, or without one when no column has a title.
    package func render() -> String {
        guard !rows.isEmpty else { return emptyText.isEmpty ? "" : emptyText + "\n" }
        let titles = columns.map(\.title)
        let shown = titles.allSatisfy(\.isEmpty) ? rows : [titles] + rows
        var widths = [Int](repeating: 0, count: columns.count)
        for row in shown {
            for (index, cell) in row.enumerated() { widths[index] = max(widths[index], CellText.width(cell)) }
        }
        return shown.map { line($0, widths) + "\n" }.joined()
    }

    private func line(_ cells: [String], _ widths: [Int]) -> String {
        var text = ""
        for (index, cell) in cells.enumerated() {
            let padding = String(repeating: " ", count: widths[index] - CellText.width(cell))
            switch columns[index].alignment {
            case .right: text += padding + cell
            case .left: text += cell + padding
            }
            if index < cells.count - 1 { text += "  " }
        }
        while text.last == " " { text.removeLast() }
        return text
    }
}

/// What may stand in one line of a terminal.
package enum CellText {
    /// The text without control characters: a message from a store must not be able to move the cursor,
    /// hide other lines or set a window's title.
    package static func safe(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isControl) else { return text }
        var safe = ""
        for scalar in text.unicodeScalars {
            if isControl(scalar) {
                safe += scalar == "\n" || scalar == "\t" ? " " : "\u{FFFD}"
            } else {
                safe.unicodeScalars.append(scalar)
            }
        }
        return safe
    }

    /// Columns on a terminal: marks that combine take none, East Asian wide characters and emoji two.
    package static func width(_ text: String) -> Int {
        text.unicodeScalars.reduce(0) { $0 + width($1) }
    }

    /// At most `limit` columns, with an ellipsis where something was cut.
    package static func truncated(_ text: String, to limit: Int) -> String {
        guard width(text) > limit, limit > 0 else { return text }
        var kept = ""
        var used = 0
        for scalar in text.unicodeScalars {
            let next = width(scalar)
            guard used + next <= limit - 1 else { break }
            used += next
            kept.unicodeScalars.append(scalar)
        }
        return kept + "\u{2026}"
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F...0x9F: true
        // Marks that reorder a line's text (CVE-2021-42574).
        case 0x202A...0x202E, 0x2066...0x2069: true
        default: false
        }
    }

    private static func width(_ scalar: Unicode.Scalar) -> Int {
        switch scalar.value {
        case 0x300...0x36F, 0x200B...0x200F, 0xFE00...0xFE0F: 0
        case 0x1100...0x115F, 0x2E80...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F,
            0xFF00...0xFF60,
            0xFFE0...0xFFE6, 0x1F300...0x1FAFF, 0x20000...0x3FFFD:
            2
        default: 1
        }
    }
}
