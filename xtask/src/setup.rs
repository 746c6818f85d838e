//! `setup`: a fresh machine becomes one that can build and test everything.

use crate::build::{self, Build};
use crate::error::{Error, Result};
use crate::guests::{self, Profile, Purpose};
use crate::nats_server::{self, NatsServer};
use crate::python::{self, Python};
use crate::say::say;
use crate::wasm_target;

/// What programs that are run need to know of.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) server: NatsServer,
    /// Where it is needed.
    pub(crate) python: Option<Python>,
}

/// Finds or gets what the workspace needs, builds the guests that are for `purpose`, and builds what `host` says.
///
/// Run again, it looks again (a few short commands) and finds all of it in place: it relies on no note of an earlier
/// run about what is there, so nothing breaks when something was removed in between.
///
/// # Errors
/// Names everything that is missing, and not only the first. What was got before the failure stays.
pub(crate) fn run(purpose: Purpose, host: Option<Build>) -> Result<Found> {
    let target = wasm_target::find_or_install().inspect(|target| say("wasm target", target));
    let server = nats_server::find_or_install().inspect(|server| say("nats-server", server));
    let python = purpose.needs_python().then(python::find_or_install).transpose();
    let python = python.inspect(|python| python.iter().for_each(|python| say("python", python)));
    let (target, server, python) = match (target, server, python) {
        (Ok(target), Ok(server), Ok(python)) => (target, server, python),
        (target, server, python) => {
            let errors = [target.err(), server.err(), python.err()];
            let errors: Vec<String> = errors.iter().flatten().map(ToString::to_string).collect();
            return Err(Error::new(errors.join("\nerror: ")));
        }
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
    Ok(Found { server, python })
}
