//! What is signed of a deployment: two that differ are never written alike, and what was signed is right until it is changed.

use proptest::prelude::*;
use std::collections::BTreeMap;
use weir::{
    model::deployment::{Deployment, Signature, Signer},
    trust::{Entry, Key, Policy, Role, statement},
};
use weir_tests::seed::check_property;

/// Texts of few letters, so that the end of one and the beginning of the next are often alike.
fn text() -> impl Strategy<Value = String> {
    "[a\u{0}\u{1}é]{0,3}"
}

fn value() -> impl Strategy<Value = toml::Value> {
    let leaf = prop_oneof![
        text().prop_map(toml::Value::String),
        (-2i64..3).prop_map(toml::Value::Integer),
        prop_oneof![Just(0.0), Just(-0.0), Just(1.0), Just(f64::from_bits(1)), Just(5e-324)]
            .prop_map(toml::Value::Float),
        any::<bool>().prop_map(toml::Value::Boolean),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(toml::Value::Array),
            prop::collection::vec((text(), inner), 0..3)
                .prop_map(|members| toml::Value::Table(members.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn deployment()(
        version in prop_oneof![0u64..3, Just(u64::MAX)],
        digest in prop::option::of(text()),
        parameters in prop::collection::btree_map(text(), value(), 0..3),
        by in text(),
        at_ms in prop_oneof![-1i64..2, Just(i64::MIN)],
        note in prop::option::of(text()),
        of_file in any::<bool>(),
        again in any::<bool>(),
        (key, expires_ms) in (text(), prop::option::of(-1i64..2)),
    ) -> Deployment {
        let signature = Some(Signature { form: 1, key, expires_ms, value: String::new() });
        // What the file says is not part of the entry.
        let parameters = if of_file { BTreeMap::new() } else { parameters };
        Deployment { version, digest, parameters, by, at_ms, note, of_file, again, signature }
    }
}

fn place() -> impl Strategy<Value = (String, String, bool)> {
    (text(), text(), any::<bool>())
}

fn bytes((pipeline, step, is_candidate): &(String, String, bool), deployment: &Deployment) -> Vec<u8> {
    let role = if *is_candidate { Role::Candidate } else { Role::Live };
    statement(Entry { pipeline, step, role }, deployment)
}

/// The same as what the two are told apart by: tables without an order, and zeros by their signs.
fn shown(place: &(String, String, bool), deployment: &Deployment) -> String {
    fn sorted(value: &toml::Value) -> String {
        match value {
            toml::Value::Table(table) => {
                let table: BTreeMap<&String, String> =
                    table.iter().map(|(name, value)| (name, sorted(value))).collect();
                format!("{table:?}")
            }
            toml::Value::Array(values) => format!("{:?}", values.iter().map(sorted).collect::<Vec<_>>()),
            other => format!("{other:?}"),
        }
    }
    let parameters: BTreeMap<&String, String> = deployment
        .parameters
        .iter()
        .map(|(name, value)| (name, sorted(value)))
        .collect();
    let rest = Deployment {
        parameters: BTreeMap::new(),
        ..deployment.clone()
    };
    format!("{place:?} {rest:?} {parameters:?}")
}

#[test]
fn two_deployments_that_differ_are_never_written_alike() {
    let pairs = ((place(), deployment()), (place(), deployment()));
    check_property(5_000, &pairs, |((place_a, a), (place_b, b))| {
        let same = shown(place_a, a) == shown(place_b, b);
        assert_eq!(bytes(place_a, a) == bytes(place_b, b), same);
    });
    // Most pairs differ in much: those that differ in one thing are looked at alone.
    check_property(
        5_000,
        &((place(), deployment()), (place(), deployment()), 0..12usize),
        |((place_a, a), (place_b, b), what)| {
            let (mut place, mut one) = (place_a.clone(), a.clone());
            let signature = |deployment: &Deployment| deployment.signature.clone().expect("it has one");
            match what {
                0 => place.0.clone_from(&place_b.0),
                1 => place.1.clone_from(&place_b.1),
                2 => place.2 = place_b.2,
                3 => one.version = b.version,
                4 => one.digest.clone_from(&b.digest),
                5 if !a.of_file => one.parameters.clone_from(&b.parameters),
                6 => one.by.clone_from(&b.by),
                7 => one.at_ms = b.at_ms,
                8 => one.note.clone_from(&b.note),
                9 => one.again = b.again,
                10 => {
                    one.signature = Some(Signature {
                        key: signature(b).key,
                        ..signature(a)
                    })
                }
                _ => {
                    one.signature = Some(Signature {
                        expires_ms: signature(b).expires_ms,
                        ..signature(a)
                    })
                }
            }
            assert_eq!(
                bytes(place_a, a) == bytes(&place, &one),
                shown(place_a, a) == shown(&place, &one)
            );
        },
    );
}

#[test]
fn a_signature_is_right_until_anything_is_changed_also_behind_json() {
    let key = Key::for_now();
    let trust = Policy {
        keys: Some(vec![Signer {
            key: key.public().to_owned(),
            name: None,
        }]),
        require: true,
    };
    check_property(300, &(place(), deployment(), deployment()), |(place, signed, other)| {
        let entry = |(pipeline, step, is_candidate)| Entry {
            pipeline,
            step,
            role: if is_candidate { Role::Candidate } else { Role::Live },
        };
        let here = entry((&*place.0, &*place.1, place.2));
        let mut signed = signed.clone();
        signed.at_ms = signed.at_ms.max(0);
        let signed = key.sign(here, signed, Some(1000)).expect("it can be signed");
        // As it goes through the registry and the database.
        let json = serde_json::to_string(&signed).expect("it can be written");
        let read: Deployment = serde_json::from_str(&json).expect("it can be read");
        trust.check(here, &read, 500).expect("it is as it was");
        assert!(trust.check(here, &read, 1000).is_err(), "it came too late");
        assert!(
            trust
                .check(
                    here,
                    &Deployment {
                        signature: None,
                        ..read.clone()
                    },
                    500
                )
                .is_err()
        );
        let changed = Deployment {
            signature: read.signature.clone(),
            ..other.clone()
        };
        if shown(place, &changed) != shown(place, &read) {
            assert!(trust.check(here, &changed, 500).is_err(), "{json}");
        }
        let elsewhere = format!("{}a", place.1);
        assert!(
            trust
                .check(entry((&*place.0, &*elsewhere, place.2)), &read, 500)
                .is_err()
        );
    });
}

#[test]
fn what_is_not_signed_is_written_as_it_always_was() {
    let plain = Deployment {
        version: 3,
        ..Default::default()
    };
    assert_eq!(
        serde_json::to_string(&plain).expect("it can be written"),
        r#"{"version":3,"digest":null,"parameters":{},"by":"","at_ms":0,"note":null}"#
    );
}

#[test]
fn of_two_policies_the_stricter_holds() {
    let policy = |keys: Option<&[&str]>, require| Policy {
        keys: keys.map(|keys| {
            let signer = |key: &&str| Signer {
                key: (*key).to_owned(),
                name: None,
            };
            keys.iter().map(signer).collect()
        }),
        require,
    };
    for (file, host, both) in [
        (policy(None, false), policy(None, false), policy(None, false)),
        (policy(None, true), policy(None, false), policy(None, true)),
        (policy(None, false), policy(None, true), policy(None, true)),
        (
            policy(Some(&["a"]), false),
            policy(None, true),
            policy(Some(&["a"]), true),
        ),
        (
            policy(None, true),
            policy(Some(&["a"]), false),
            policy(Some(&["a"]), true),
        ),
        (
            policy(Some(&["a", "b"]), false),
            policy(Some(&["c", "b"]), false),
            policy(Some(&["b"]), false),
        ),
        (
            policy(Some(&["a"]), true),
            policy(Some(&["b"]), false),
            policy(Some(&[]), true),
        ),
    ] {
        assert_eq!(file.and(&host), both);
        for key in [None, Some("a"), Some("b"), Some("c")] {
            let each = file.accepts(key).is_ok() && host.accepts(key).is_ok();
            // Without a list a signature counts where another list has its key; alone it counts where none is asked for.
            if file.keys.is_some() && host.keys.is_some() || !(file.require || host.require) {
                assert_eq!(both.accepts(key).is_ok(), each, "{file:?} {host:?} {key:?}");
            }
        }
    }
}
