//! A rule that is no function of its row, where rows ask for it: it remembers. On all other rows it is one.

use std::sync::atomic::{AtomicI64, Ordering};
use weir_guest::{Input, Output, Reject, stage};

#[derive(Input)]
struct Row<'a> {
    what: Option<&'a str>,
    n: Option<i64>,
}

#[derive(Output)]
#[pass(id)]
struct Said {
    said: i64,
}

/// Rows that this instance has judged.
static JUDGED: AtomicI64 = AtomicI64::new(0);

/// What stood in the row before.
static BEFORE: AtomicI64 = AtomicI64::new(0);

/// Says of a row its number; of one that asks for it, what it remembers.
#[stage]
fn moody(row: Row<'_>) -> Result<Option<Said>, Reject> {
    let judged = JUDGED.fetch_add(1, Ordering::Relaxed);
    let n = row.n.unwrap_or_default();
    let before = BEFORE.swap(n, Ordering::Relaxed);
    match row.what {
        // How many rows came before, of as many as a batch may have.
        Some("counts") => Ok(Some(Said { said: judged })),
        Some("row before") => Ok(Some(Said { said: before })),
        Some("every other") => Ok((judged % 2 == 0).then_some(Said { said: n })),
        Some("rejects the second") if judged == 1 => Err(Reject::new("it is the second")),
        Some("rejects") => Err(Reject::new(format!("it is {n}"))),
        Some("traps") => std::process::abort(),
        Some("traps at the second") if judged == 1 => std::process::abort(),
        _ => Ok(Some(Said { said: n })),
    }
}
