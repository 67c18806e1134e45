//! The last good key set of an issuer on disk, so that a restart while the SSO is away still serves (contract section 2).
//!
//! A convenience, not a source of truth: what cannot be read is as good as absent, and is said so once.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::{Value, json};

use super::json;
use crate::clock::UnixTime;
use crate::private_file;

/// Where the keys of one issuer are kept.
pub(super) struct Kept {
    path: PathBuf,
}

impl Kept {
    /// `state_dir/keys-NAME.json`; what could lead a name out of the directory is replaced.
    pub(super) fn new(state_dir: &Path, issuer: &str) -> Kept {
        let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
        Kept { path: state_dir.join(format!("keys-{}.json", issuer.chars().map(plain).collect::<String>())) }
    }

    /// When the keys were fetched, and the key set. `iss` must be the one they were fetched for.
    pub(super) fn load(&self, iss: &str) -> Result<Option<(UnixTime, Vec<u8>)>, String> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(format!("{}: {e}", self.path.display())),
        };
        let malformed = || format!("{}: not a file of kept keys", self.path.display());
        let file = json::object(&bytes).map_err(|_| malformed())?;
        if file.get("issuer").and_then(Value::as_str) != Some(iss) {
            return Err(format!("{}: the keys of another issuer", self.path.display()));
        }
        let fetched_at = file.get("fetched_at").and_then(Value::as_i64).ok_or_else(malformed)?;
        let jwks = file.get("jwks").ok_or_else(malformed)?;
        Ok(Some((fetched_at, jwks.to_string().into_bytes())))
    }

    /// `jwks` has been parsed as a key set before.
    pub(super) fn store(&self, iss: &str, fetched_at: UnixTime, jwks: &[u8]) -> Result<(), String> {
        let jwks: Value = serde_json::from_slice(jwks).map_err(|e| e.to_string())?;
        let file = json!({ "issuer": iss, "fetched_at": fetched_at, "jwks": jwks });
        private_file::replace(&self.path, file.to_string().as_bytes())
            .map_err(|e| format!("{}: {e}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again_by_its_issuer_alone() {
        let directory = tempfile::tempdir().unwrap();
        let kept = Kept::new(directory.path(), "../sso/1");
        assert_eq!(kept.load("https://a"), Ok(None));
        kept.store("https://a", 7, br#"{"keys":[]}"#).unwrap();
        assert_eq!(kept.load("https://a"), Ok(Some((7, br#"{"keys":[]}"#.to_vec()))));
        assert!(kept.load("https://b").is_err());
        assert!(kept.path.starts_with(directory.path()) && kept.path.parent() == Some(directory.path()));
    }

    #[test]
    fn a_broken_file_is_an_error_and_not_keys() {
        let directory = tempfile::tempdir().unwrap();
        let kept = Kept::new(directory.path(), "sso");
        for broken in [
            "",
            "{}",
            r#"{"issuer":"a"}"#,
            r#"{"issuer":"a","fetched_at":"x","jwks":{}}"#,
            r#"{"issuer":"a","fetched_at":1}"#,
        ] {
            fs::write(&kept.path, broken).unwrap();
            assert!(kept.load("a").is_err(), "{broken}");
        }
    }
}
