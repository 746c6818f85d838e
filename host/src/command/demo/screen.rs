//! The demo's screen: the tables as they fill. On a terminal it is drawn again and again in its place; through a pipe
//! there is a line every few seconds, and the tables once at the end.

use crate::{
    command::show,
    command::terminal::{self, answer, say},
    error::Result,
    runtime::live::Live,
    storage::Location,
};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Rows of each table that are shown, where there is room for them.
const ROWS_MAX: usize = 6;

/// Lines that a table takes beside its rows: title, borders, names.
const TABLE_LINES: usize = 5;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(3);

/// The widest that tables are drawn.
const WIDTH_MAX: u16 = 110;

/// What is shown of each database: file, table, order, title.
const TABLES: [(&str, &str, &str, &str); 3] = [
    (
        "hourly-orders",
        "hs_order",
        "length(biz_date), biz_date DESC",
        "Orders by the hour (hs_order, latest first)",
    ),
    (
        "premium-drop",
        "wechat_activity_user",
        "id",
        "Customers whose premium dropped (wechat_activity_user)",
    ),
    (
        "last-page",
        "user_last_log",
        "account_id, device_id",
        "Each user's last page (user_last_log)",
    ),
];

pub(super) struct Screen {
    drawn: Option<terminal::Screen>,
    server: String,
    begun: Instant,
    last_line: Instant,
}

impl Screen {
    pub(super) fn new(server: &str, begun: Instant) -> Self {
        Self {
            drawn: terminal::Screen::begin(),
            server: server.to_owned(),
            begun,
            last_line: begun,
        }
    }

    /// Shows how far the pipelines are.
    pub(super) fn draw(&mut self, home: &Path, lives: &[Live], published: u64) -> Result<()> {
        let Some(drawn) = &self.drawn else {
            if self.last_line.elapsed() >= LINE_EVERY {
                self.last_line = Instant::now();
                for line in self.status(lives, published) {
                    say!(Info, "{line}");
                }
            }
            return Ok(());
        };
        let mut lines = self.status(lives, published);
        lines.push(String::new());
        let room = drawn.size().0.saturating_sub(1);
        let rows = (room.saturating_sub(lines.len()) / TABLES.len()).saturating_sub(TABLE_LINES);
        lines.extend(self.table_lines(home, rows.clamp(1, ROWS_MAX))?);
        drawn.draw(&lines)
    }

    /// Takes away what was drawn, and writes the tables for good.
    pub(super) fn end(mut self, home: &Path) -> Result<()> {
        self.drawn = None;
        for line in self.table_lines(home, ROWS_MAX)? {
            answer!("{line}")?;
        }
        Ok(())
    }

    fn status(&self, lives: &[Live], published: u64) -> Vec<String> {
        let seconds = show::seconds(self.begun.elapsed());
        let mut lines = vec![format!(
            "weir demo: {} events published to {} in {seconds}",
            show::thousands(published),
            self.server
        )];
        for live in lives {
            let counts = live.metrics.counts();
            lines.push(format!(
                "  {:<14} {:>9} events  {:>9} applied  {:>7} filtered  {:>4} dead letters  {:>5} alerts  lag {}",
                live.plan.name,
                show::thousands(counts.events),
                show::thousands(counts.applied),
                show::thousands(counts.filtered),
                show::thousands(counts.dead_letters),
                show::thousands(live.metrics.pipeline.messages.get()),
                show::waiting(live.lag()),
            ));
        }
        lines
    }

    fn table_lines(&self, home: &Path, rows_max: usize) -> Result<Vec<String>> {
        let width = terminal::width().map_or(WIDTH_MAX, |width| width.min(WIDTH_MAX.into()) as u16);
        let mut lines = Vec::new();
        for (database, table, order, title) in TABLES {
            let database = Location::in_folder(home, database).inspect();
            let (names, rows) = database.first_rows(table, order, rows_max)?;
            let mut drawn = Table::new();
            drawn
                .load_style(presets::UTF8_FULL_CONDENSED)
                .set_content_arrangement(ContentArrangement::Dynamic);
            drawn.set_width(width).set_header(&names).add_rows(rows);
            for (at, name) in names.iter().enumerate() {
                if (name.starts_with("total") || name.ends_with("cnt") || name.ends_with("premium"))
                    && let Some(column) = drawn.column_mut(at)
                {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
            lines.push(title.to_owned());
            lines.extend(drawn.to_string().lines().map(str::to_owned));
        }
        Ok(lines)
    }
}
