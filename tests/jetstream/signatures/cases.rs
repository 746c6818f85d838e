//! What is done with a deployment before it is written, and what becomes of it.

use super::{HOUR_MS, Host, now_ms};
use weir::{
    model::deployment::Deployment,
    trust::{Entry, Role},
};
use weir_tests::swaps::{PIPELINE, STEP};

/// The beginning of a digest under which other bytes are stored.
pub(super) const OTHER: &str = "e0";

/// What becomes of a deployment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Taken,
    Refused(&'static str),
}
pub(super) use Fate::{Refused, Taken};

/// What is done with a deployment before it is written, by name; what becomes of it where a signature is asked for, and where
/// none is.
pub(super) type Case = (&'static str, fn(&Host, Deployment) -> Deployment, Fate, Fate);

pub(super) const LIVE: Entry<'_> = Entry {
    pipeline: PIPELINE,
    step: STEP,
    role: Role::Live,
};

pub(super) fn signed(host: &Host, deployment: Deployment) -> Deployment {
    host.ann.sign(LIVE, deployment, None).unwrap()
}

pub(super) fn until(host: &Host, deployment: Deployment, expires_ms: i64) -> Deployment {
    host.ann.sign(LIVE, deployment, Some(expires_ms)).unwrap()
}

/// Signed, and changed afterwards.
pub(super) fn tampered(host: &Host, deployment: Deployment, change: impl FnOnce(&mut Deployment)) -> Deployment {
    let mut deployment = signed(host, deployment);
    change(&mut deployment);
    deployment
}

const NOT_FOR_THIS: Fate = Refused("is not for this: pipeline, step, module, parameters, version, time");

pub(super) const CASES: &[Case] = &[
    ("signed by one who is trusted", signed, Taken, Taken),
    (
        "signed for an hour",
        |h, d| until(h, d, now_ms() + HOUR_MS),
        Taken,
        Taken,
    ),
    (
        "not signed",
        |_, d| d,
        Refused("it is not signed, and accepted is what is signed by ann (U"),
        Taken,
    ),
    (
        "signed by a stranger",
        |h, d| h.bob.sign(LIVE, d, None).unwrap(),
        Refused("who is not trusted here: accepted is what is signed by ann (U"),
        Refused("who is not trusted here"),
    ),
    (
        "expired",
        |h, d| until(h, d, now_ms() - 1000),
        Refused("it came too late; deploy it again"),
        Refused("it came too late"),
    ),
    (
        "from a clock that is ahead",
        |h, d| {
            signed(
                h,
                Deployment {
                    at_ms: now_ms() + HOUR_MS,
                    ..d
                },
            )
        },
        Refused("up to 10 min ahead; set the clocks"),
        Refused("up to 10 min ahead"),
    ),
    (
        "of another module",
        // Nobody has it: that it is not asked for shows in the reason.
        |h, d| tampered(h, d, |d| d.digest = Some("f".repeat(64))),
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "of the module of the file",
        |h, d| tampered(h, d, |d| d.digest = None),
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "of a module whose bytes were exchanged",
        |h, d| {
            signed(
                h,
                Deployment {
                    digest: Some(OTHER.repeat(32)),
                    ..d
                },
            )
        },
        Refused("was damaged or exchanged"),
        Refused("was damaged or exchanged"),
    ),
    (
        "with another value of a parameter",
        |h, d| tampered(h, d, |d| _ = d.parameters.insert("label".to_owned(), 9999.into())),
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "with a further parameter",
        |h, d| tampered(h, d, |d| _ = d.parameters.insert("every".to_owned(), 2.into())),
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "without a parameter",
        |h, d| tampered(h, d, |d| _ = d.parameters.remove("label")),
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "for another step",
        |h, d| h.ann.sign(Entry::live(PIPELINE, "by-key"), d, None).unwrap(),
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "for another pipeline",
        |h, d| h.ann.sign(Entry::live("swappe", "dversions"), d, None).unwrap(),
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "as a candidate",
        |h, d| h.ann.sign(Entry::candidate(PIPELINE, STEP), d, None).unwrap(),
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "under another number",
        |h, d| {
            let earlier = Deployment {
                version: d.version - 1,
                ..d.clone()
            };
            tampered(h, earlier, |earlier| earlier.version = d.version)
        },
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "at another time",
        |h, d| tampered(h, d, |d| d.at_ms += 1),
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "for longer",
        |h, d| {
            let mut d = until(h, d, now_ms() - 1000);
            d.signature.as_mut().unwrap().expires_ms = Some(now_ms() + HOUR_MS);
            d
        },
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "for ever",
        |h, d| {
            let mut d = until(h, d, now_ms() - 1000);
            d.signature.as_mut().unwrap().expires_ms = None;
            d
        },
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "by somebody else",
        |h, d| tampered(h, d, |d| "mallory".clone_into(&mut d.by)),
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "with another note",
        |h, d| tampered(h, d, |d| d.note = None),
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "once more",
        |h, d| tampered(h, d, |d| d.again = true),
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "with the word given to the file",
        |h, d| tampered(h, d, |d| d.of_file = true),
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "with the name of a trusted key over a stranger's signature",
        |h, d| {
            let mut d = h.bob.sign(LIVE, d, None).unwrap();
            h.ann.public().clone_into(&mut d.signature.as_mut().unwrap().key);
            d
        },
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "with the signature of another version",
        |h, d| {
            let other = signed(
                h,
                Deployment {
                    version: d.version + 7,
                    ..d.clone()
                },
            );
            Deployment {
                signature: other.signature,
                ..d
            }
        },
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "with garbage in the place of a signature",
        |h, d| tampered(h, d, |d| "AAAA!".clone_into(&mut d.signature.as_mut().unwrap().value)),
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "with a signature that was cut",
        |h, d| tampered(h, d, |d| d.signature.as_mut().unwrap().value.truncate(40)),
        NOT_FOR_THIS,
        NOT_FOR_THIS,
    ),
    (
        "with garbage in the place of a key",
        |h, d| tampered(h, d, |d| "\u{1b}[2J".clone_into(&mut d.signature.as_mut().unwrap().key)),
        Refused("cannot be checked: \"\\u{1b}[2J\" is no public key"),
        Refused("is no public key"),
    ),
    (
        "of a form that is not known",
        |h, d| tampered(h, d, |d| d.signature.as_mut().unwrap().form = 2),
        Refused("has the form 2, and this weir reads form 1"),
        Refused("has the form 2"),
    ),
    (
        "the word of the file, signed",
        |h, d| {
            signed(
                h,
                Deployment {
                    of_file: true,
                    digest: None,
                    ..d
                },
            )
        },
        Taken,
        Taken,
    ),
    (
        "the word of the file, not signed",
        |_, d| Deployment {
            of_file: true,
            digest: None,
            ..d
        },
        Refused("it is not signed"),
        Taken,
    ),
    ("signed again", signed, Taken, Taken),
];
