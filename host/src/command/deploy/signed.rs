//! Signatures of what is deployed, and whose deployments may be taken over.

use super::Target;
use crate::{
    command::signing::Signing,
    error::{Error, Result},
    limits::SIGNED_AHEAD_MAX,
    model::deployment::Deployment,
    runtime::status::HostStatus,
    say,
    text::printable,
    trust::{Entry, Policy},
};
use std::collections::BTreeMap;

impl Target<'_> {
    /// Signs what is about to be written, where this is to be signed.
    pub(in crate::command) fn signed(&self, entry: Entry<'_>, deployment: Deployment) -> Result<Deployment> {
        match &self.signing {
            None => Ok(deployment),
            Some(signing) => signing.sign(entry, deployment),
        }
    }

    /// Whether the pipeline file and the running hosts take what this command would write, as far as signatures go. It is better
    /// not written else: the last deployment is what a new database begins with.
    ///
    /// # Errors
    /// When one of them says that it would not.
    pub(in crate::command) fn check_signer(&self, hosts: &[HostStatus]) -> Result<()> {
        let key = self.signing.as_ref().map(Signing::public);
        let refused = |who: String, reason: String| {
            let way_out = match key {
                None => "sign it, with --sign-with FILE.nk",
                Some(_) => "sign it with another key",
            };
            Err(Error::definition(format!(
                "{who} {reason}: {way_out}; nothing was deployed"
            )))
        };
        if let Err(reason) = self.plan.trust.accepts(key) {
            let file = self.plan.file.path.display().to_string();
            return refused(format!("the pipeline file {}", printable(&file)), reason);
        }
        for host in hosts {
            if let Some(Err(reason)) = host.trust.as_ref().map(|trust| trust.accepts(key)) {
                return refused(
                    printable(&format!("the host {}, {},", host.process, host.database)),
                    reason,
                );
            }
        }
        Ok(())
    }

    /// Whether a deployment was signed by somebody whom the signer may take things over from: themselves, or one whom the
    /// pipeline file trusts. Who does not sign takes whatever is there.
    pub(in crate::command) fn vouched(&self, entry: Entry<'_>, deployment: &Deployment) -> bool {
        let Some(signing) = &self.signing else { return true };
        let mut keys = self.plan.trust.keys.clone().unwrap_or_default();
        keys.push(self.plan.trust.signer(signing.public()));
        let known = Policy {
            keys: Some(keys),
            require: true,
        };
        // Whether it came too late is no matter: it is what it was.
        let signed_ms = deployment.at_ms;
        let before_end = |end: i64| signed_ms.min(end.saturating_sub(1));
        let expires_ms = deployment.signature.as_ref().and_then(|signature| signature.expires_ms);
        known
            .check(entry, deployment, expires_ms.map_or(signed_ms, before_end))
            .is_ok()
    }

    /// The deployment that the next one goes on from: `before`, or where that is not signed by anybody whom the signer may trust, the
    /// last one that is. What a stranger wrote is not to come back with our signature.
    pub(in crate::command) fn basis(&self, before: Option<&Deployment>) -> Result<Option<Deployment>> {
        let entry = Entry::live(&self.plan.name, &self.step);
        let Some(before) = before.filter(|before| !self.vouched(entry, before)) else {
            return Ok(before.cloned());
        };
        let history = self.vouched_history()?;
        let basis = history.into_iter().next_back();
        say!(
            Warning,
            "weir: version {} of step {} of pipeline {} is not signed by anybody whom the pipeline file trusts: nothing of it is \
             taken over, and {} is what this goes on from",
            before.version,
            self.step,
            self.plan.name,
            match &basis {
                Some(basis) => format!("version {}", basis.version),
                None => "the pipeline file".to_owned(),
            }
        );
        Ok(basis)
    }

    /// The deployments of the step, oldest first, without those of strangers where this is to be signed.
    pub(in crate::command) fn vouched_history(&self) -> Result<Vec<Deployment>> {
        let mut history = self.registry.history(&self.plan.name, &self.step)?;
        let entry = Entry::live(&self.plan.name, &self.step);
        history.retain(|deployment| self.vouched(entry, deployment));
        Ok(history)
    }

    /// The parameters that are in force at a host, as it says; nothing where they are not to be trusted.
    pub(in crate::command) fn parameters_told(&self, told: &Deployment) -> Option<BTreeMap<String, toml::Value>> {
        let entry = Entry::live(&self.plan.name, &self.step);
        let of_file = told.version == 0 || told.of_file;
        match self.signing.is_some() && (of_file || !self.vouched(entry, told)) {
            true => None,
            false => Some(told.parameters.clone()),
        }
    }

    /// When this is signed: now, or right after the last that was signed by somebody whom the signer knows, where that clock is a
    /// little ahead of ours.
    pub(in crate::command) fn time_of_signing(&self, hosts: &[HostStatus], before: Option<&Deployment>) -> i64 {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        if self.signing.is_none() {
            return now_ms;
        }
        let steps = hosts.iter().flat_map(|host| &host.steps);
        let told = steps
            .filter(|step| step.step == self.step)
            .map(|step| &step.deployment)
            .chain(before);
        // What a host says was signed need not be: that would put the wrong time on what we sign.
        let entry = Entry::live(&self.plan.name, &self.step);
        let signed = told.filter(|deployment| deployment.signature.is_some() && self.vouched(entry, deployment));
        let latest_ms = signed.map(|deployment| deployment.at_ms).max().unwrap_or(0);
        let ahead_max_ms = SIGNED_AHEAD_MAX.as_millis() as i64;
        match latest_ms >= now_ms && latest_ms < now_ms.saturating_add(ahead_max_ms) {
            true => latest_ms + 1,
            false => now_ms,
        }
    }
}
