use super::*;
use crate::{definition::File, error::ErrorKind, format::Decoder, wasm::Compiler};

/// A plan whose table reads a column that is not there, as no planner makes one.
fn broken() -> (Plan, StageHost) {
    let text = r#"
        name = "visits"
        source = { stream = "WEB", subject = "visits", columns = { user = "text", page = "text" } }
        step = [{ name = "last-page", last_value = { key = ["user"] } }]
        sink = [{ table = "last_page", primary_key = ["user"] }]
    "#;
    let host = StageHost::new(None, Compiler::InProcess).unwrap();
    let mut plan = Plan::build(&File::from_text("visits.toml", text), &host).unwrap();
    plan.sinks[0].columns[1].1 = 7;
    (plan, host)
}

#[test]
fn a_broken_invariant_ends_the_engine_before_a_turn_is_given() {
    let (plan, host) = broken();
    let plan = Arc::new(plan);
    let mut decoder = Decoder::of(&plan, 16).unwrap();
    let mut engine = Engine::new(plan, &host, 1).unwrap();
    decoder.push(1, None, br#"{"user": "ann", "page": "home"}"#);
    let error = engine.process(decoder.take()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Defect);
    assert!(error.to_string().starts_with("column 7 of 2 was picked ("), "{error}");
    // It stays so, whatever comes.
    decoder.push(2, None, b"");
    assert_eq!(engine.process(decoder.take()).unwrap_err().kind(), ErrorKind::Defect);
    assert_eq!(engine.take_turn(1).unwrap_err().kind(), ErrorKind::Defect);
}
