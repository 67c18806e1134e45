//! The floors hold: a module of `src/` uses only what lies on lower floors, and the siblings named here with a reason.
//!
//! The floors are read from the drawing in the documentation of `src/lib.rs`, so the drawing cannot fall behind. What
//! counts as a use is every path that starts at the crate root, in a `use` line or in the code: `crate::x`,
//! `use crate::{x, y::z}`, and `super::` chains that reach the root. Comments and strings do not count.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of one floor that may use each other, in this direction, and why. Anything else on one floor is a stranger.
const SIBLINGS: &[(&str, &str, &str)] = &[
    ("config", "tls", "`check` reads and judges the certificates, keys and CA files that the config names"),
    ("config", "intake", "paths of routes are brought into the same canonical form as paths of requests"),
    ("tls", "config", "rustls settings are built from the checked model; the model holds the certificates once read"),
    ("forward", "auth", "an exchange takes a `Permit` and says by `identity` who asks"),
    ("forward", "balance", "an exchange leases an endpoint"),
    ("auth", "limit", "who sends forged tokens is put off before another costs a public-key operation"),
    ("fetch", "tls", "the control plane trusts the same roots as everything else"),
    ("fetch", "config", "rustls settings are made of the same `ClientTls` as towards agencies"),
    ("login", "auth", "what an SSO signs is verified by the code that verifies access tokens, with the same keys"),
    ("login", "session", "a login begins a session, and a logout ends it"),
    ("login", "answer", "its pages and refusals have the dress of all others"),
    ("store", "config", "the server is reached as the model says"),
    ("store", "tls", "`rediss://` trusts the same roots as everything else"),
    ("http2", "http1", "one service, one exchange, one watchdog and one transport for both versions"),
    ("observe", "config", "the log is opened where the model says"),
    ("words", "digits", "a request's id is digits"),
    ("date", "clock", "a date is of the present second"),
    ("message", "body", "a request and its answer carry a body"),
    ("message", "fields", "and have fields"),
    ("admin", "listen", "reports are asked of the workers, and draining is told to them"),
    ("cli", "app", "`run` and `demo` start what `app` builds"),
];

/// One use of another module of the crate.
#[derive(Debug, PartialEq, Eq)]
struct Use {
    module: String,
    line: usize,
}

type Floors = BTreeMap<String, u32>;

#[test]
fn no_import_climbs() {
    let (floors, modules) = source();
    let mut faults = Vec::new();
    for Module { file, path, text } in &modules {
        faults.extend(climbs(&floors, path, text).into_iter().map(|fault| format!("src/{file}{fault}")));
    }
    assert!(faults.is_empty(), "imports that climb:\n{}", faults.join("\n"));
}

#[test]
fn no_pair_of_siblings_is_named_in_vain() {
    let (_, modules) = source();
    let used: BTreeSet<_> = modules
        .iter()
        .flat_map(|module| {
            uses(&module.path, &module.text).into_iter().map(|used| (module.path[0].clone(), used.module))
        })
        .collect();
    let vain: Vec<_> =
        SIBLINGS.iter().filter(|(from, to, _)| !used.contains(&((*from).into(), (*to).into()))).collect();
    assert!(vain.is_empty(), "no longer needed: {vain:?}");
}

#[test]
fn every_module_stands_on_one_floor() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let text = fs::read_to_string(root.join("lib.rs")).unwrap();
    let drawn: BTreeSet<_> = drawn_floors(&text).into_keys().collect();
    assert_eq!(drawn, declared_modules(&text), "left: drawn in src/lib.rs, right: declared there");
}

#[test]
fn a_climbing_import_is_named_with_its_line() {
    let floors = Floors::from([("words".into(), 0), ("config".into(), 1), ("auth".into(), 2), ("route".into(), 2)]);
    let at = |module: &str, text: &str| climbs(&floors, &[module.to_owned()], text);
    assert_eq!(at("config", "use crate::words::Level;\nuse crate::auth::Permit;\n").len(), 1);
    assert!(at("config", "\nuse crate::auth::Permit;")[0].starts_with(":2: config (floor 1) uses auth (floor 2)"));
    assert_eq!(at("config", "use crate::{words::Level, auth::{Permit, keys}};").len(), 1, "a group");
    assert_eq!(at("config", "fn f() -> crate::auth::Permit { todo!() }").len(), 1, "a path in the code");
    assert_eq!(at("config", "use super::auth::Permit;").len(), 1, "by way of the root");
    assert_eq!(at("config", "mod tests { use super::super::auth; }").len(), 1, "out of an inline module");
    assert_eq!(at("auth", "use crate::route::Table;").len(), 1, "a stranger on the same floor");
}

#[test]
fn what_is_no_import_is_left_alone() {
    let floors = Floors::from([("words".into(), 0), ("config".into(), 1), ("auth".into(), 2)]);
    let text = "// see crate::auth\n/* crate::auth /* nested */ */\nconst S: &str = \"crate::auth\";\n\
                const R: &str = r#\"crate::auth \" \"#; fn f<'a>(_: &'a str, _: char) { let _ = ('\"', '\\''); }\n\
                mod tests { use super::auth; }\npub(crate) fn g() { crate::config::load() }";
    assert_eq!(climbs(&floors, &["config".to_owned()], text), Vec::<String>::new());
}

struct Module {
    /// Below `src/`.
    file: String,
    path: Vec<String>,
    text: String,
}

