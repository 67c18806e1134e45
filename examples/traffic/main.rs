//! The two ends of `benches/curves`: agencies that answer at once, and callers who ask for as long as they are told, or who
//! hold connections in one state so that their memory can be weighed.
//!
//! ```text
//! traffic agency COUNT              prints the addresses of so many, and serves until it is ended
//! traffic tokens FOLDER             ISSUER COUNT LENGTH on each line of standard input: writes keys and tokens of each issuer
//! traffic drive                     the plan as JSON on the first line of standard input, then "go SECONDS" lines
//! traffic hold KIND ADDRESS COUNT TOKEN    prints "ready", and holds until standard input ends
//! ```
#![allow(clippy::unwrap_used, reason = "a measuring program ends at the first surprise")]

mod agency;
mod caller;
mod drive;
mod hold;
mod tls;
mod tokens;

use std::path::Path;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["agency", count] => run(agency::serve(count.parse().unwrap())),
        ["tokens", folder] => tokens::write(Path::new(folder)),
        ["drive"] => drive::obey(),
        ["hold", kind, address, count, token] => {
            // The crowd is let go when whoever asked for it closes our standard input, or is gone.
            std::thread::spawn(|| {
                std::io::stdin().lines().for_each(drop);
                std::process::exit(0);
            });
            run(hold::hold(kind, address.parse().unwrap(), count.parse().unwrap(), token));
        }
        _ => eprintln!("usage: traffic agency COUNT | tokens FOLDER | drive | hold KIND ADDRESS COUNT TOKEN"),
    }
}

/// On this thread alone, local tasks included.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}
