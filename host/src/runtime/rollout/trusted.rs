//! Whether a deployment may come into force, as far as its signature says: asked before anything of it is fetched.
//!
//! What a database knows to be in force is not asked again: it was let through when it came.

use super::Worker;
use crate::{
    error::{Error, Result},
    model::deployment::Deployment,
    say,
    trust::{Entry, instant},
};

impl Worker {
    /// Whether a deployment is signed as it has to be, and no older one that somebody put back.
    pub(super) fn check_trusted(&mut self, step: &str, deployment: &Deployment) -> Result<()> {
        self.check_signature(step, deployment)?;
        if deployment.signature.is_none() {
            return Ok(());
        }
        let came = (deployment.at_ms, deployment.version);
        let in_force = self.known.iter().filter(|known| known.step == step);
        let in_force = in_force.filter(|known| known.deployment.signature.is_some());
        let in_force = in_force
            .map(|known| (known.deployment.at_ms, known.deployment.version))
            .max();
        let heard = self.heard_signed.get(step).copied();
        let before = match (in_force, heard) {
            // The same may be heard twice before it is in force.
            (Some(before), _) if came.0 <= before.0 => Some((before, "was in force already")),
            (_, Some(before)) if came.0 < before.0 || came.0 == before.0 && came != before => {
                Some((before, "is on its way already"))
            }
            _ => None,
        };
        if let Some(((at_ms, version), what)) = before {
            return Err(Error::definition(format!(
                "it was signed at {}, and version {version}, which was signed at {}, {what}: what was signed earlier does not \
                 come again; deploy it anew, with `weir rollback` say",
                instant(came.0),
                instant(at_ms)
            )));
        }
        self.heard_signed.insert(step.to_owned(), came);
        Ok(())
    }

    /// One that was let through and is refused for another reason is on its way no more: what others signed does not have to be
    /// later.
    pub(super) fn forget_signed(&mut self, step: &str, deployment: &Deployment) {
        let came = (deployment.at_ms, deployment.version);
        if self.heard_signed.get(step) == Some(&came) {
            self.heard_signed.remove(step);
        }
    }

    /// Whether a deployment is signed as it has to be. It may have waited since it was let through.
    pub(super) fn check_signature(&self, step: &str, deployment: &Deployment) -> Result<()> {
        let entry = Entry::live(&self.base.name, step);
        self.base.trust.check(entry, deployment, now_ms())
    }

    /// The same for a candidate. It decides nothing, so an older one does no harm.
    pub(super) fn check_trusted_candidate(&self, step: &str, candidate: &Deployment) -> Result<()> {
        let entry = Entry::candidate(&self.base.name, step);
        self.base.trust.check(entry, candidate, now_ms())
    }

    /// Says whom the host trusts, and what is in force that would not be let in any more.
    pub(super) fn say_trust(&self) {
        let (trust, name) = (&self.base.trust, &self.running.name);
        if trust.is_open() {
            return;
        }
        match trust.require {
            true => say!(
                Info,
                "weir: pipeline {name} takes deployments that are signed by {trust}"
            ),
            false => say!(
                Info,
                "weir: pipeline {name} takes deployments that are not signed, or signed by {trust}"
            ),
        }
        for (step, of_step) in &self.versions {
            let Some(live) = of_step.live.as_ref().filter(|live| live.deployment.version > 0) else {
                continue;
            };
            let key = live
                .deployment
                .signature
                .as_ref()
                .map(|signature| signature.key.as_str());
            if let Err(reason) = trust.accepts(key) {
                say!(
                    Warning,
                    "weir: version {} of step {step} of pipeline {name} stays in force, since the database says so; but by now this \
                     host {reason}",
                    live.deployment.version
                );
            }
        }
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
