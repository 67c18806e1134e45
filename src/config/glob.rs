//! File name patterns of `include`: `routes.d/*.yaml`. `*` stands for any characters and `?` for one, within one name.
//!
//! As in a shell, a wildcard never matches a name that begins with a dot: editors keep half-written files under such names,
//! and a ConfigMap its older versions. Called by `load` alone.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

/// What a pattern stands for now.
#[derive(Debug, Default)]
pub struct Matches {
    /// In the order of their names. A path without wildcards is here whether it exists or not.
    pub files: Vec<PathBuf>,
    /// The directories that were looked through: what appears in them may match.
    pub directories: Vec<PathBuf>,
}

/// Whether the text has a wildcard.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Files that `pattern` (absolute) stands for. Errors: a directory that is there but cannot be listed, with its path.
pub fn expand(pattern: &Path) -> Result<Matches, (PathBuf, io::Error)> {
    let mut matches = Matches::default();
    let mut heads = vec![PathBuf::new()];
    let mut components = pattern.components().peekable();
    while let Some(component) = components.next() {
        let last = components.peek().is_none();
        let name = component.as_os_str().to_string_lossy();
        if !matches!(component, Component::Normal(_)) || !is_pattern(&name) {
            heads.iter_mut().for_each(|head| head.push(component));
            continue;
        }
        let mut next = Vec::new();
        for head in heads {
            next.extend(entries(&head, &name, last)?);
            matches.directories.push(head);
        }
        next.sort_unstable();
        heads = next;
    }
    matches.files = heads;
    Ok(matches)
}

/// The entries of a directory that fit; none of one that is not there. `files`: files only, else directories only.
fn entries(directory: &Path, pattern: &str, files: bool) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let listed = match std::fs::read_dir(directory) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err((directory.to_owned(), error)),
    };
    let mut found = Vec::new();
    for entry in listed {
        let name = entry.map_err(|error| (directory.to_owned(), error))?.file_name();
        let path = directory.join(&name);
        if fits(&name, pattern) && path.is_dir() != files {
            found.push(path);
        }
    }
    Ok(found)
}

fn fits(name: &OsStr, pattern: &str) -> bool {
    let name = name.to_string_lossy();
    let hidden = name.starts_with('.') && !pattern.starts_with('.');
    !hidden && is_match(&name.chars().collect::<Vec<_>>(), &pattern.chars().collect::<Vec<_>>())
}

/// Greedy with one step back: of several stars only the last may have to take more, so the work is bounded by the product
/// of both lengths.
fn is_match(name: &[char], pattern: &[char]) -> bool {
    let (mut n, mut p) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                n += 1;
                p += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(name: &str, pattern: &str) -> bool {
        fits(OsStr::new(name), pattern)
    }

    #[test]
    fn wildcards_match_within_a_name() {
        assert!(matched("tax.yaml", "*.yaml") && matched("a.b.yaml", "*.yaml") && matched("abcabd", "a*ab?"));
        assert!(!matched("tax.yml", "*.yaml") && !matched("tax.yaml.bak", "*.yaml") && !matched("a", "a?"));
        assert!(!matched(".tax.yaml", "*.yaml") && matched(".tax.yaml", ".*.yaml"), "hidden files are not meant");
        assert!(matched("بیمه.yaml", "????.yaml"));
        assert!(!is_match(&['a'; 5_000], &"*a".repeat(50).chars().chain(['b']).collect::<Vec<_>>()));
    }

    #[test]
    fn files_come_in_order_and_directories_are_told() {
        let root = tempfile::tempdir().unwrap();
        for file in ["teams/b/routes.yaml", "teams/a/routes.yaml", "teams/a/notes.txt", "teams/.c/routes.yaml"] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::fs::create_dir(root.path().join("teams/a/dir.yaml")).unwrap();
        let found = expand(&root.path().join("teams/*/*.yaml")).unwrap();
        let path = |name: &str| root.path().join(name);
        assert_eq!(found.files, [path("teams/a/routes.yaml"), path("teams/b/routes.yaml")]);
        assert_eq!(found.directories, [path("teams"), path("teams/a"), path("teams/b")]);
        assert!(expand(&path("nowhere/*.yaml")).unwrap().files.is_empty());
        assert_eq!(expand(&path("gone.yaml")).unwrap().files, [path("gone.yaml")]);
    }
}
