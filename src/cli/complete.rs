//! `darvazeh completions` and `darvazeh man`: what shells and readers of manuals get, made from the command line's own
//! definition, so that neither can say something else.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_complete::{Shell, generate};

const NAME: &str = "darvazeh";

/// Writes the completions of `shell` to `out`. Exit code: 1 when `out` is gone.
pub fn completions(mut command: Command, shell: Shell, out: &mut dyn Write) -> ExitCode {
    // clap_complete panics where it cannot write; memory it can.
    let mut text = Vec::new();
    generate(shell, &mut command, NAME, &mut text);
    match out.write_all(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes `darvazeh.1` and a page for each command into `dir`, which is made if it is not there.
pub fn man(command: Command, dir: &Path) -> ExitCode {
    match pages(command, dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("darvazeh man: {}: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}

fn pages(command: Command, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(command, dir)
}
