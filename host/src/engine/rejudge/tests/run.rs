//! The engine with its storage, as a pipeline runs it.

use super::*;

/// The engine with its storage, as a pipeline runs it.
pub(super) struct Run {
    pub(super) host: Closures,
    pub(super) base: Plan,
    pub(super) running: Arc<Plan>,
    pub(super) versions: Versions,
    pub(super) known: Vec<StoredVersion>,
    pub(super) engine: Engine,
    pub(super) storage: MemoryStorage,
    pub(super) decoder: Decoder,
    pub(super) sequence: u64,
}

pub(super) const STEPS: [&str; 2] = ["first", "second"];

impl Run {
    pub(super) fn new(text: &str) -> Self {
        let host = host();
        let base = || Plan::build(&File::from_text("rules.toml", text), &host).unwrap();
        let running = Arc::new(base());
        let mut storage = MemoryStorage::new(running.clone());
        storage.claim("events").unwrap();
        let mut engine = Engine::new(running.clone(), &host, storage.stored().seed).unwrap();
        storage.load(&mut engine).unwrap();
        engine.begin(0, &[]).unwrap();
        let decoder = Decoder::of(&running, 64).unwrap();
        Self {
            base: base(),
            host,
            running,
            versions: Versions::new(),
            known: Vec::new(),
            engine,
            storage,
            decoder,
            sequence: 0,
        }
    }

    /// One row on each side of the threshold of both rules.
    pub(super) fn of_two_rows() -> Self {
        let begin = Rule {
            threshold: 8,
            fails_at: None,
            keyed: true,
        };
        let mut run = Self::new(&text(Changelog::LastValue, begin, begin));
        run.events(&[("a".to_owned(), 3, false), ("b".to_owned(), 12, false)]);
        run
    }

    pub(super) fn version(&self, rule: Rule, version: u64) -> StageVersion {
        let module = self.host.load_stage(rule.name().as_ref(), Default::default()).unwrap();
        let digest = Some(module.digest.clone());
        StageVersion {
            module,
            deployment: Deployment {
                version,
                digest,
                ..Default::default()
            },
        }
    }

    /// Gets a version ready, as the rollout does it.
    pub(super) fn prepare(&mut self, at: usize, rule: Rule, number: u64) -> (Box<Successor>, Arc<Plan>, StepVersions) {
        let before = self.versions.get(STEPS[at]).cloned().unwrap_or_default();
        let of_file = || {
            let stage = self.running.stage(STEPS[at]).unwrap();
            StageVersion {
                module: stage.module.clone(),
                deployment: stage.deployment.clone(),
            }
        };
        let last = self.known.iter().rfind(|known| known.step == STEPS[at]);
        let on_trial = last.is_some_and(|last| last.trial.left > 0);
        let live = before.live.clone().unwrap_or_else(of_file);
        let good = before.fallback.clone().filter(|_| on_trial).unwrap_or(live);
        let of_step = StepVersions {
            live: Some(self.version(rule, number)),
            fallback: Some(good),
            shadow: None,
        };
        let mut versions = self.versions.clone();
        versions.insert(STEPS[at].to_owned(), of_step.clone());
        let plan = Arc::new(self.base.again(&self.host, &versions).unwrap());
        let successor = Successor::prepare(&self.running, plan.clone(), &self.host, 64).unwrap();
        (Box::new(successor), plan, of_step)
    }

    /// Compares a candidate over current rows. Gives where it is told what was found.
    pub(super) fn compare(&mut self, at: usize, rule: Rule) -> Shared {
        let mut would = self.versions.clone();
        let of_step = would.entry(STEPS[at].to_owned()).or_default();
        *of_step = StepVersions {
            live: Some(self.version(rule, 1_000)),
            fallback: of_step.live.take(),
            shadow: of_step.fallback.take(),
        };
        let would = Arc::new(self.base.again(&self.host, &would).unwrap());
        let found = Shared::default();
        let ready = prepare(STEPS[at], &self.running, Ok(would), &self.host, &found).unwrap();
        self.engine.begin_comparisons(ready.into_iter().collect()).unwrap();
        found
    }

    /// Lets it take over; whether it did.
    pub(super) fn swap(
        &mut self,
        at: usize,
        (mut successor, plan, of_step): (Box<Successor>, Arc<Plan>, StepVersions),
    ) -> bool {
        let decoder = successor.decoder.take().unwrap();
        let retired = self.engine.swap(*successor).unwrap();
        if retired.refused().is_some() {
            return false;
        }
        self.versions.insert(STEPS[at].to_owned(), of_step);
        (self.running, self.decoder) = (plan, decoder);
        true
    }

    pub(super) fn events(&mut self, events: &[(String, i64, bool)]) {
        for (k, n, gone) in events {
            self.sequence += 1;
            let event = json!({ "k": k, "n": n, "gone": gone });
            self.decoder
                .push(self.sequence, Some(1_773_547_200_000), event.to_string().as_bytes());
        }
        self.engine.process(self.decoder.take()).unwrap();
    }

    pub(super) fn commit(&mut self) {
        let number = self.storage.stored().turn + 1;
        let turn = self.engine.take_turn(number).unwrap();
        for (number, change) in turn.changes.iter().enumerate() {
            let is_overtaken = |step: &str| {
                let mut later = turn.changes.iter().skip(number + 1);
                later.any(|later| matches!(later, VersionChange::InForce(later) if later.step == step))
            };
            match change {
                VersionChange::InForce(in_force) => {
                    self.known
                        .retain(|known| known.step != in_force.step || known.first_sequence != in_force.first_sequence);
                    self.known.push(StoredVersion::of(in_force));
                    let of_step = self.versions.entry(in_force.step.clone()).or_default();
                    if !is_overtaken(&in_force.step)
                        && of_step
                            .live
                            .as_ref()
                            .is_some_and(|live| live.deployment != in_force.deployment)
                        && let Some(good) = of_step.fallback.take_if(|good| good.deployment == in_force.deployment)
                    {
                        of_step.live = Some(good);
                    }
                }
                VersionChange::Trial(trial) => {
                    let last = self.known.iter_mut().rfind(|known| known.step == trial.step).unwrap();
                    last.trial = trial.clone();
                }
                VersionChange::Refused(_) => {}
            }
        }
        self.storage.commit(turn).unwrap();
    }

    /// As another process would go on.
    pub(super) fn restart(&mut self) {
        for (step, of_step) in &mut self.versions {
            let last = self.known.iter().rfind(|known| known.step == *step);
            if last.is_none_or(|last| last.trial.left == 0) {
                of_step.fallback = None;
            }
        }
        self.running = Arc::new(self.base.again(&self.host, &self.versions).unwrap());
        let stored = self.storage.stored().clone();
        self.engine = Engine::new(self.running.clone(), &self.host, stored.seed).unwrap();
        self.storage.load(&mut self.engine).unwrap();
        self.engine.begin(stored.position, &self.known).unwrap();
        self.decoder = Decoder::of(&self.running, 64).unwrap();
    }

    pub(super) fn deciding(&self, at: usize) -> String {
        let at = self.running.nodes.position(|node| node.name == STEPS[at]).unwrap();
        let (Some(Step::Stage(stage)), NodeKind::Stage(plan)) =
            (self.engine.steps.get(at), &self.running.nodes.get(at).unwrap().kind)
        else {
            panic!("it is a stage")
        };
        stage.deciding(plan).module.digest.clone()
    }
}
