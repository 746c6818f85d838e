//! What a host remembers of the guests that it may die of.
//!
//! A guest cannot end the process, as far as anybody knows: a defect of the engine, or of this host, might let it. Then the
//! process dies, its supervisor starts it again, and it dies of the same event, for ever. So while a guest is *young*, the
//! host notes in a file beside the database (`DATABASE-guest`, see [`Notes`]) when work for it begins and when that ends. The
//! next start finds what was not ended: the host died there. That is entered in the database as a [`Harm`], and a version
//! that the host died of too often is not run again.
//!
//! - Work is all that happens for a guest: load, describe, instantiate, configure, call, check of the answer, names of the
//!   lines of a trap, drop. Where nothing of that is under way, no death counts: who kills an idle host harms nothing.
//! - A death counts on where the pipeline got no further than before it. So one that comes by chance, while a good version
//!   is at work, is forgotten as soon as a turn is committed.
//! - Guests are young from the start of a process, or from their swap, until they ran for [`GUEST_PROBATION`] and a turn was
//!   committed. Then nothing is written any more.
//! - Several guests may be at work when a process dies, and all but one are innocent. From the first death on, young guests
//!   work one after the other ([`GuestWatch::begin`]), so the second death names one alone.

mod notes;

pub use notes::Notes;

use crate::{
    fail_point,
    limits::{GUEST_DEATHS_IN_A_ROW_MAX, GUEST_DEATHS_MAX, GUEST_PROBATION},
    model::deployment::Whose,
};
use notes::Slot;
use serde::{Deserialize, Serialize};
use std::{
    cell::Cell,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

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
    const ALL: [Self; 4] = [Self::Load, Self::Prepare, Self::Call, Self::Drop];

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

/// How many pipelines of this process run a guest that the host may have died of.
static SUSPICIOUS: AtomicUsize = AtomicUsize::new(0);

/// Who holds it is the only one at work.
static ALONE: Mutex<()> = Mutex::new(());

thread_local! {
    /// Whether this thread is within noted work: work within work is part of it.
    static WITHIN: Cell<bool> = const { Cell::new(false) };
}

/// A watch over the guests of a pipeline.
pub struct PipelineWatch {
    notes: Arc<Notes>,
    pipeline: String,
    harms: Vec<Harm>,
    young: Mutex<Vec<Weak<Young>>>,
    begun: Instant,
    probation: Duration,
    is_suspicious: AtomicBool,
}

impl fmt::Debug for PipelineWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineWatch")
            .field("pipeline", &self.pipeline)
            .finish_non_exhaustive()
    }
}

impl PipelineWatch {
    /// A watch over the guests of `pipeline`, of some of which the host died before.
    pub fn new(notes: Arc<Notes>, pipeline: &str, harms: Vec<Harm>) -> Self {
        let is_suspicious = harms.iter().any(|harm| !harm.is_too_much());
        SUSPICIOUS.fetch_add(usize::from(is_suspicious), Ordering::Relaxed);
        let usual = GUEST_PROBATION.as_millis() as u64;
        Self {
            notes,
            pipeline: pipeline.to_owned(),
            harms,
            young: Mutex::default(),
            begun: Instant::now(),
            probation: Duration::from_millis(fail_point::number("probation-ms", usual)),
            is_suspicious: AtomicBool::new(is_suspicious),
        }
    }

    /// Why a guest is not run, where the host died of it too often; `parameters` are absent for its module alone.
    pub fn refusal(&self, whose: &Whose, digest: &str, parameters: Option<&str>) -> Option<&Harm> {
        self.harms.iter().find(|harm| {
            let last = &harm.last;
            let is_it = last.step == whose.step && last.digest == digest;
            let is_so = last.parameters.is_empty() || parameters == Some(&*last.parameters);
            let is_waived = last.at_ms != whose.at_ms && (whose.again || whose.is_candidate);
            is_it && is_so && harm.is_too_much() && !is_waived
        })
    }

