//! `weir deploy`, `weir params set`, `weir rollback`: what a step runs is changed in the registry, and the running hosts
//! are waited for.

mod parameters;
mod signed;
mod trial;

use super::{
    connection::{NatsArguments, RegistryArguments},
    load_plan,
    project::OnePipeline,
    show,
    signing::{Signing, SigningArguments, signed_by},
    stage_host,
};
use crate::{
    command::terminal::{self, answer, say},
    engine::Successor,
    error::{Error, ErrorKind, Result},
    model::{deployment::Deployment, guest::Module},
    nats::{Nats, Registry},
    plan::{Plan, StageVersion, StepVersions, Versions},
    runtime::status::{HostStatus, StepStatus},
    text::printable,
    trust::Entry,
    wasm::{Binary, StageHost},
};
pub(super) use parameters::merge;
use serde_json::{Value as Json, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

/// How soon the hosts are looked at again while they are waited for, at first and later on.
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// When to look at hosts again that were waited for since `begun`: what takes long is looked at less often.
pub(super) fn until_next_look(begun: Instant) -> Duration {
    (begun.elapsed() / 10).clamp(LOOK.0, LOOK.1)
}

/// What people say of a deployment, and how long they wait for it.
#[derive(Debug, clap::Args)]
pub(super) struct Saying {
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    pub(super) note: Option<String>,
    /// How long to wait until the running hosts say that it is in force.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(super) wait: u64,
    /// Wait until its trial is over as well, at every host that runs the pipeline; for so many seconds at most, where that is
    /// said.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "never")]
    pub(super) wait_trial: Option<Patience>,
    /// Try a module with parameters that a host took back once more.
    #[arg(long)]
    pub(super) again: bool,
    #[command(flatten)]
    pub(super) signing: SigningArguments,
    #[command(flatten)]
    pub(super) registry: RegistryArguments,
}

/// How long something is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience(Option<Duration>);

impl std::str::FromStr for Patience {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "never" => Ok(Self(None)),
            _ => text
                .parse()
                .map(|seconds| Self(Some(Duration::from_secs(seconds))))
                .map_err(|_| "accepted is a number of seconds, or nothing to wait for as long as it takes".to_owned()),
        }
    }
}

/// Puts a module in the place of a step's rule, while the pipeline runs.
///
/// The module is checked against the pipeline file first: that it speaks this host's contract, reads columns that there
/// are, and gives what the next steps and tables take. Then it goes into the registry, and every host that runs the
/// pipeline swaps it in between two events; state stays. Parameters that are not given keep the values that are in force.
/// Over its first rows the new version is on trial: where it fails and the one before does not, that one decides, and a
/// version that fails too often is taken back.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes:\n  0  in force at every running host, or no host runs the pipeline\n  \
                  1  a host refused it, took it back, or did not answer in time\n  2  it does not fit, and was not deployed\n  \
                  3  with --wait-trial: a host took it back\n\n\
                  Example:\n  weir deploy guests/premium-drop/pipeline.toml premium-drop target/guests/premium-drop.wasm \\\n      \
                  --param ratio=0.9 --note 'alarm from 10 %'\n  \
                  weir deploy pipeline.toml large --note 'from 750 on'   # as the file says by now\n  \
                  weir deploy large-orders/pipeline.toml large-orders target/large-orders.wasm --wait-trial=600\n  \
                  weir deploy large-orders/pipeline.toml large-orders target/large-orders.wasm \\\n      \
                  --sign-with ann.nk --valid-for 30d"
)]
pub(super) struct Deploy {
    #[command(flatten)]
    pipeline: OnePipeline,
    /// The step whose rule it becomes.
    step: String,
    /// The component; without one, what the pipeline file says of the step: after a change of an expression, say.
    module: Option<PathBuf>,
    /// A parameter, typed as the rule says.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    #[command(flatten)]
    saying: Saying,
    #[command(flatten)]
    nats: NatsArguments,
}

/// Changes the parameters of rules while their pipeline runs.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Params {
    Set(ParamsSet),
}

