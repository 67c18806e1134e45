//! `darvazeh top`: a running gateway at a glance, over its admin listener.
//!
//! Asks `/metrics` and `/agencies` at an interval and shows what happened between two answers: it needs no more than any
//! scraper may read, and the gateway does not notice. `--once` prints one frame as plain text.
//!
//! ```text
//! fetch   HTTP to the admin listener       sample  what one answer says
//! view    two samples -> what is shown     draw    the frame
//! ```

mod draw;
mod exposition;
mod fetch;
mod sample;
mod view;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use http::Uri;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::units;
use draw::Screen;
use sample::Sample;
use view::View;

/// `darvazeh top`, as the command line takes it. Keys: `q` ends, arrows and page keys scroll.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The gateway's admin listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9901")]
    admin: Uri,
    /// How often it is asked
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    interval: Duration,
    /// Print one frame as plain text after two samples, and end
    #[arg(long)]
    once: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let least = Duration::from_millis(100);
    let time = units::duration(text)?;
    if time < least { Err("write 100ms or more".to_owned()) } else { Ok(time) }
}

/// Exit code: 1 when the gateway cannot be reached (with `--once`) or there is no terminal.
pub fn run(options: &Options) -> ExitCode {
    let outcome = if options.once { once(options) } else { live(options) };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("darvazeh top: {error}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<Runtime, String> {
    Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())
}

fn once(options: &Options) -> Result<(), String> {
    let view = runtime()?.block_on(async {
        let first = Sample::take(&options.admin).await?;
        tokio::time::sleep(options.interval).await;
        let second = Sample::take(&options.admin).await?;
        Ok::<View, String>(View::between(&first, &second))
    })?;
    let text = draw::plain(&options.admin, &view);
    io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())
}

/// What the sampling thread tells the drawing one.
enum News {
    Sampled(Result<Box<Sample>, String>),
    /// Asked to end by a signal: the terminal must be put back first.
    Ended,
}

fn live(options: &Options) -> Result<(), String> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err("this is no terminal; use --once for plain text".to_owned());
    }
    let (news, inbox) = channel();
    let (runtime, admin, interval) = (runtime()?, options.admin.clone(), options.interval);
    thread::spawn(move || runtime.block_on(sample_until_ended(&admin, interval, &news)));
    // Restores the terminal on a panic as well.
    let mut terminal = ratatui::try_init().map_err(|error| error.to_string())?;
    let shown = show(&mut terminal, &inbox, Screen::new(&options.admin));
    ratatui::try_restore().and(shown).map_err(|error| error.to_string())
}

/// Ends when nobody listens any more, or by a signal.
async fn sample_until_ended(admin: &Uri, interval: Duration, news: &Sender<News>) {
    let sampling = async {
        while news.send(News::Sampled(Sample::take(admin).await.map(Box::new))).is_ok() {
            tokio::time::sleep(interval).await;
        }
    };
    tokio::select! {
        () = sampling => {}
        () = told_to_end() => {
            // Gone when the drawing thread has ended by itself.
            let _ = news.send(News::Ended);
        }
    }
}

async fn told_to_end() {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut hangup)) = signals else { return };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// How long a key may go unnoticed.
const TICK: Duration = Duration::from_millis(50);

fn show(terminal: &mut DefaultTerminal, inbox: &Receiver<News>, mut screen: Screen) -> io::Result<()> {
    let mut last: Option<Box<Sample>> = None;
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        match inbox.recv_timeout(TICK) {
            Ok(News::Sampled(Ok(sample))) => {
                if let Some(before) = &last {
                    screen.view = Some(View::between(before, &sample));
                }
                screen.trouble = None;
                last = Some(sample);
            }
            Ok(News::Sampled(Err(trouble))) => screen.trouble = Some(trouble),
            Ok(News::Ended) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        while event::poll(Duration::ZERO)? {
            if let Event::Key(key) = event::read()?
                && !pressed(&mut screen, key)
            {
                return Ok(());
            }
        }
    }
}

/// `false`: that was the end.
fn pressed(screen: &mut Screen, key: KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
        KeyCode::Down | KeyCode::Char('j') => screen.scroll(1),
        KeyCode::Up | KeyCode::Char('k') => screen.scroll(-1),
        KeyCode::PageDown => screen.scroll(10),
        KeyCode::PageUp => screen.scroll(-10),
        _ => {}
    }
    true
}
