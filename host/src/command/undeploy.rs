//! `weir undeploy`: the pipeline file has the word again.

use super::{
    connection::NatsArguments,
    deploy::{Saying, Target},
    load_plan,
    project::OnePipeline,
    stage_host,
};
use crate::{
    error::{Error, Result},
    model::deployment::Deployment,
    trust::Entry,
};
use std::process::ExitCode;

/// Gives the word back to the pipeline file: its module and its parameters decide again, also when it is changed later.
///
/// It is a version as any other, with a number of its own, and on trial: each host that runs the pipeline takes what its file
/// says from an event on, and the databases record it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: as of `weir deploy`\n\nExample:\n  weir undeploy guests/premium-drop/pipeline.toml premium-drop --note 'the file says so now'"
)]
pub(super) struct Undeploy {
    #[command(flatten)]
    pipeline: OnePipeline,
    /// The step.
    step: String,
    #[command(flatten)]
    saying: Saying,
    #[command(flatten)]
    nats: NatsArguments,
}

impl Undeploy {
    pub(super) fn run(self) -> Result<ExitCode> {
        let signing = self.saying.signing.read()?;
        let host = stage_host()?;
        let base = load_plan(&self.pipeline.file()?, &host, None)?;
        let of_file = base.stage(&self.step)?.deployment.clone();
        let target = Target::new(&host, base, self.step, &self.saying.registry, &self.nats)?.signing(signing);
        // What a stranger wrote is nothing to go on from, and is replaced all the same.
        let last = target.registry.deployment(&target.plan.name, &target.step);
        let is_of_stranger = |last: &Deployment| !target.vouched(Entry::live(&target.plan.name, &target.step), last);
        let is_of_stranger = last.is_ok_and(|last| last.as_ref().is_some_and(is_of_stranger));
        let deployed = target.deploy(&self.saying, |before| {
            if !is_of_stranger && before.is_none_or(|before| before.of_file) {
                return Err(Error::definition(format!(
                    "the pipeline file has the word for step \"{}\" of pipeline {} already: nothing is deployed in its place",
                    target.step, target.plan.name
                )));
            }
            let module = target.module_of(None)?;
            target.check(&module, of_file.parameters.clone(), before, self.saying.again)?;
            Ok(Deployment {
                of_file: true,
                parameters: of_file.parameters.clone(),
                ..Default::default()
            })
        })?;
        target.wait(&deployed, &self.saying)
    }
}