/// Sets parameters of a step's rule; the module stays.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir params set guests/premium-drop/pipeline.toml premium-drop ratio=0.9 --note 'alarm from 10 %'"
)]
pub(super) struct ParamsSet {
    #[command(flatten)]
    pipeline: OnePipeline,
    /// The step.
    step: String,
    /// Parameters, typed as the rule says.
    #[arg(required = true, value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    #[command(flatten)]
    saying: Saying,
    #[command(flatten)]
    nats: NatsArguments,
}

/// Puts an earlier version of a step back in force, under a new number.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir rollback guests/premium-drop/pipeline.toml premium-drop\n  \
                  weir rollback guests/premium-drop/pipeline.toml premium-drop --to 0   # what the pipeline file says"
)]
pub(super) struct Rollback {
    #[command(flatten)]
    pipeline: OnePipeline,
    /// The step.
    step: String,
    /// Which version, as `weir history` lists them; 0 is what the pipeline file says, and the one before the last is
    /// meant when nothing is said.
    #[arg(long, value_name = "VERSION")]
    to: Option<u64>,
    #[command(flatten)]
    saying: Saying,
    #[command(flatten)]
    nats: NatsArguments,
}

impl Deploy {
    pub(super) fn run(self) -> Result<ExitCode> {
        let signing = self.saying.signing.read()?;
        let host = stage_host()?;
        let base = load_plan(&self.pipeline.file()?, &host, None)?;
        base.stage(&self.step)?;
        let module = match &self.module {
            Some(path) => host.load(path)?,
            None => base.stage(&self.step)?.module.clone(),
        };
        let target = Target::new(&host, base, self.step, &self.saying.registry, &self.nats)?.signing(signing);
        let deployed = target.deploy_module(&self.saying, &module, |before| {
            merge(&target, &module, before, &self.parameters)
        })?;
        target.wait(&deployed, &self.saying)
    }
}

impl Params {
    pub(super) fn run(self) -> Result<ExitCode> {
        let Self::Set(set) = self;
        let signing = set.saying.signing.read()?;
        let host = stage_host()?;
        let base = load_plan(&set.pipeline.file()?, &host, None)?;
        base.stage(&set.step)?;
        let target = Target::new(&host, base, set.step, &set.saying.registry, &set.nats)?.signing(signing);
        let deployed = target.deploy(&set.saying, |before| {
            let module = target.module_of(before)?;
            let parameters = merge(&target, &module, before, &set.parameters)?;
            target.check(&module, parameters.clone(), before, set.saying.again)?;
            // From here on the module is this one, whatever becomes of the pipeline file's.
            target.check_running(&module)?;
            target.registry.put_module(&module.digest, &module.bytes)?;
            Ok(Deployment {
                digest: Some(module.digest.clone()),
                parameters,
                ..Default::default()
            })
        })?;
        target.wait(&deployed, &set.saying)
    }
}

impl Rollback {
    pub(super) fn run(self) -> Result<ExitCode> {
        let signing = self.saying.signing.read()?;
        let host = stage_host()?;
        let base = load_plan(&self.pipeline.file()?, &host, None)?;
        let of_file = base.stage(&self.step)?.deployment.clone();
        let target = Target::new(&host, base, self.step, &self.saying.registry, &self.nats)?.signing(signing);
        let history = target.vouched_history()?;
        let deployed = target.deploy(&self.saying, |before| {
            let Some(before) = before else {
                let (what, way_out) = match target.signing {
                    None => ("nothing was", "it runs what the pipeline file says"),
                    Some(_) => (
                        "nothing that is signed by one whom the pipeline file trusts was",
                        "there is nothing to go back to; `weir deploy` and `weir undeploy` replace what is",
                    ),
                };
                return Err(Error::definition(format!(
                    "{what} deployed for step \"{}\" of pipeline {} yet: {way_out}",
                    target.step, target.plan.name
                )));
            };
            let wanted = match self.to {
                Some(version) => version,
                None => one_before(&history, before),
            };
            let earlier = match wanted {
                0 => Some(&of_file),
                _ => history.iter().find(|deployment| deployment.version == wanted),
            };
            let earlier = earlier.ok_or_else(|| {
                let known: Vec<String> = history.iter().map(|known| known.version.to_string()).collect();
                Error::definition(format!(
                    "the registry does not know version {wanted} of step \"{}\"; it knows 0 (what the pipeline file says), {}",
                    target.step,
                    known.join(", ")
                ))
            })?;
            let module = target.module_of(Some(earlier))?;
            target.check(&module, earlier.parameters.clone(), Some(before), self.saying.again)?;
            Ok(Deployment {
                digest: earlier.digest.clone(),
                parameters: earlier.parameters.clone(),
                of_file: earlier.of_file || wanted == 0,
                ..Default::default()
            })
        })?;
        target.wait(&deployed, &self.saying)
    }
}

