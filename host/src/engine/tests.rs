use super::*;
use crate::{definition::File, error::ErrorKind, format::Decoder, model::ids::Id, plan::double::Closures};

/// A plan whose table reads a column that is not there, as no planner makes one.
fn broken() -> (Plan, Closures) {
    let text = r#"
        name = "visits"
        source = { stream = "WEB", subject = "visits", columns = { user = "text", page = "text" } }
        step = [{ name = "last-page", last_value = { key = ["user"] } }]
        sink = [{ table = "last_page", primary_key = ["user"] }]
    "#;
    let host = Closures::default();
    let mut plan = Plan::build(&File::from_text("visits.toml", text), &host).unwrap();
    plan.sinks.get_mut(SinkId::FIRST).unwrap().columns[1].place = 7;
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

/// An edge with two readers, rows that come too late, and rows that are left out.
const SHOP: &str = r#"
    name = "shop"
    source = { stream = "S", subject = "s", columns = { id = "text", at = "int" } }
    event_time = { column = "at" }
    step = [
        { name = "once", deduplicate = { key = ["id"], within = "1 h" } },
        { name = "minutes", from = "once", window = { tumbling = "1 min", columns = { events = { count = "*" } } } },
        { name = "latest", from = "once", last_value = { key = ["id"] } },
    ]
    sink = [
        { table = "minutes", from = "minutes" },
        { table = "latest", from = "latest", primary_key = ["id"] },
    ]
"#;

/// The metrics of a run over payloads, `batch` at a time, as a pipeline counts them; and what its turns counted.
fn measured(plan: &Arc<Plan>, host: &Closures, payloads: &[String], batch: usize) -> (Arc<Metrics>, Counts) {
    let mut decoder = Decoder::of(plan, 16).unwrap();
    let mut engine = Engine::new(plan.clone(), host, 1).unwrap();
    let metrics = engine.metrics().clone();
    let (mut sequence, mut counts) = (0, Counts::default());
    for payloads in payloads.chunks(batch) {
        for payload in payloads {
            sequence += 1;
            decoder.push(sequence, Some(1_773_547_200_000), payload.as_bytes());
        }
        engine.process(decoder.take()).unwrap();
        let turn = engine.take_turn(sequence).unwrap();
        counts += turn.counts;
        let committing = metrics.count_turn(&turn);
        metrics.committed(&committing, std::time::Duration::from_millis(3));
    }
    (metrics, counts)
}

#[test]
fn what_is_measured_adds_up_along_the_edges_however_events_are_cut_into_batches() {
    let host = Closures::default();
    let plan = Arc::new(Plan::build(&File::from_text("shop.toml", SHOP), &host).unwrap());
    let event = |id: u64, minute: i64| format!(r#"{{"id": "{id}", "at": {}}}"#, 1_773_547_200_000 + 60_000 * minute);
    let mut payloads: Vec<String> = (0..40).map(|number| event(number % 30, (number / 4) as i64)).collect();
    payloads.insert(7, String::new());
    payloads.insert(9, "broken".to_owned());
    payloads.push(event(50, 0));
    for batch in [1, 5, 16] {
        let (metrics, counts) = measured(&plan, &host, &payloads, batch);
        assert_eq!(metrics.counts(), counts);
        assert_eq!(counts.events, payloads.len() as u64);
        assert_eq!(
            counts.applied + counts.filtered + counts.dead_letters + counts.empty,
            counts.events
        );
        assert_eq!((counts.empty, counts.dead_letters), (1, 1));
        let numbers = metrics.step_numbers();
        for (node, step) in plan.nodes.iter().zip(&numbers) {
            assert_eq!(node.name, step.step);
            let read = |port: OutputPort| {
                let output = plan.output(port).unwrap();
                numbers[port.node.number()].rows_out[&output.name]
            };
            let expected: u64 = match node.kind {
                NodeKind::Source => step.rows_out.values().sum(),
                _ => node.inputs().map(read).sum(),
            };
            assert_eq!(step.rows_in, expected, "rows into {}", step.step);
            assert_eq!(step.failed_rows, 0);
        }
        let of = |name: &str| numbers.iter().find(|step| step.step == name).unwrap();
        assert_eq!(of("once").rows_in, payloads.len() as u64 - 2);
        assert_eq!((of("once").rows_out["out"], of("once").rows_out["late"]), (30, 1));
        assert_eq!((of("latest").rows_in, of("minutes").rows_in), (30, 30));
        assert_eq!(
            (of("once").late_rows, of("minutes").late_rows, counts.late_rows),
            (1, 0, 1)
        );
        assert_eq!(of("latest").state_entries, 30);
        assert!(of("latest").state_bytes > 0);
        assert_eq!(metrics.late_rows(), BTreeMap::from([("once".to_owned(), 1)]));
        assert_eq!(metrics.pipeline.undecoded_events.get(), 1);
        assert_eq!(
            metrics.pipeline.commit_duration.count(),
            payloads.len().div_ceil(batch) as u64
        );
        let last = payloads.chunks(batch).next_back().map_or(0, <[String]>::len);
        assert_eq!(metrics.pipeline.last_commit_events.get(), last as u64);
        assert!(metrics.last_commit().is_some());
    }
}
