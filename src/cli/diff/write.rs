//! Changes as text for people and as JSON for tools. Knows how they look, nothing of how they were found.

use std::io::{self, Write};

use serde_json::json;

use super::change::{Change, Kind, Severity};

/// More of the same than this is told by example.
const ALIKE: usize = 5;
const EXAMPLES: usize = 3;

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

pub fn json(changes: &[Change], out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &json!({ "changes": changes }))?;
    writeln!(out)
}

/// `changes` in the order of [`Section`]s. `colour`: the reader is a terminal.
pub fn human(changes: &[Change], colour: bool, out: &mut dyn Write) -> io::Result<()> {
    if changes.is_empty() {
        return writeln!(out, "no difference for callers, agencies or operators");
    }
    let paint = |code| if colour { code } else { "" };
    for section in Section::ALL {
        let within: Vec<&Change> = changes.iter().filter(|change| Section::of(change) == section).collect();
        if within.is_empty() {
            continue;
        }
        let tint = match section {
            Section::Weaker => paint(RED),
            Section::Refused => paint(YELLOW),
            _ => "",
        };
        let plain = if tint.is_empty() { "" } else { PLAIN };
        writeln!(out, "{}{tint}{} ({}){}", paint(BOLD), section.title(), within.len(), paint(PLAIN))?;
        for alike in alike(&within) {
            let shown = if alike.len() > ALIKE { EXAMPLES } else { alike.len() };
            for change in &alike[..shown] {
                let at = change.at.as_ref().map(|at| format!("  ({}:{})", at.file, at.line)).unwrap_or_default();
                writeln!(out, "  {tint}{}{plain}{at}", visible(&change.what()))?;
            }
            if shown < alike.len() {
                writeln!(out, "  {tint}… and {} more like this{plain}", alike.len() - shown)?;
            }
        }
        writeln!(out)?;
    }
    let count = |severity| changes.iter().filter(|change| change.severity == severity).count();
    let (weaker, stronger) = (count(Severity::Weaker), count(Severity::Stronger));
    let neutral = changes.len() - weaker - stronger;
    let refused = changes.iter().filter(|change| change.refuses).count();
    let s = if changes.len() == 1 { "" } else { "s" };
    writeln!(
        out,
        "{} change{s}: {weaker} weaker, {stronger} stronger, {neutral} neutral; {refused} refuse callers",
        changes.len()
    )
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    Weaker,
    Refused,
    Stronger,
    Other,
}

impl Section {
    const ALL: [Section; 4] = [Section::Weaker, Section::Refused, Section::Stronger, Section::Other];

    pub fn of(change: &Change) -> Section {
        match change.severity {
            Severity::Weaker => Section::Weaker,
            _ if change.refuses => Section::Refused,
            Severity::Stronger => Section::Stronger,
            Severity::Neutral => Section::Other,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Section::Weaker => "Weaker than before",
            Section::Refused => "Callers who will be refused",
            Section::Stronger => "Stronger than before",
            Section::Other => "Other changes",
        }
    }
}

/// The same consequence for many, together; in the order of the first of each.
fn alike<'c>(changes: &[&'c Change]) -> Vec<Vec<&'c Change>> {
    let mut places: ahash::AHashMap<(Kind, &str), usize> = ahash::AHashMap::new();
    let mut groups: Vec<Vec<&Change>> = Vec::new();
    for change in changes {
        let place = *places.entry((change.kind, &change.phrase)).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push(change);
    }
    groups
}

/// Text of the file, without what acts on a terminal.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}
