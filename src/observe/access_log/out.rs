//! Where lines are written to, and what becomes of one that is not taken whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::config::model::AccessLog;

/// Where lines are written to.
pub struct Out {
    io: Box<dyn Write + Send>,
    /// The last line is not whole: the next begins a line of its own.
    torn: bool,
}

impl Out {
    pub(super) fn of(io: impl Write + Send + 'static) -> Out {
        Out { io: Box::new(io), torn: false }
    }

    /// Errors: the file cannot be opened.
    pub fn open(to: &AccessLog) -> io::Result<Out> {
        Ok(match to {
            AccessLog::Off => Out::of(io::sink()),
            AccessLog::Stdout => Out::of(io::stdout()),
            AccessLog::File(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                let torn = file.metadata().is_ok_and(|about| about.is_file() && about.len() > 0) && breaks_off(path);
                Out { torn, ..Out::of(file) }
            }
        })
    }

    /// Writes lines. One that cannot be written must not end the gateway: it is lost, as a full disk loses it, and no other
    /// with it.
    pub(super) fn write(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        if self.torn && self.write_most(b"\n") == 0 {
            return;
        }
        let taken = self.write_most(lines);
        self.torn = taken > 0 && lines[taken - 1] != b'\n';
    }

    /// How much of it was taken.
    fn write_most(&mut self, text: &[u8]) -> usize {
        let mut taken = 0;
        while taken < text.len() {
            match self.io.write(&text[taken..]) {
                Ok(0) => break,
                Ok(n) => taken += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = self.io.flush();
        taken
    }
}

/// Whether a file's last line has no end: whoever wrote it before could not go on. One that cannot be read is taken for whole.
fn breaks_off(path: &Path) -> bool {
    let last = || {
        let (mut file, mut last) = (File::open(path)?, [0]);
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        io::Result::Ok(last != *b"\n")
    };
    last().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_breaks_off_is_continued_on_a_line_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        for (before, after) in [("", "x\n"), ("a\n", "a\nx\n"), ("a\nb", "a\nb\nx\n")] {
            std::fs::write(&path, before).unwrap();
            Out::open(&AccessLog::File(path.clone())).unwrap().write(b"x\n");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }
}
