//! What takes over before the first event: what the pipeline file names by now, and what is deployed.

use super::{Prepared, former::does_not_follow};
use crate::{
    engine::Engine,
    error::{ErrorKind, Result},
    fail_point,
    nats::Wanted,
    plan::{Plan, StageVersion},
    trust::Role,
};
use std::sync::Arc;

impl Prepared {
    /// Lets what the pipeline file names by now for steps that read a changelog take over before the first event.
    ///
    /// # Errors
    /// When one of them does not fit, or a current row cannot be judged by it. The engine is as it was then.
    pub fn follow_file(&mut self, engine: &mut Engine, successors: Vec<(String, StageVersion)>) -> Result<()> {
        let worker = &mut self.worker;
        let pipeline = worker.running.name.clone();
        for (step, live) in successors {
            let refused = |why: &str| does_not_follow(&step, &pipeline, why);
            let (successor, plan) = worker
                .prepare_version(&step, live)
                .map_err(|cause| match cause.kind() {
                    ErrorKind::Definition => refused(&cause.to_string()).like(&cause),
                    _ => cause,
                })?;
            fail_point::pass("before-file-swap");
            if let Some(why) = engine.swap(successor)?.refused() {
                return Err(refused(why));
            }
            fail_point::pass("after-file-swap");
            worker.running = plan;
        }
        Ok(())
    }

    /// Lets what is deployed now take over before the first event, so that it decides from the same event on in every
    /// database that is filled from the stream. What does not fit, or does not come, is left to [`Prepared::start`]. Gives the
    /// plan that runs.
    ///
    /// # Errors
    /// As [`Engine::swap`].
    pub fn hear_out(&mut self, engine: &mut Engine) -> Result<Arc<Plan>> {
        let worker = &mut self.worker;
        let is_new = worker.known.is_empty();
        let steps: Vec<String> = worker.steps.iter().map(|status| status.step.clone()).collect();
        for step in steps {
            let Some(registry) = &worker.registry else {
                break;
            };
            match registry.deployment(&worker.running.name, &step) {
                Ok(deployment) => deployment
                    .into_iter()
                    .for_each(|deployment| worker.want(Wanted::Live(step.clone(), deployment))),
                // What is no deployment is told of by those who watch.
                Err(error) if error.kind() != ErrorKind::Environment => {}
                Err(error) => {
                    let begins_with = match is_new {
                        true => "what its file says",
                        false => "what its database knows",
                    };
                    tracing::warn!(
                        pipeline = worker.running.name,
                        "pipeline {} begins with {begins_with}, since it is not known what is deployed: {error}",
                        worker.running.name
                    );
                    break;
                }
            }
        }
        worker.begin_arriving();
        let mut waits = Vec::new();
        while let Some((step, deployment)) = worker.wanted.pop_first() {
            let before = worker.of_step(&step);
            match worker.prepare(&step, &deployment) {
                // The turn says that it is refused, if it is, and the worker hears of it.
                Ok((successor, plan)) => match engine.swap(successor)?.refused() {
                    Some(_) => drop(worker.versions.insert(step, before)),
                    None => worker.running = plan,
                },
                Err(error) if error.kind() == ErrorKind::Environment => {
                    waits.push((step, deployment, error));
                }
                Err(error) => worker.refuse(&step, deployment.version, &error),
            }
        }
        for (step, deployment, error) in waits {
            worker.wanted.insert(step.clone(), deployment);
            worker.wait_for(Role::Live, &step, &error);
        }
        worker.say_overridden();
        worker.say_trust();
        Ok(worker.running.clone())
    }
}
