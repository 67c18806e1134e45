//! The frame: a line of sums, agencies, endpoints. One drawing for the terminal and for `--once`.

use http::Uri;
use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Row, Table};
use ratatui::{Frame, Terminal};

use super::view::{AgencyRow, EndpointRow, View};

/// Columns of `--once`.
const PLAIN_WIDTH: u16 = 120;
/// Sums, a blank line, two headings, a blank line between the tables, keys.
const AROUND: usize = 6;
/// Endpoints get no more than this share of the rows while agencies need them.
const ENDPOINT_SHARE: usize = 3;

pub struct Screen {
    admin: String,
    pub view: Option<View>,
    /// Why there was no newer sample.
    pub trouble: Option<String>,
    skipped: usize,
}

impl Screen {
    pub fn new(admin: &Uri) -> Screen {
        let admin = admin.authority().map_or_else(|| admin.to_string(), ToString::to_string);
        Screen { admin, view: None, trouble: None, skipped: 0 }
    }

    /// Moves the agencies by rows.
    pub fn scroll(&mut self, rows: isize) {
        let last = self.view.as_ref().map_or(0, |view| view.agencies.len().saturating_sub(1));
        self.skipped = self.skipped.saturating_add_signed(rows).min(last);
    }

    pub fn draw(&self, frame: &mut Frame<'_>) {
        let keys = match &self.trouble {
            Some(trouble) => Line::styled(format!("stale: {trouble}"), Style::new().fg(Color::Red)),
            None => Line::styled("q ends, arrows scroll", Style::new().add_modifier(Modifier::DIM)),
        };
        match &self.view {
            Some(view) => draw(frame, &self.admin, view, self.skipped, keys),
            None => {
                let text = self.trouble.as_deref().unwrap_or("the first two samples …");
                frame.render_widget(Line::from(format!("{}: {text}", self.admin)), frame.area());
            }
        }
    }
}

/// The whole frame as text, however many rows it takes.
pub fn plain(admin: &Uri, view: &View) -> String {
    let rows = AROUND + view.agencies.len() + view.endpoints.len();
    let height = u16::try_from(rows).unwrap_or(u16::MAX);
    let screen = Screen::new(admin);
    let mut terminal = match Terminal::new(TestBackend::new(PLAIN_WIDTH, height)) {
        Ok(terminal) => terminal,
        Err(never) => match never {},
    };
    match terminal.draw(|frame| draw(frame, &screen.admin, view, 0, Line::default())) {
        Ok(_) => {}
        Err(never) => match never {},
    }
    let cells = terminal.backend().buffer().content();
    let lines = cells.chunks(usize::from(PLAIN_WIDTH)).map(|row| {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned() + "\n"
    });
    let text: String = lines.collect();
    text.trim_end().to_owned() + "\n"
}

fn draw(frame: &mut Frame<'_>, admin: &str, view: &View, skipped: usize, keys: Line<'_>) {
    let room = usize::from(frame.area().height).saturating_sub(AROUND);
    let endpoints = view.endpoints.len().min((room / ENDPOINT_SHARE).max(room.saturating_sub(view.agencies.len())));
    let rows = |count: usize| Constraint::Length(u16::try_from(count).unwrap_or(u16::MAX));
    let parts = [rows(2), Constraint::Fill(1), rows(1), rows(endpoints + 1), rows(1)];
    let [top, middle, _, bottom, last] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(sums(admin, view), top);
    frame.render_widget(agency_table(&view.agencies[skipped.min(view.agencies.len())..]), middle);
    frame.render_widget(endpoint_table(&view.endpoints), bottom);
    frame.render_widget(keys, last);
}

fn sums(admin: &str, view: &View) -> Line<'static> {
    let View { rate, refused, failed, in_flight, sha256, .. } = view;
    let config = sha256.get(..12).unwrap_or(sha256);
    let [rate, refused, failed] = [rate, refused, failed].map(|value| number(*value));
    let text =
        format!("{admin}  {rate} req/s  {refused} 4xx/s  {failed} 5xx/s  {in_flight} in flight  config {config}");
    Line::styled(text, Style::new().add_modifier(Modifier::BOLD))
}

const AGENCY: [(&str, u16); 8] = [
    ("AGENCY", 30),
    ("REQ/S", 9),
    ("4XX/S", 9),
    ("5XX/S", 9),
    ("P50", 9),
    ("P99", 9),
    ("IN FLIGHT", 10),
    ("HEALTHY", 8),
];

fn agency_table(agencies: &[AgencyRow]) -> Table<'_> {
    let rows = agencies.iter().map(|row| {
        let name = if row.name.is_empty() { "(no route)" } else { &row.name };
        let latency = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), milliseconds);
        let failed = if row.failed > 0.0 { Style::new().fg(Color::Red) } else { Style::new() };
        let healthy = if row.healthy < row.endpoints { Style::new().fg(Color::Red) } else { Style::new() };
        Row::new([
            Cell::from(name),
            right(number(row.rate)),
            right(number(row.refused)),
            right(number(row.failed)).style(failed),
            right(latency(row.median)),
            right(latency(row.p99)),
            right(row.in_flight.to_string()),
            right(format!("{}/{}", row.healthy, row.endpoints)).style(healthy),
        ])
    });
    table(rows, &AGENCY)
}

const ENDPOINT: [(&str, u16); 4] = [("AGENCY", 30), ("ENDPOINT", 50), ("STATE", 10), ("IN FLIGHT", 10)];

fn endpoint_table(endpoints: &[EndpointRow]) -> Table<'_> {
    let rows = endpoints.iter().map(|row| {
        let state = if row.state == "healthy" { Style::new() } else { Style::new().fg(Color::Red) };
        Row::new([
            Cell::from(&*row.agency),
            Cell::from(&*row.url),
            Cell::from(row.state).style(state),
            right(row.in_flight.to_string()),
        ])
    });
    table(rows, &ENDPOINT)
}

/// Headings stand as their columns do: numbers to the right.
fn table<'t>(rows: impl Iterator<Item = Row<'t>>, columns: &'static [(&'static str, u16)]) -> Table<'t> {
    let is_text = |name: &str| matches!(name, "AGENCY" | "ENDPOINT" | "STATE");
    let headings =
        columns.iter().map(|(name, _)| if is_text(name) { Cell::from(*name) } else { right((*name).to_owned()) });
    let headings = Row::new(headings).style(Style::new().add_modifier(Modifier::BOLD));
    Table::new(rows, columns.iter().map(|(_, width)| Constraint::Length(*width))).header(headings)
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

fn number(value: f64) -> String {
    if value >= 100.0 || value == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn milliseconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1}ms", seconds * 1000.0) } else { format!("{seconds:.2}s") }
}
