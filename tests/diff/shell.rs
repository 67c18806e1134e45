//! Completions and manual pages come from the command line's own definition.

use crate::support::{Ground, darvazeh, text};

#[test]
fn every_shell_gets_completions_that_know_the_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = darvazeh(&["completions", shell]);
        let completions = text(&output.stdout);
        assert!(output.status.success());
        for word in ["check", "diff", "fail-on"] {
            assert!(completions.contains(word), "{shell}: no `{word}`");
        }
    }
}

#[test]
fn every_command_gets_a_manual_page() {
    let ground = Ground::new();
    let dir = ground.path().join("man/man1");
    let output = darvazeh(&["man", "--out", dir.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for page in ["darvazeh.1", "darvazeh-run.1", "darvazeh-diff.1", "darvazeh-certs-dev.1"] {
        let page = std::fs::read_to_string(dir.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(page.contains(".TH"));
    }
    let diff = std::fs::read_to_string(dir.join("darvazeh-diff.1")).unwrap();
    assert!(diff.contains("something is weaker"), "exit codes are told");
}
