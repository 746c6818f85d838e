//! How many guests a pipeline has, and whether a process has room for them.

use crate::{
    error::{Error, Result},
    limits::{
        GUESTS_LOOSE, GUESTS_OF_AGGREGATE, GUESTS_OF_PIPELINE, GUESTS_OF_STAGE, GUESTS_OVER_CHANGELOG, GUESTS_SHARED,
    },
};

/// Guests of a pipeline, by what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestCounts {
    /// Steps whose rows a rule judges.
    pub stages: usize,
    /// Those of them that read a changelog.
    pub over_changelogs: usize,
    /// Aggregates that are guests.
    pub aggregates: usize,
    /// Steps that call a keyed function.
    pub keyed: usize,
}

impl GuestCounts {
    /// How many guests there are at once at most.
    pub fn places(self) -> usize {
        match self.stages + self.aggregates + self.keyed {
            0 => 0,
            _ => {
                let stages = self.stages * GUESTS_OF_STAGE + self.over_changelogs * GUESTS_OVER_CHANGELOG;
                GUESTS_OF_PIPELINE + stages + (self.aggregates + self.keyed) * GUESTS_OF_AGGREGATE
            }
        }
    }

    /// The guests that are no stages, in words.
    fn others(self) -> String {
        match self.keyed {
            0 => format!("{} aggregates that are guests", self.aggregates),
            keyed => format!(
                "{} aggregates and {keyed} keyed functions that are guests",
                self.aggregates
            ),
        }
    }

    /// That in words, for messages.
    pub fn described(self) -> String {
        let places = self.places();
        let Self {
            stages,
            over_changelogs,
            ..
        } = self;
        let others = self.others();
        let of_changelogs = match over_changelogs {
            0 => String::new(),
            stages => format!(" {GUESTS_OVER_CHANGELOG} more for each of the {stages} that read a changelog,"),
        };
        format!(
            "its {stages} stages and {others} need {places} places ({GUESTS_OF_STAGE} a stage, \
             since versions, candidates and their successors live beside it,{of_changelogs} {GUESTS_OF_AGGREGATE} an \
             aggregate or keyed function, and {GUESTS_OF_PIPELINE} to check what is deployed)"
        )
    }

    /// Whether a process has room for them at all, over a stream and in a replay. What passes here and finds no place waits for
    /// others.
    ///
    /// # Errors
    /// It has not.
    pub fn check(self, pipeline: &str) -> Result<()> {
        let refuse = |needs: String, has: usize| {
            Err(Error::definition(format!(
                "pipeline {pipeline}: {needs}; a process has {has}: make two pipelines of it"
            )))
        };
        // In a replay nothing is swapped.
        let at_once = self.stages + self.aggregates + self.keyed + GUESTS_OF_PIPELINE;
        match self.places() <= GUESTS_SHARED {
            false => refuse(self.described(), GUESTS_SHARED),
            true if at_once > GUESTS_LOOSE => {
                let guests = format!("its {} stages and {}", self.stages, self.others());
                refuse(format!("{guests} need {at_once} places in a replay"), GUESTS_LOOSE)
            }
            true => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = (GUESTS_SHARED - GUESTS_OF_PIPELINE) / GUESTS_OF_STAGE;

    fn stages(stages: usize) -> GuestCounts {
        GuestCounts {
            stages,
            ..GuestCounts::default()
        }
    }

    #[test]
    fn a_pipeline_that_never_fits_is_a_fault_of_its_file() {
        assert!(stages(MOST).check("p").is_ok());
        let error = stages(MOST + 1).check("p").unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::Definition);
        let aggregates = |aggregates| GuestCounts {
            aggregates,
            ..GuestCounts::default()
        };
        let most = GUESTS_LOOSE - GUESTS_OF_PIPELINE;
        assert!(aggregates(most).check("p").is_ok(), "that fits beside nothing else");
        let error = aggregates(most + 1).check("p").unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::Definition);
        let words = format!(
            "need {} places in a replay; a process has {GUESTS_LOOSE}",
            GUESTS_LOOSE + 1
        );
        assert!(error.to_string().contains(&words), "{error}");
        assert_eq!(GuestCounts::default().places(), 0, "one without guests needs no place");
        let judging = GuestCounts {
            over_changelogs: 3,
            ..stages(4)
        };
        let words = "need 44 places (6 a stage, since versions, candidates and their successors live beside it, 6 more for each of \
                     the 3 that read a changelog,";
        assert!(judging.described().contains(words), "{}", judging.described());
    }
}
