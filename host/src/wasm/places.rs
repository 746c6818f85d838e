//! How many guests live at once in this process, and whose they are.
//!
//! What a guest takes at most is bounded (see [`crate::limits`]), so places are all that there is to account for. A
//! pipeline gets those that its steps can ever need before it runs, and no one else is given them; so whatever is
//! deployed elsewhere, a guest that has to be made anew has its place.

use crate::{
    error::{Error, Result},
    limits::{GUESTS_LOOSE, GUESTS_MAX, GUESTS_SHARED},
    plan::GuestCounts,
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The places of a process.
#[derive(Debug)]
pub(super) struct Places {
    /// Those that belong to pipelines.
    shared: AtomicUsize,
    /// Those that are taken for what belongs to none: a check, a case, a trial run.
    loose: AtomicUsize,
}

/// The places of a pipeline. They are free again when it and the last of its guests are gone.
#[derive(Debug)]
pub(super) struct Share {
    places: Arc<Places>,
    most: usize,
    taken: AtomicUsize,
}

/// The place of one guest.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    share: Option<Arc<Share>>,
}

impl Places {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            shared: AtomicUsize::new(0),
            loose: AtomicUsize::new(0),
        })
    }

    /// The places that a pipeline needs.
    ///
    /// # Errors
    /// When so many are not free.
    pub(super) fn share(self: &Arc<Self>, guests: GuestCounts) -> Result<Arc<Share>> {
        let most = guests.places();
        if let Err(free) = take(&self.shared, most, GUESTS_SHARED) {
            return Err(Error::environment(format!(
                "{}; {free} of the {GUESTS_SHARED} of this process are free: run it in a process of its own",
                guests.described()
            )));
        }
        Ok(Arc::new(Share {
            places: self.clone(),
            most,
            taken: AtomicUsize::new(0),
        }))
    }

    /// A place of `share`, or a loose one.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn place(self: &Arc<Self>, share: Option<&Arc<Share>>) -> Result<Place, String> {
        match share {
            Some(share) => take(&share.taken, 1, share.most).map_err(|_| {
                let most = share.most;
                format!(
                    "all {most} places for guests of this pipeline are taken: candidates or versions that were replaced still \
                     run; try again when they have ended"
                )
            })?,
            None => take(&self.loose, 1, GUESTS_LOOSE)
                .map_err(|_| {
                format!(
                    "all {GUESTS_LOOSE} places for guests of no pipeline are taken: other checks and replays of this process run; \
                     try again when they have ended"
                )
            })?,
        }
        Ok(Place {
            places: self.clone(),
            share: share.cloned(),
        })
    }
}

/// Adds `count` to `taken`, up to `most`.
///
/// # Errors
/// How many are free, where these are fewer.
fn take(taken: &AtomicUsize, count: usize, most: usize) -> Result<(), usize> {
    let add = |taken: usize| taken.checked_add(count).filter(|&taken| taken <= most);
    let taken = taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
    taken.map(|_| ()).map_err(|taken| most.saturating_sub(taken))
}

impl Drop for Share {
    fn drop(&mut self) {
        self.places.shared.fetch_sub(self.most, Ordering::AcqRel);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = self.share.as_ref().map_or(&self.places.loose, |share| &share.taken);
        taken.fetch_sub(1, Ordering::AcqRel);
    }
}

const _: () = assert!(GUESTS_SHARED + GUESTS_LOOSE == GUESTS_MAX);

#[cfg(test)]
mod tests {
    use super::Places;
    use crate::{
        limits::{GUESTS_LOOSE, GUESTS_OF_PIPELINE, GUESTS_OF_STAGE, GUESTS_SHARED},
        plan::GuestCounts,
    };

    const fn stages(stages: usize) -> GuestCounts {
        GuestCounts {
            stages,
            over_changelogs: 0,
            aggregates: 0,
            keyed: 0,
        }
    }

    const MOST: usize = (GUESTS_SHARED - GUESTS_OF_PIPELINE) / GUESTS_OF_STAGE;

    #[test]
    fn what_does_not_fit_is_refused_with_the_figures_and_the_others_keep_theirs() {
        let places = Places::new();
        let large = places.share(stages(MOST - 10)).unwrap();
        let small = places.share(stages(5)).unwrap();
        let error = places.share(stages(10)).unwrap_err().to_string();
        let free = GUESTS_SHARED - large.most - small.most;
        assert!(
            error.contains("its 10 stages and 0 aggregates that are guests need 62 places"),
            "{error}"
        );
        assert!(
            error.contains(&format!("{free} of the {GUESTS_SHARED} of this process are free")),
            "{error}"
        );
        // A pipeline takes all of its own, whatever the others do.
        let taken: Vec<_> = (0..small.most).map(|_| places.place(Some(&small)).unwrap()).collect();
        let error = places.place(Some(&small)).unwrap_err();
        assert!(error.contains(&format!("all {} places", small.most)), "{error}");
        let others: Vec<_> = (0..large.most).map(|_| places.place(Some(&large)).unwrap()).collect();
        drop((taken, others));
        assert!(places.place(Some(&small)).is_ok());
    }

    #[test]
    fn places_are_free_again_when_the_last_guest_of_a_pipeline_is_gone() {
        let places = Places::new();
        let share = places.share(stages(MOST)).unwrap();
        let guest = places.place(Some(&share)).unwrap();
        drop(share);
        assert!(places.share(stages(1)).is_err(), "a guest still has its place");
        drop(guest);
        assert!(places.share(stages(MOST)).is_ok());
    }

    #[test]
    fn guests_of_no_pipeline_take_nothing_from_pipelines() {
        let places = Places::new();
        let loose: Vec<_> = (0..GUESTS_LOOSE).map(|_| places.place(None).unwrap()).collect();
        assert!(places.place(None).is_err());
        let share = places.share(stages(MOST)).unwrap();
        assert!(places.place(Some(&share)).is_ok());
        drop(loose);
        assert!(places.place(None).is_ok());
    }
}
