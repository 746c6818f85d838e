//! A rule whose parameters make versions of it: each says which it is, and fails where it is told to.

use weir_guest::{Input, Output, Parameters, Reject, stage};

#[derive(Input)]
struct Event {
    n: Option<i64>,
}

#[derive(Output)]
#[pass(n, k)]
struct Labelled {
    label: i64,
}

#[derive(Parameters)]
struct Settings {
    /// Which version this is.
    #[default(0)]
    label: i64,
    /// How it fails: "reject", "panic" or "loop"; on no row when empty.
    #[default("")]
    fails: String,
    /// It fails on each row whose `n` this divides.
    #[default(1)]
    every: i64,
    /// Rows whose `n` this divides are rejected by any version; 0 for none.
    #[default(0)]
    malformed: i64,
}

/// Events with the version that saw them.
#[stage]
fn versions(event: Event, settings: &Settings) -> Result<Labelled, Reject> {
    let n = event.n.ok_or_else(|| Reject::new("n is missing"))?;
    if settings.malformed > 0 && n % settings.malformed == 0 {
        return Err(Reject::new("malformed"));
    }
    if n % settings.every == 0 {
        match settings.fails.as_str() {
            "reject" => return Err(Reject::new(format!("version {} rejects {}", settings.label, n))),
            "panic" => panic!("version {} cannot take {}", settings.label, n),
            "loop" => loop {
                std::hint::black_box(());
            },
            _ => {}
        }
    }
    Ok(Labelled { label: settings.label })
}
