//! `setup`: a fresh machine becomes one that can build and test everything.

use crate::error::{Error, Result};
use crate::guests::{self, Profile};
use crate::nats_server::{self, NatsServer};
use crate::say::say;
use crate::wasm_target;

/// Finds or gets what the workspace needs and builds the guests, saying a line about each.
///
/// Run again, it looks again (a few short commands) and finds all of it in place: it relies on no note of an earlier
/// run about what is there, so nothing breaks when something was removed in between.
///
/// # Errors
/// Names everything that is missing, and not only the first. What was got before the failure stays.
pub(crate) fn run() -> Result<NatsServer> {
    let target = wasm_target::find_or_install().inspect(|target| say("wasm target", target));
    let server = nats_server::find_or_install().inspect(|server| say("nats-server", server));
    match (target, server) {
        (Ok(target), Ok(server)) => {
            guests::build(&target, &Profile::default())?;
            Ok(server)
        }
        (Err(target), Err(server)) => Err(Error::new(format!("{target}\nerror: {server}"))),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}
