//! A rule that was built for an earlier host runs on this one: a component that is kept as it was, with what it gave.

use super::weir;
use weir_tests::workspace;

#[test]
fn a_rule_of_contract_0_1_0_gives_what_it_gave_when_it_was_built() {
    let folder = workspace().join("tests/fixtures/contract-0.1.0");
    let pipeline = folder.join("pipeline.toml");
    let checked = weir().run(["check".as_ref(), pipeline.as_os_str()]).ends_with(0);
    let rule = "rule contract-0-1-0 1.0.0 (b1c8ca5611ec)";
    assert!(
        checked.stdout.contains(rule),
        "the component is not the one that was kept: {rule} is not in\n{}",
        checked.stdout
    );

    let tested = weir().run(["test".as_ref(), folder.as_os_str()]).ends_with(0);
    assert_eq!(
        tested.stdout,
        "ok       all  9 events, 3 dead letters\n1 case: 1 passed\n"
    );
    tested.says("rule contract-0-1-0 says (info): reading 40 has an odd value");
}
