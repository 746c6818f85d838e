//! What ran straight must run broken: batches of any size, stopped anywhere and gone on with, leave the same bytes.

use std::sync::Arc;
use weir_tests::{
    golden::cases,
    replay::{Run, plan},
    seed::with_seed,
};

/// Sizes of batches: every event alone, one that divides nothing, the largest.
const BATCHES: [usize; 3] = [1, 7, 4096];

/// How often a broken run is stopped.
const STOPS: usize = 4;

#[test]
fn batches_and_stops_leave_no_trace() {
    with_seed(|random| {
        for case in cases() {
            let plan = Arc::new(plan(&case.pipeline).expect("the pipeline is fine"));
            let (input, lookup_rows) = (case.input_bytes(), case.lookup_bytes());
            let line_count = input.iter().filter(|&&byte| byte == b'\n').count();
            let straight = Run {
                plan: &plan,
                lookup_rows: &lookup_rows,
                input: &input,
                batches: &[4096],
                stops: &[],
            };
            let expected = straight.contents();
            case.check(&expected);
            for batch in BATCHES {
                let found = Run {
                    batches: &[batch],
                    ..straight.clone()
                }
                .contents();
                assert_eq!(found, expected, "{}: batches of {batch}", case.name);
                let stops = random.cuts(STOPS, line_count);
                let found = Run {
                    batches: &[batch],
                    stops: &stops,
                    ..straight.clone()
                }
                .contents();
                assert_eq!(
                    found, expected,
                    "{}: batches of {batch}, stopped at {stops:?}",
                    case.name
                );
            }
            let stops = random.cuts(STOPS, line_count);
            let found = Run {
                batches: &BATCHES,
                stops: &stops,
                ..straight.clone()
            }
            .contents();
            assert_eq!(
                found, expected,
                "{}: batches of {BATCHES:?} in turn, stopped at {stops:?}",
                case.name
            );
        }
    });
}
