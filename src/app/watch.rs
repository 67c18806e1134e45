//! Files that change: certificates, keys and CAs are always taken up, the configuration itself where `watch: true`.
//!
//! Looked at once a second by what `stat` says of them, through symbolic links: so are the swaps seen by which Kubernetes
//! changes a ConfigMap, on every file system. A change counts once it has held still for a second: a file that is being
//! written is waited out.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::admin::Control;
use crate::config::Config;

const LOOK: Duration = Duration::from_secs(1);

/// What tells one version of a file from another; `None` where there is no file.
pub type Print = Option<(u64, u64, i64, i64)>;
pub type Prints = HashMap<PathBuf, Print>;

/// The files as they are now. Taken before anybody is told that the gateway is ready: what is edited after that differs.
pub fn prints(config: &Config) -> Prints {
    config.sources.iter().chain(&config.source_dirs).map(|path| (path.clone(), print(path))).collect()
}

/// `known`: the files as they were when the configuration in force was read.
pub async fn serve(control: Arc<Control>, mut known: Prints) {
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = known.clone();
    loop {
        tick.tick().await;
        let now = look(&control).await;
        // Files that the configuration names only since a reload were read by that reload.
        let changed: Vec<&PathBuf> = now
            .iter()
            .filter(|(path, print)| known.get(*path).is_some_and(|old| old != *print))
            .map(|(p, _)| p)
            .collect();
        if now == last {
            let config = control.live.load().config.clone();
            if config.watch && changed.iter().any(|path| is_written(path, &config)) {
                control.reloads.wish();
            }
            // Not instead of a reload: one that is refused must not hold a certificate back.
            if changed.iter().any(|path| may_be_named(path, &config)) {
                control.reloads.wish_renewal();
            }
            known = now.clone();
        } else {
            known.retain(|path, _| now.contains_key(path));
            known
                .extend(now.iter().filter(|(path, _)| !last.contains_key(*path)).map(|(p, print)| (p.clone(), *print)));
        }
        last = now;
    }
}

async fn look(control: &Control) -> Prints {
    let config = control.live.load().config.clone();
    let looking = tokio::task::spawn_blocking(move || prints(&config));
    looking.await.unwrap_or_default()
}

fn print(path: &Path) -> Print {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

/// May be part of the configuration: what somebody edits. Certificates may lie beside included files.
fn is_written(path: &Path, config: &Config) -> bool {
    is_certainly_written(path, config) || config.source_dirs.iter().any(|dir| path.parent() == Some(dir))
}

/// May be a file that the configuration names. A renewal looks for itself: it never takes up an edit.
fn may_be_named(path: &Path, config: &Config) -> bool {
    !is_certainly_written(path, config)
}

/// The config file, which is the first of its sources, or a directory in which included files come and go.
fn is_certainly_written(path: &Path, config: &Config) -> bool {
    config.sources.first().is_some_and(|main| main == path) || config.source_dirs.iter().any(|dir| dir == path)
}
