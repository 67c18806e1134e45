//! `docs/operators.md` is true: the file it shows is served, and each command it shows is run as shown, in order.
//!
//! Addresses are those of the page but for their ports, which are free ones here. A command that is to fail says so behind
//! `# exits with`.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

// Only the gateway and its directory are used here.
#[allow(dead_code, unused_imports)]
#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::gateway::{Gateway, directory};

const PAGE: &str = include_str!("../docs/operators.md");

/// The blocks of this language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut rest = PAGE;
    while let Some((_, after)) = rest.split_once("\n```") {
        let (block, later) = after.split_once("\n```").expect("a block ends");
        if let Some(text) = block.strip_prefix(language).and_then(|text| text.strip_prefix('\n')) {
            found.push(text);
        }
        rest = later;
    }
    found
}

/// A directory with `darvazeh` in it, to be first on the path.
fn program(dir: &Path) -> PathBuf {
    let bin = dir.join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_darvazeh"), bin.join("darvazeh")).unwrap();
    bin
}

fn run(command: &str, dir: &Path, bin: &Path) -> (i32, String) {
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", command])
        .current_dir(dir)
        .env("PATH", path)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_page_does_what_the_page_says() {
    let [yaml] = blocks("yaml")[..] else { panic!("one file is shown") };
    let dir = directory(&yaml.replace("127.0.0.1:8443", "127.0.0.1:0").replace("127.0.0.1:9901", "127.0.0.1:0"));
    let bin = program(dir.path());
    let gateway = Gateway::start_in(dir).await;
    let commands: Vec<&str> = blocks("sh").iter().flat_map(|block| block.lines()).collect();
    assert!(commands.len() > 15, "the page's commands are found");
    for shown in commands {
        let (command, exit) = match shown.split_once("# exits with ") {
            Some((command, code)) => (command, code.trim().parse().unwrap()),
            None => (shown, 0),
        };
        let command = command.replace("127.0.0.1:9901", &gateway.admin.to_string());
        let (code, text) = run(&command, gateway.path(), &bin);
        assert_eq!(code, exit, "{shown}\n{text}");
    }
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("darvazeh_config_reloads_total", &["outcome=\"applied\""]), 2.0);
}
