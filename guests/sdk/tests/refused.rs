//! What the macros refuse, and that they say so where the mistake is. A case is a file with the compiler's words beside
//! it; `TRYBUILD=overwrite cargo test -p weir-guest --test refused` writes those anew.

#[test]
fn mistakes_are_reported_where_they_are_made() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
