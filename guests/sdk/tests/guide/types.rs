//! Due: what is to be paid of an invoice, with tax, and by when.

use weir_guest::jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use weir_guest::rust_decimal::Decimal;
use weir_guest::{Input, Json, Output, Parameters, stage};

/// What the rule reads of an invoice.
#[derive(Input)]
struct Invoice<'a> {
    net: Option<Decimal>,
    issued_at: Option<Timestamp>,
    buyer: Option<Json<Buyer<'a>>>,
    tags: Option<Vec<String>>,
}

/// A part of the JSON in `buyer`.
#[derive(serde::Deserialize)]
struct Buyer<'a> {
    country: &'a str,
}

/// What is to be paid.
#[derive(Output)]
#[pass(invoice_no)]
struct Due {
    #[decimal(18, 2)]
    gross: Decimal,
    due: Date,
    tags: Vec<String>,
}

#[derive(Parameters)]
struct Settings {
    /// Share of the net price that is tax at home.
    #[default("0.19")]
    tax: Decimal,
    /// The first day of which invoices count.
    #[default("2026-01-01")]
    from: Date,
}

/// What is to be paid of an invoice, with tax, and by when.
#[stage]
fn due(invoice: Invoice<'_>, settings: &Settings) -> Option<Due> {
    let issued = invoice.issued_at?.to_zoned(TimeZone::UTC).date();
    let at_home = invoice.buyer.is_some_and(|buyer| buyer.0.country == "DE");
    let tax = if at_home { settings.tax } else { Decimal::ZERO };
    let gross = invoice.net? * (Decimal::ONE + tax);
    (issued >= settings.from).then_some(Due {
        gross: gross.round_dp(2),
        due: issued.saturating_add(14.days()),
        tags: invoice.tags.unwrap_or_default(),
    })
}

#[test]
fn tax_is_rounded_to_cents() {
    let invoice = Invoice {
        net: Some(Decimal::new(1999, 2)),
        issued_at: Some("2026-03-15T23:30:00Z".parse().unwrap()),
        buyer: Some(Json(Buyer { country: "DE" })),
        tags: None,
    };
    let due = due(invoice, &Settings::defaults().unwrap()).unwrap();
    assert_eq!(due.gross.to_string(), "23.79");
    assert_eq!(due.due.to_string(), "2026-03-29");
}