    /// What the host died of among the guests of a module in a step, however often.
    pub fn harms_of<'w>(&'w self, whose: &'w Whose, digest: &'w str) -> impl Iterator<Item = &'w Harm> {
        let is_it = move |harm: &&Harm| harm.last.step == whose.step && harm.last.digest == digest;
        self.harms.iter().filter(is_it)
    }

    /// A watch over one guest of the pipeline.
    pub fn over(self: &Arc<Self>, whose: &Whose, digest: &str, parameters: Option<&str>) -> GuestWatch {
        let note = |doing| Note {
            run: self.notes.run(),
            doing,
            pipeline: self.pipeline.clone(),
            step: whose.step.clone(),
            version: whose.version,
            at_ms: whose.at_ms,
            candidate: whose.is_candidate,
            digest: digest.to_owned(),
            parameters: parameters.unwrap_or_default().to_owned(),
        };
        let young = Arc::new(Young {
            records: Doing::ALL.map(|doing| notes::record(&note(doing))),
            pipeline: self.clone(),
            refusal: self.refusal(whose, digest, parameters).map(ToString::to_string),
            is_over: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            since: Instant::now(),
            note: note(Doing::Call),
        });
        let mut all = self.young.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|young| young.strong_count() > 0);
        all.push(Arc::downgrade(&young));
        GuestWatch(Some(young))
    }

    /// Looks which guests are not young any more; `committed` is when the last turn was. Gives those of which the host died
    /// before: they are not to be blamed for it any longer.
    pub fn look(&self, committed: Option<Instant>) -> Vec<Harm> {
        if self.begun.elapsed() >= self.probation {
            self.calm();
        }
        let mut all = self.young.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cleared: Vec<Harm> = Vec::new();
        all.retain(|young| {
            let Some(young) = young.upgrade() else { return false };
            let has_shown = young.since.elapsed() >= self.probation
                // The first call is the one without rows.
                && young.calls.load(Ordering::Relaxed) > 1
                && committed.is_some_and(|committed| committed > young.since);
            if has_shown {
                young.is_over.store(true, Ordering::Relaxed);
                let mine = |harm: &&Harm| !harm.is_too_much() && young.is_of(&harm.last);
                cleared.extend(self.harms.iter().filter(mine).cloned());
            }
            !has_shown
        });
        cleared
    }

    /// Lets guests work side by side again, as far as this pipeline is concerned.
    fn calm(&self) {
        if self.is_suspicious.swap(false, Ordering::Relaxed) {
            SUSPICIOUS.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for PipelineWatch {
    fn drop(&mut self) {
        self.calm();
    }
}

/// A guest that is watched.
struct Young {
    pipeline: Arc<PipelineWatch>,
    /// What is noted, for each that is done.
    records: [Box<[u8]>; 4],
    note: Note,
    refusal: Option<String>,
    /// Whether it is young no more.
    is_over: AtomicBool,
    calls: AtomicU64,
    since: Instant,
}

impl Young {
    fn is_of(&self, other: &Note) -> bool {
        (&self.note.step, &self.note.digest) == (&other.step, &other.digest)
            && (other.parameters.is_empty() || self.note.parameters == other.parameters)
    }
}

/// A watch over a guest, or over nobody: where no pipeline runs that would be started again, there is nothing to remember.
#[derive(Clone, Default)]
pub struct GuestWatch(Option<Arc<Young>>);

impl fmt::Debug for GuestWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestWatch")
            .field("over", &self.0.as_ref().map(|young| &young.note))
            .finish()
    }
}

impl GuestWatch {
    /// Why the guest is not to be run.
    pub fn refusal(&self) -> Option<&str> {
        self.0.as_ref()?.refusal.as_deref()
    }

    /// Notes that work for the guest begins; it ends when what this gives is dropped. Where the host may have died of a guest
    /// lately, it waits until no other one is at work.
    pub fn begin(&self, doing: Doing) -> Noted {
        let young = self.0.as_ref().filter(|young| !young.is_over.load(Ordering::Relaxed));
        let Some(young) = young.filter(|_| !WITHIN.replace(true)) else {
            return Noted(None);
        };
        if doing == Doing::Call {
            young.calls.fetch_add(1, Ordering::Relaxed);
        }
        let alone =
            (SUSPICIOUS.load(Ordering::Relaxed) > 0).then(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner));
        let record = young.records.iter().zip(Doing::ALL).find(|(_, of)| *of == doing);
        let slot = record.map(|(record, _)| young.pipeline.notes.write(record));
        Noted(Some(Work { slot, _alone: alone }))
    }
}

/// Work for a guest that is under way.
#[must_use]
pub struct Noted(Option<Work>);

struct Work {
    slot: Option<Slot>,
    _alone: Option<MutexGuard<'static, ()>>,
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            WITHIN.set(false);
            // A panic ends the process as surely as a signal does, and a while later.
            if let Some(slot) = work.slot {
                slot.end(std::thread::panicking());
            }
        }
    }
}

/// Says of all notes of this process that it ends because somebody wants it to. What is at work dies of that.
pub fn leave() {
    notes::leave();
}

#[cfg(test)]
mod tests;