/// The version in front of `last` that is not the same as it.
fn one_before(history: &[Deployment], last: &Deployment) -> u64 {
    let same = |other: &Deployment| other.digest == last.digest && other.parameters == last.parameters;
    history
        .iter()
        .rev()
        .skip_while(|deployment| deployment.version >= last.version)
        .find(|deployment| !same(deployment))
        .map_or(0, |deployment| deployment.version)
}

/// A step that something is deployed for.
pub(super) struct Target<'h> {
    host: &'h StageHost,
    pub(super) plan: Arc<Plan>,
    pub(super) step: String,
    pub(super) registry: Registry,
    /// What it is signed with, where it is.
    pub(super) signing: Option<Signing>,
}

impl<'h> Target<'h> {
    pub(super) fn new(
        host: &'h StageHost,
        plan: Plan,
        step: String,
        registry: &RegistryArguments,
        nats: &NatsArguments,
    ) -> Result<Self> {
        let nats = Nats::connect(&nats.options()?)?;
        let replicas = registry.replicas(&nats, std::iter::once(plan.stream.as_str()));
        let registry = Registry::open(&nats, replicas)?;
        registry.say_fewer();
        Ok(Self::of(host, Arc::new(plan), step, registry))
    }

    pub(super) fn of(host: &'h StageHost, plan: Arc<Plan>, step: String, registry: Registry) -> Self {
        Self {
            host,
            plan,
            step,
            registry,
            signing: None,
        }
    }

    /// What is deployed is signed, where there is something to sign with.
    pub(super) fn signing(self, signing: Option<Signing>) -> Self {
        Self { signing, ..self }
    }

    /// The module that a deployment names.
    pub(super) fn module_of(&self, deployment: Option<&Deployment>) -> Result<Arc<Module>> {
        match deployment.and_then(|deployment| deployment.digest.as_ref()) {
            Some(digest) => {
                let binary = Binary::stored(digest, self.registry.module(digest)?)?;
                self.host.load_deployed(&binary)
            }
            None => Ok(self.plan.stage(&self.step)?.module.clone()),
        }
    }

    /// Whether a module fits, also in the place of what the step runs now, and was not taken back by a host, unless it may be
    /// tried `again`.
    pub(super) fn check(
        &self,
        module: &Arc<Module>,
        parameters: BTreeMap<String, toml::Value>,
        before: Option<&Deployment>,
        again: bool,
    ) -> Result<()> {
        let plan_of = |module: Arc<Module>, deployment: Deployment| {
            let live = StepVersions {
                live: Some(StageVersion { module, deployment }),
                ..Default::default()
            };
            let versions: Versions = [(self.step.clone(), live)].into_iter().collect();
            self.plan.again(self.host, &versions)
        };
        let wanted = Deployment {
            version: u64::MAX,
            parameters,
            ..Default::default()
        };
        let plan = plan_of(module.clone(), wanted)?;
        if !again {
            self.check_taken_back(&plan)?;
        }
        // What cannot be had or does not fit was refused by the hosts as well, and is nothing to be compared with.
        let before = before.map(|before| plan_of(self.module_of(Some(before))?, before.clone()));
        match before {
            Some(Ok(running)) => Successor::check(&running, &plan),
            Some(Err(error)) => {
                if error.kind() == ErrorKind::Environment {
                    // It must not keep anybody from putting another in its place; the hosts compare for themselves.
                    say!(
                        Warning,
                        "weir: the last deployment of step {} cannot be had, and nothing is compared with it: {error}",
                        self.step
                    );
                }
                Successor::check(&self.plan, &plan)
            }
            None => Successor::check(&self.plan, &plan),
        }
    }

