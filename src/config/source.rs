//! The text of one file of the config, or why there is none.

use std::path::Path;

use super::{codes, raw};

/// Why a file has no text.
#[derive(Clone, Debug)]
pub struct Unread {
    pub code: &'static str,
    /// 1-based; 0 where no line is to blame.
    pub line: u32,
    pub message: String,
    pub remedy: &'static str,
}

/// Reads a file as UTF-8. `room`: bytes that all files of the config may still take; what is read is taken off.
pub fn read(file: &Path, room: &mut u64) -> Result<String, Unread> {
    let unreadable = |error: std::io::Error| Unread {
        code: codes::UNREADABLE,
        line: 0,
        message: format!("the file cannot be read: {error}"),
        remedy: "give the path of a file that this user may read",
    };
    let length = std::fs::metadata(file).map_err(unreadable)?.len();
    let left = room.checked_sub(length).ok_or_else(|| Unread {
        code: codes::TOO_MUCH,
        line: 0,
        message: format!("the config is over {} MiB with this file", raw::MAX_BYTES >> 20),
        remedy: "split the routes over several gateways",
    })?;
    let bytes = std::fs::read(file).map_err(unreadable)?;
    *room = left;
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|b| **b == b'\n').count();
        Unread {
            code: codes::SYNTAX,
            line: u32::try_from(line).unwrap_or(u32::MAX),
            message: "this line is not UTF-8".to_owned(),
            remedy: "save the file as UTF-8",
        }
    })
}
