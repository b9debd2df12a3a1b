//! The reachability matrix, as a table and as a picture.

use landfall_network::{PortRange, Protocol};
use landfall_pipeline::{Connections, Overview};

use super::svg::{CHARACTER, LINE, Svg};
use super::{CHANGED, DIM, GOOD, STRONG, Table, paint, tame};

/// The reachable part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Much {
    Nothing,
    Some,
    All,
}

/// The table: sources in rows, destinations in columns.
pub(crate) fn table(overview: &Overview) -> String {
    let mut table = Table::default();
    let heads = overview
        .parties
        .iter()
        .map(|party| (STRONG, format!("→ {}", tame(party))));
    table.row(
        "",
        [(DIM, String::new())]
            .into_iter()
            .chain(heads)
            .collect::<Vec<_>>(),
    );
    for &from in &overview.sources {
        let party = &overview.parties[from];
        let mut cells = vec![(STRONG, tame(party))];
        for to in 0..overview.parties.len() {
            let (much, lines) = cell(overview, from, to);
            cells.push(match much {
                Much::Nothing => (DIM, "·".to_owned()),
                Much::Some => (CHANGED, lines.join(", ")),
                Much::All => (GOOD, lines.join(", ")),
            });
        }
        table.row("", cells);
    }
    let mut lines = table.lines();
    if overview.connections.iter().any(|it| !it.in_part.is_empty()) {
        lines.push(String::new());
        lines.push(paint(DIM, LEGEND));
    }
    lines.join("\n") + "\n"
}

const LEGEND: &str = "*  only from some addresses, or only to some targets";

/// The content of one cell.
fn cell(overview: &Overview, from: usize, to: usize) -> (Much, Vec<String>) {
    let mut lines = Vec::new();
    let mut much = Much::Nothing;
    for connections in overview.between(from, to) {
        if !connections.ports.is_empty() && much == Much::Nothing {
            much = Much::All;
        }
        if !connections.in_part.is_empty() {
            much = Much::Some;
        }
        lines.extend(words(connections));
    }
    (much, lines)
}

fn words(connections: &Connections) -> Vec<String> {
    let protocol = match connections.protocol {
        Protocol::Tcp => "",
        Protocol::Udp => " UDP",
        Protocol::Icmp | Protocol::All => "ICMP",
    };
    let word = |ports: &PortRange, mark: &str| match connections.protocol {
        Protocol::Icmp | Protocol::All => format!("{protocol}{mark}"),
        Protocol::Tcp if *ports == PortRange::ALL => format!("all{mark}"),
        _ if *ports == PortRange::ALL => format!("all{protocol}{mark}"),
        _ => format!("{ports}{protocol}{mark}"),
    };
    let all = connections.ports.iter().map(|ports| word(ports, ""));
    all.chain(connections.in_part.iter().map(|ports| word(ports, "*")))
        .collect()
}

/// The table as a picture.
pub(crate) fn picture(overview: &Overview, stack: &str) -> String {
    const MARGIN: usize = 24;
    const TOP: usize = 76;
    let count = overview.parties.len();
    let cells: Vec<Vec<_>> = (0..count)
        .map(|from| (0..count).map(|to| cell(overview, from, to)).collect())
        .collect();
    let longest = |texts: &mut dyn Iterator<Item = &String>| {
        texts.map(|text| text.chars().count()).max().unwrap_or(0) * CHARACTER
    };
    let head = longest(&mut overview.parties.iter()) + 24;
    let fields = cells.iter().flatten().flat_map(|(_, lines)| lines);
    let column = longest(&mut fields.chain(&overview.parties)).max(64) + 24;

    let mut svg = Svg::new();
    svg.text(
        "ink name",
        (MARGIN, 34),
        &format!("{stack}: allowed connections and their ports"),
    );
    for (to, party) in overview.parties.iter().enumerate() {
        let x = MARGIN + head + to * column + column / 2;
        svg.centred("ink name", (x, TOP - 10), party);
    }
    let mut y = TOP;
    for &from in &overview.sources {
        let party = &overview.parties[from];
        let most = cells[from]
            .iter()
            .map(|(_, lines)| lines.len())
            .max()
            .unwrap_or(1);
        let height = most.max(1) * LINE + 16;
        svg.text("ink name", (MARGIN, y + height / 2 + 4), party);
        for (to, (much, lines)) in cells[from].iter().enumerate() {
            let x = MARGIN + head + to * column;
            let (class, ink) = match much {
                Much::Nothing => ("none", "soft"),
                Much::Some => ("some", "part"),
                Much::All => ("open", "good"),
            };
            svg.rect(class, (x + 3, y + 2), (column - 6, height - 4));
            let first = y + height / 2 + 5 - lines.len().saturating_sub(1) * LINE / 2;
            for (index, line) in lines.iter().enumerate() {
                svg.centred(ink, (x + column / 2, first + index * LINE), line);
            }
        }
        y += height;
    }
    let legend = "Rows connect to columns.";
    svg.text("soft", (MARGIN, y + 26), legend);
    let in_part = overview.connections.iter().any(|it| !it.in_part.is_empty());
    if in_part {
        svg.text("soft", (MARGIN, y + 26 + LINE), LEGEND);
    }
    let width = (MARGIN * 2 + head + count * column).max(LEGEND.len() * CHARACTER + MARGIN * 2);
    let title = format!("Allowed connections in {stack}, and their ports");
    svg.finish(&title, (width, y + 44 + if in_part { LINE } else { 0 }))
}
