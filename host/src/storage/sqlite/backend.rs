//! A database file that this process holds, as the rest of Weir knows it.

use super::{Database, DatabaseFile, Outbox, dead_letters, harm, outbox};
use crate::{
    error::Result,
    limits::PAGE_BYTES_SMALL,
    model::harm::{Harm, Note},
    plan::Plan,
    storage::{self, Backend, HostFile, LetterFilter, Location, MessageFilter, Messages, Recovered, Storage},
};
use std::sync::Arc;

impl Backend for DatabaseFile {
    fn location(&self) -> Location {
        self.path().into()
    }

    fn is_empty(&self) -> Result<bool> {
        self.has_no_bytes()
    }

    fn make_small(&self) -> Result<()> {
        self.make(PAGE_BYTES_SMALL)
    }

    fn recover(&self) -> Result<Recovered> {
        self.take_in_log().map(Recovered::while_kept)
    }

    fn open(&self, plan: Arc<Plan>, messages: Messages) -> Result<Box<dyn Storage>> {
        Ok(Box::new(Database::open(self, plan, messages)?))
    }

    fn outbox(&self, pipeline: &str) -> Result<Box<dyn storage::Outbox>> {
        Ok(Box::new(Outbox::open(self, pipeline)?))
    }

    fn drop_dead_letters(&self, filter: &LetterFilter) -> Result<u64> {
        dead_letters::drop_dead_letters(self, filter)
    }

    fn drop_messages(&self, filter: &MessageFilter) -> Result<u64> {
        outbox::drop_messages(self, filter)
    }

    fn notes(&self) -> HostFile {
        HostFile {
            path: self.beside("-guest"),
            like: self.path().to_owned(),
        }
    }

    fn enter_harms(&self, left: Vec<Note>) -> Result<Vec<Harm>> {
        harm::enter_harms(self, left)
    }

    fn forget_harms(&self, pipeline: &str, guest: Option<&Harm>) -> Result<()> {
        harm::forget_harms(self, pipeline, guest)
    }
}