    /// Whether a running host took back what the step would run.
    fn check_taken_back(&self, plan: &Plan) -> Result<()> {
        let wanted = plan.stage(&self.step)?;
        let hosts: Vec<HostStatus> = self.registry.hosts(Some(&self.plan.name))?;
        for host in &hosts {
            let step = host.steps.iter().find(|step| step.step == self.step);
            let failed = step
                .and_then(|step| step.failed.as_ref())
                .filter(|failed| failed.taken_back);
            if let Some(failed) = failed.filter(|failed| wanted.is(&failed.digest, &failed.parameters)) {
                return Err(Error::definition(format!(
                    "module {}{} was taken back by {}, {}, from sequence {} on: {}; deploy another, or the same with --again",
                    wanted.module.short_digest(),
                    show::parameters(&failed.parameters),
                    host.process,
                    printable(&host.database),
                    failed.sequence,
                    show::told(&failed.reason)
                )));
            }
        }
        Ok(())
    }

    /// Puts a module in the place of what the step runs, with the parameters that `make` gives.
    pub(super) fn deploy_module(
        &self,
        saying: &Saying,
        module: &Arc<Module>,
        make: impl Fn(Option<&Deployment>) -> Result<BTreeMap<String, toml::Value>>,
    ) -> Result<Deployment> {
        self.deploy(saying, |before| {
            let parameters = make(before)?;
            self.check(module, parameters.clone(), before, saying.again)?;
            self.registry.put_module(&module.digest, &module.bytes)?;
            Ok(Deployment {
                digest: Some(module.digest.clone()),
                parameters,
                ..Default::default()
            })
        })
    }

    /// Writes the deployment that `make` gives: module and parameters.
    pub(super) fn deploy(
        &self,
        saying: &Saying,
        mut make: impl FnMut(Option<&Deployment>) -> Result<Deployment>,
    ) -> Result<Deployment> {
        // A registry that was lost forgets numbers; those that hosts know are not given again.
        let hosts: Vec<HostStatus> = self.registry.hosts(Some(&self.plan.name))?;
        self.check_signer(&hosts)?;
        let steps = hosts
            .iter()
            .flat_map(|host| &host.steps)
            .filter(|step| step.step == self.step);
        let failed = |step: &StepStatus| step.failed.as_ref().map_or(0, |failed| failed.version);
        let known = steps
            .map(|step| step.deployment.version.max(failed(step)))
            .max()
            .unwrap_or(0);
        let number = |before: Option<&Deployment>| {
            let basis = self.basis(before)?;
            let made = make(basis.as_ref())?;
            Ok(Deployment {
                version: known.saturating_add(1),
                by: whoami(),
                at_ms: self.time_of_signing(&hosts, basis.as_ref()),
                note: saying.note.clone(),
                again: saying.again,
                ..made
            })
        };
        let entry = Entry::live(&self.plan.name, &self.step);
        let deployed = self
            .registry
            .deploy_signed(&self.plan.name, &self.step, number, |made| self.signed(entry, made))?;
        if !terminal::is_json() {
            answer!(
                "deployed version {} of step {} of pipeline {}: {}{}{}",
                deployed.version,
                self.step,
                self.plan.name,
                show::module(deployed.digest.as_deref()),
                show::parameters(&deployed.parameters),
                signed_by(&self.plan, &deployed)
            )?;
        }
        Ok(deployed)
    }

