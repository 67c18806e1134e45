//! What is said for each code, in both languages. A code without its text in either does not compile.
//!
//! Titles and details are for developers and stand in every dress; `happened` and `remedy` are for the citizen in front
//! of a page, in plain words: no English terms, no blame, one thing to do. The texts hold none of the characters that
//! JSON or markup would have to escape (a test sees to it), so they are copied as they are.

mod en;
mod fa;

use super::Language;
use crate::words::Code;

/// The texts of one code in one language.
#[derive(Debug, PartialEq, Eq)]
pub struct Texts {
    /// The same for every occurrence of the code (RFC 9457 §3.1.3).
    pub title: &'static str,
    /// For the developer, when the notice brings no closer detail.
    pub detail: &'static str,
    pub happened: &'static str,
    pub remedy: &'static str,
}

/// The title of a code in both languages.
#[derive(Debug, PartialEq, Eq)]
pub struct Titles {
    pub fa: &'static str,
    pub en: &'static str,
}

pub fn titles(code: Code) -> Titles {
    Titles { fa: fa::texts(code).title, en: en::texts(code).title }
}

pub fn texts(code: Code, language: Language) -> &'static Texts {
    match language {
        Language::Fa => fa::texts(code),
        Language::En => en::texts(code),
    }
}
