//! Secrets that are not written into the config: `${NAME}` is the value of an environment variable, `{ file: PATH }` or a
//! path the content of a file. Both stand only where a secret is expected (`assertion.key`, `sessions.keys`, the password of a
//! Redis).
//!
//! Why not everywhere: a route that changes with the machine's environment cannot be reviewed, compared or explained. Readers
//! in `read` refuse `${` in any other value. No message ever holds a value, only the variable's name.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::model::SecretSource;
use crate::secret::Secret;

/// Whether the text asks for a value from elsewhere.
pub fn is_reference(text: &str) -> bool {
    text.contains("${")
}

/// The variable that the whole text names. `None`: it is written wrongly.
pub fn variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (plain && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
}

/// The value of a variable. Errors: why there is none, to follow the variable's name in a sentence.
pub fn from_environment(name: &str) -> Result<Secret<String>, &'static str> {
    match env::var(name) {
        Ok(value) if value.trim().is_empty() => Err("is empty"),
        Ok(value) => Ok(Secret::new(value)),
        Err(env::VarError::NotPresent) => Err("is not set"),
        Err(env::VarError::NotUnicode(_)) => Err("is not UTF-8"),
    }
}

/// What a secret is now. Errors: its file cannot be read any more, or is over 64 KiB.
pub fn read(source: &SecretSource) -> Result<Secret<Vec<u8>>, String> {
    const MAX: u64 = 64 * 1024;
    let file = match source {
        SecretSource::Value(value) => return Ok(Secret::new(value.expose().clone().into_bytes())),
        SecretSource::File(file) => file,
    };
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|open| open.take(MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 <= MAX => Ok(Secret::new(bytes)),
        Ok(_) => Err(format!("{}: over 64 KiB", file.display())),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

/// Whether every user of the machine may read the file.
pub fn is_readable_by_all(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;

    std::fs::metadata(file).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_the_whole_value() {
        assert_eq!(variable("${ASSERTION_KEY}"), Some("ASSERTION_KEY"));
        for wrong in ["${}", "${1A}", "${A-B}", "x${A}", "${A}x", "${A", "$A", "${A}${B}"] {
            assert_eq!(variable(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_variable_that_is_not_set_is_told() {
        assert_eq!(from_environment("DARVAZEH_TEST_NOT_SET").unwrap_err(), "is not set");
        let home = from_environment("PATH").unwrap();
        assert_eq!(format!("{home:?}"), "<redacted>");
    }
}