    /// Waits until every host that runs the pipeline says what became of a deployment, and prints it.
    pub(super) fn wait(&self, deployed: &Deployment, saying: &Saying) -> Result<ExitCode> {
        let begun = Instant::now();
        let mut said: Vec<String> = Vec::new();
        let mut outcomes: Vec<Json> = Vec::new();
        let mut well = true;
        let mut expected: Option<Vec<String>> = None;
        let mut waits: BTreeSet<(String, String)> = BTreeSet::new();
        loop {
            let hosts: Vec<HostStatus> = self.registry.hosts(Some(&self.plan.name))?;
            let expected = expected.get_or_insert_with(|| hosts.iter().map(|host| host.host.clone()).collect());
            for host in &hosts {
                let Some(step) = host.steps.iter().find(|step| step.step == self.step) else {
                    continue;
                };
                if said.contains(&host.host) {
                    continue;
                }
                if let Some((good, outcome)) = outcome(step, deployed) {
                    match terminal::is_json() {
                        true => outcomes.push(outcome_as_json(host, step, deployed)),
                        false => answer!(
                            "  {}, {}: {outcome}",
                            printable(&host.process),
                            printable(&host.database)
                        )?,
                    }
                    said.push(host.host.clone());
                    well &= good;
                } else if let Some(waiting) = step.waits.as_ref().filter(|of| of.version == deployed.version)
                    && waits.insert((host.host.clone(), waiting.reason.clone()))
                {
                    say!(
                        Info,
                        "weir: {}, {}: waits: {}",
                        printable(&host.process),
                        printable(&host.database),
                        show::told(&waiting.reason)
                    );
                }
            }
            // One that went away meanwhile takes it when it comes back.
            let gone = |name: &String| !hosts.iter().any(|host| host.host == *name);
            if expected.iter().all(|name| said.contains(name) || gone(name)) {
                break;
            }
            if begun.elapsed() > Duration::from_secs(saying.wait) {
                return Err(Error::environment(format!(
                    "{} of {} hosts did not say within {} s that version {} is in force; `weir status` shows what they do",
                    expected.iter().filter(|name| !said.contains(name)).count(),
                    expected.len(),
                    saying.wait,
                    deployed.version
                )));
            }
            std::thread::sleep(until_next_look(begun));
        }
        if terminal::is_json() {
            let object = json!({
                "pipeline": self.plan.name,
                "step": self.step,
                "version": deployed.version,
                "digest": deployed.digest,
                "parameters": deployed.parameters,
                "hosts": outcomes,
                "seconds": begun.elapsed().as_secs_f64(),
            });
            let signature = deployed.signature.as_ref();
            let signer = signature.map(|signature| self.plan.trust.signer(&signature.key));
            terminal::stdout().json(&show::with_signer(object, signer.as_ref()))?;
            return Ok(ExitCode::from(u8::from(!well)));
        }
        match (said.is_empty(), well) {
            (true, _) => answer!("  no host runs the pipeline now; the next that starts takes it")?,
            (false, true) => answer!("  in force after {}", show::seconds(begun.elapsed()))?,
            (false, false) if saying.wait_trial.is_none() => return Ok(ExitCode::FAILURE),
            (false, false) => {}
        }
        match saying.wait_trial {
            None => Ok(ExitCode::SUCCESS),
            Some(patience) => trial::wait(self, deployed, &said, patience),
        }
    }
}

/// What became of a deployment at a host, once it is known.
fn outcome(step: &StepStatus, deployed: &Deployment) -> Option<(bool, String)> {
    if let Some(failed) = &step.failed
        && failed.version == deployed.version
    {
        let reason = &failed.reason;
        return Some(match failed.taken_back {
            true => (
                false,
                format!(
                    "taken back from sequence {} on: {}",
                    failed.sequence,
                    show::told(reason)
                ),
            ),
            false => (false, format!("refused: {}", show::told(reason))),
        });
    }
    if step.deployment.version == deployed.version {
        let pause = step.pause_us.map(|us| format!(", the events waited {us} µs for it"));
        let trial = match step.trial_left {
            0 => String::new(),
            left => format!(", on trial for {} rows", show::thousands(left)),
        };
        let sequence = show::thousands(step.first_sequence);
        return Some((
            true,
            format!("in force from sequence {sequence}{}{trial}", pause.unwrap_or_default()),
        ));
    }
    (step.deployment.version > deployed.version)
        .then(|| (true, format!("overtaken by version {}", step.deployment.version)))
}

/// The same for scripts.
fn outcome_as_json(host: &HostStatus, step: &StepStatus, deployed: &Deployment) -> Json {
    let failed = step.failed.as_ref().filter(|failed| failed.version == deployed.version);
    let (outcome, sequence) = match failed {
        Some(failed) if failed.taken_back => ("taken-back", failed.sequence),
        Some(failed) => ("refused", failed.sequence),
        None if step.deployment.version > deployed.version => ("overtaken", step.first_sequence),
        None => ("in-force", step.first_sequence),
    };
    json!({
        "process": host.process,
        "database": host.database,
        "outcome": outcome,
        "sequence": sequence,
        "trial_left": step.trial_left,
        "reason": failed.map(|failed| &failed.reason),
    })
}

/// Who deploys: the user of this process, at this machine.
pub(super) fn whoami() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    format!(
        "{}@{}",
        user.as_deref().unwrap_or("?"),
        crate::runtime::rollout::machine()
    )
}
