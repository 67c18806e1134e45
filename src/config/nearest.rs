//! "Did you mean …?": the known word that is nearest to what was written.

/// The nearest of `known`, however far; the first of equals. `None` only when `known` is empty.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known.into_iter().map(|k| (distance(word, k), k)).min_by_key(|(d, _)| *d).map(|(_, k)| k)
}

/// The nearest of `known` when it is near enough to be a slip: at most a third of the word is wrong. Of equals the first in
/// the alphabet, so that names out of a hash map give one answer.
pub fn likely<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    let close = known.into_iter().filter(|k| k.len().abs_diff(word.len()) <= 4 * allowed);
    close.map(|k| (distance(word, k), k)).filter(|(d, _)| *d <= allowed).min().map(|(_, k)| k)
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(MAX).flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().take(MAX).flat_map(char::to_lowercase).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + changed);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// Longer words are compared by their beginning: the work stays bounded whatever a file holds.
const MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        let known = ["social-security", "tehran-municipality"];
        assert_eq!(likely("social-securty", known), Some("social-security"));
        assert_eq!(likely("scoial-security", known), Some("social-security"));
        assert_eq!(likely("Tehran-Municipality", known), Some("tehran-municipality"));
        assert_eq!(likely("bank", known), None);
    }

    #[test]
    fn the_nearest_is_always_named() {
        assert_eq!(nearest("xyz", ["path", "prefix"]), Some("path"));
        assert_eq!(nearest("x", []), None);
    }
}
