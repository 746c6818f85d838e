//! `setup`: a fresh machine becomes one that can build and test everything.

use crate::build::{self, Build};
use crate::error::{Error, Result};
use crate::guests::{self, Profile, Purpose};
use crate::nats_server::{self, NatsServer};
use crate::say::say;
use crate::wasm_target;

/// Finds or gets what the workspace needs, builds the guests that are for `purpose`, and builds what `host` says.
///
/// Run again, it looks again (a few short commands) and finds all of it in place: it relies on no note of an earlier
/// run about what is there, so nothing breaks when something was removed in between.
///
/// # Errors
/// Names everything that is missing, and not only the first. What was got before the failure stays.
pub(crate) fn run(purpose: Purpose, host: Option<Build>) -> Result<NatsServer> {
    let target = wasm_target::find_or_install().inspect(|target| say("wasm target", target));
    let server = nats_server::find_or_install().inspect(|server| say("nats-server", server));
    let (target, server) = match (target, server) {
        (Ok(target), Ok(server)) => (target, server),
        (Err(target), Err(server)) => return Err(Error::new(format!("{target}\nerror: {server}"))),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let (guests, modules) = guests::plan(&target, &Profile::default(), purpose)?.unzip();
    let builds: Vec<Build> = guests.into_iter().chain(host).collect();
    build::announce(&builds);
    for build in builds {
        build.run()?;
    }
    // Last: the tool that makes them is made of what the host is made of, and then it is built in a second.
    if let Some(modules) = modules {
        modules.make_components()?;
    }
    Ok(server)
}
