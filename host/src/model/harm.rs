//! Guests that the host died of: what it was doing, and how often.

use crate::limits::{GUEST_DEATHS_IN_A_ROW_MAX, GUEST_DEATHS_MAX};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is done for a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Doing {
    /// Its component, which another process compiled, is loaded and describes itself.
    Load,
    /// It is instantiated, and told its parameters.
    Prepare,
    /// It is called, and its answer checked.
    Call,
    /// Its memory is given back.
    Drop,
}

impl Doing {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Load, Self::Prepare, Self::Call, Self::Drop];

    /// Its name in a database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Prepare => "prepare",
            Self::Call => "call",
            Self::Drop => "drop",
        }
    }

    /// What has that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|doing| doing.name() == name)
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Load => "loaded this module",
            Self::Prepare => "set this version up",
            Self::Call => "ran this version",
            Self::Drop => "dropped an instance of this version",
        })
    }
}

/// A guest that was at work when the host died.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// A number that the process drew which noted it: a death is entered once.
    pub run: u64,
    /// What was done.
    pub doing: Doing,
    /// The pipeline.
    pub pipeline: String,
    /// The step.
    pub step: String,
    /// The version.
    pub version: u64,
    /// When it was deployed.
    pub at_ms: i64,
    /// Whether it decided nothing.
    pub candidate: bool,
    /// SHA-256 of its component, in hexadecimal.
    pub digest: String,
    /// A hash of its parameters; empty while it was loaded, which has nothing to do with them.
    pub parameters: String,
}

/// How often the host died of a guest, as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Harm {
    /// What it was at the last death.
    pub last: Note,
    /// Deaths at one position, one after the other.
    pub deaths: u64,
    /// Deaths without a run in between that ended in another way, at whichever positions.
    pub in_a_row: u64,
    /// Where the pipeline stood at the last death.
    pub position: u64,
}

impl Harm {
    /// Whether the guest is not run any more.
    pub fn is_too_much(&self) -> bool {
        let in_a_row = match self.last.candidate {
            // It decides nothing, so nothing is lost without it; and those who decide come further beside it.
            true => GUEST_DEATHS_MAX,
            false => GUEST_DEATHS_IN_A_ROW_MAX,
        };
        self.deaths >= GUEST_DEATHS_MAX || self.in_a_row >= in_a_row
    }

    /// What there is after another death, with the pipeline at `position`. A deployment that may run although the host died
    /// of an earlier one begins anew.
    pub fn after(before: Option<&Self>, note: Note, position: u64) -> Self {
        let before = before.filter(|before| before.last.at_ms == note.at_ms);
        let here = before.filter(|before| position <= before.position);
        Self {
            deaths: here.map_or(0, |here| here.deaths) + 1,
            in_a_row: before.map_or(0, |before| before.in_a_row) + 1,
            position,
            last: note,
        }
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = self.last.doing;
        let doing = match self.last.candidate && doing == Doing::Call {
            true => "ran this candidate".to_owned(),
            false => doing.to_string(),
        };
        match self.deaths >= self.in_a_row || self.deaths >= GUEST_DEATHS_MAX {
            true => write!(
                f,
                "the host died {} while it {doing}, and came no further than sequence {}",
                times(self.deaths),
                self.position
            ),
            false => write!(f, "the host died {} in a row while it {doing}", times(self.in_a_row)),
        }
    }
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}