fn source() -> (Floors, Vec<Module>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let modules = rust_files(&root).into_iter().filter_map(|file| {
        let place = file.strip_prefix(&root).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        Some(Module { path: module_path(place)?, file: place.display().to_string(), text })
    });
    (drawn_floors(&fs::read_to_string(root.join("lib.rs")).unwrap()), modules.collect())
}

/// What is wrong in one file, as `:LINE: why`.
fn climbs(floors: &Floors, path: &[String], text: &str) -> Vec<String> {
    let here = &path[0];
    let own = floors.get(here).copied().unwrap_or(u32::MAX);
    let mut faults = Vec::new();
    for Use { module, line } in uses(path, text) {
        let Some(&other) = floors.get(&module) else { continue };
        let allowed = module == *here
            || other < own
            || other == own && SIBLINGS.iter().any(|(from, to, _)| from == here && *to == module);
        if !allowed {
            faults.push(format!(":{line}: {here} (floor {own}) uses {module} (floor {other})"));
        }
    }
    faults
}

/// `auth/keys.rs` is `[auth, keys]`; `auth/mod.rs` is `[auth]`. `lib.rs` and `main.rs` stand above the floors.
fn module_path(file: &Path) -> Option<Vec<String>> {
    let mut path: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if path.last().is_some_and(|last| last == "mod") {
        path.pop();
    }
    (path != ["lib"] && path != ["main"]).then_some(path)
}

/// Floor by module, from lines such as `//! 2  route auth limit`. What follows the last module name is description.
fn drawn_floors(lib: &str) -> Floors {
    let modules = declared_modules(lib);
    let mut floors = Floors::new();
    for line in lib.lines().filter_map(|line| line.strip_prefix("//! ")) {
        let mut words = line.split_whitespace();
        let Some(floor) = words.next().and_then(|word| word.parse().ok()) else { continue };
        for module in words.take_while(|word| modules.contains(*word)) {
            assert_eq!(floors.insert(module.to_owned(), floor), None, "{module} is drawn twice");
        }
    }
    floors
}

fn declared_modules(lib: &str) -> BTreeSet<String> {
    let name = |line: &str| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned());
    lib.lines().filter_map(name).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Every module of the crate that `text`, the file of the module `path`, reaches from the root.
fn uses(path: &[String], text: &str) -> Vec<Use> {
    let tokens = tokens(text);
    let word = |at: usize| tokens.get(at).map_or("", |(token, _)| token.as_str());
    let mut found = Vec::new();
    // The braces that are open, true for those of an inline module: they lie between `super` and the root.
    let mut braces = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match word(at) {
            "{" => braces.push(at >= 2 && word(at - 2) == "mod"),
            "}" => drop(braces.pop()),
            "crate" if word(at + 1) == "::" => found.extend(heads(&tokens, at + 2)),
            "super" if word(at.wrapping_sub(1)) != "::" => {
                let mut ups = 1;
                while word(at + 1) == "::" && word(at + 2) == "super" {
                    (ups, at) = (ups + 1, at + 2);
                }
                if ups == path.len() + braces.iter().filter(|inline| **inline).count() && word(at + 1) == "::" {
                    found.extend(heads(&tokens, at + 2));
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The first names of what follows a path's start: one name, or each branch of a `{…}` group.
fn heads(tokens: &[(String, usize)], start: usize) -> Vec<Use> {
    let head = |at: usize| tokens.get(at).map(|(token, line)| Use { module: token.clone(), line: *line });
    if tokens.get(start).is_none_or(|(token, _)| token != "{") {
        return head(start).into_iter().collect();
    }
    let (mut found, mut depth) = (Vec::new(), 0);
    for (at, (token, _)) in tokens.iter().enumerate().skip(start) {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(token.as_str(), "{" | ",") {
            found.extend(head(at + 1));
        }
    }
    found
}

/// Names, `::` and single marks, each with its line; comments, strings and characters are gone.
fn tokens(text: &str) -> Vec<(String, usize)> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), text, 1);
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest).unwrap_or_else(|| {
            let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = if rest.starts_with("::") { 2 } else { name.max(first.len_utf8()) };
            tokens.push((rest[..length].to_owned(), line));
            length
        });
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// The length of the white space, comment, string or character that `text` begins with.
fn skipped(text: &str) -> Option<usize> {
    let to_end = |end: Option<usize>| end.unwrap_or(text.len());
    if text.starts_with(char::is_whitespace) {
        return Some(to_end(text.find(|c: char| !c.is_whitespace())));
    }
    if text.starts_with("//") {
        return Some(to_end(text.find('\n')));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    let raw = text.strip_prefix("br").or_else(|| text.strip_prefix('r')).unwrap_or("");
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    if raw[hashes..].starts_with('"') {
        let open = text.len() - raw.len() + hashes + 1;
        let close = format!("\"{}", "#".repeat(hashes));
        return Some(to_end(text[open..].find(&close).map(|at| open + at + close.len())));
    }
    if let Some(string) = text.strip_prefix("b\"").or_else(|| text.strip_prefix('"')) {
        return Some(text.len() - string.len() + quoted(string, '"'));
    }
    // A quote opens a character only when it closes after one; else it is a lifetime.
    let character = text.strip_prefix("b'").or_else(|| text.strip_prefix('\''))?;
    let closes = character.starts_with('\\') || character.chars().nth(1) == Some('\'');
    closes.then(|| text.len() - character.len() + quoted(character, '\''))
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let step = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        depth += step.0;
        at += step.1;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length up to and with the closing quote.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}
