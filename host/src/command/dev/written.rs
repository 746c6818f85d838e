//! What is being written: a pipeline with the guests that it names, alone in a folder or in a project.

use super::watch::Watched;
use crate::{
    command::{
        build,
        project::{CASES, PIPELINE_FILE, files, from_here, guests_of, project_at},
    },
    definition::{File, PROJECT_FILE, ProjectFile},
    error::{Context, Error, Result},
    files::private_file,
    source::Stop,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A pipeline with the guests that it names.
pub(super) struct Written {
    folder: PathBuf,
    project: Option<ProjectFile>,
    /// The pipeline's file.
    pub(super) pipeline: PathBuf,
    /// The components of its guests, by the folder of each, as far as they are of the sources that there are.
    components: BTreeMap<PathBuf, PathBuf>,
}

impl Written {
    /// What is written in `folder`; of a project the pipeline that is `named`, or its only one.
    pub(super) fn find(folder: &Path, named: &[String]) -> Result<Self> {
        let project = project_at(folder)?;
        let pipeline = match (&project, named) {
            (None, []) => {
                for file in ["Cargo.toml", PIPELINE_FILE] {
                    if !folder.join(file).is_file() {
                        return Err(Error::definition(format!(
                            "there is no {file} in {}; name the folder of a rule or of a project, or make one with `weir new NAME`",
                            folder.display()
                        )));
                    }
                }
                from_here(folder).join(PIPELINE_FILE)
            }
            _ => {
                let mut all = files(folder, named)?;
                match (all.pop(), all.is_empty()) {
                    (Some(file), true) => file,
                    (last, _) => {
                        all.extend(last);
                        let stems = all.iter().filter_map(|file| file.file_stem());
                        let names: Vec<String> = stems.map(|stem| stem.to_string_lossy().into_owned()).collect();
                        return Err(Error::definition(format!(
                            "one pipeline is written at a time, and the project {} has pipelines {}; say which, as in --pipeline {}",
                            folder.display(),
                            names.join(", "),
                            names.first().map(String::as_str).unwrap_or_default()
                        )));
                    }
                }
            }
        };
        Ok(Self {
            folder: from_here(folder).to_owned(),
            project,
            pipeline,
            components: BTreeMap::new(),
        })
    }

    /// Where its cases are.
    pub(super) fn cases(&self) -> PathBuf {
        self.folder.join(self.cases_within())
    }

    fn cases_within(&self) -> PathBuf {
        match (&self.project, self.pipeline.file_stem()) {
            (Some(_), Some(name)) => Path::new(CASES).join(name),
            _ => CASES.into(),
        }
    }

    /// What a save of concerns it, as paths within the folder.
    pub(super) fn watched(&self) -> Result<Watched> {
        let within = |path: &Path| path.strip_prefix(&self.folder).unwrap_or(path).to_owned();
        let mut watched = Watched {
            files: vec![within(&self.pipeline)],
            folders: vec![self.cases_within()],
            ..Default::default()
        };
        if self.project.is_some() {
            watched.files.push(PROJECT_FILE.into());
            watched.sources.push("Cargo.toml".into());
        }
        // Also those that the pipeline does not name yet.
        let guests = match &self.project {
            Some(project) => guests_of(project)?,
            None => vec![self.folder.clone()],
        };
        for guest in guests.iter().map(|guest| within(guest)) {
            watched
                .sources
                .extend(["Cargo.toml", "build.rs"].map(|file| guest.join(file)));
            watched.source_folders.push(guest.join("src"));
        }
        Ok(watched)
    }

    /// Until they are there again: a save of a case after a failed build is no reason to run yesterday's components.
    pub(super) fn forget_components(&mut self) {
        self.components.clear();
    }

    /// Builds the guests that the pipeline names and that are not built yet, and puts each where the pipeline looks for it.
    pub(super) fn build(&mut self, profile: &str, stop: &Stop) -> Result<()> {
        // What is wrong with the file is said better when it is read as a pipeline.
        let modules = File::read(&self.pipeline)?.as_table().map(|file| modules(&file)).ok();
        let guests = match &self.project {
            None => vec![self.folder.clone()],
            Some(project) => {
                let is_named = |guest: &PathBuf| {
                    let component = component_of(guest);
                    let mut named = modules.iter().flatten();
                    component
                        .is_some_and(|component| named.any(|module| module.file_name() == Some(component.as_ref())))
                };
                guests_of(project)?.into_iter().filter(is_named).collect()
            }
        };
        for guest in guests {
            if self.components.contains_key(&guest) {
                continue;
            }
            let component = build::build(&guest, profile, None, stop)?;
            if let Some(modules) = &modules {
                put_in_place(&self.pipeline, modules, &component)?;
            }
            self.components.insert(guest, component);
        }
        Ok(())
    }
}

/// What the component of a guest is called: by the name of its package.
fn component_of(guest: &Path) -> Option<String> {
    let manifest: toml::Table = fs::read_to_string(guest.join("Cargo.toml")).ok()?.parse().ok()?;
    let name = manifest.get("package")?.get("name")?.as_str()?;
    Some(format!("{name}.wasm"))
}

/// The modules that the steps of a pipeline name.
fn modules(file: &toml::Table) -> Vec<PathBuf> {
    let steps = file.get("step").and_then(toml::Value::as_array).into_iter().flatten();
    let modules = steps.flat_map(|step| {
        let stage = step.get("stage").into_iter();
        let operators = ["aggregate", "window"]
            .into_iter()
            .filter_map(|operator| step.get(operator));
        let columns = operators.filter_map(|operator| operator.get("columns")?.as_table());
        let columns = columns.flat_map(|columns| columns.iter().map(|(_, column)| column));
        let named = stage.chain(columns).filter_map(|guest| guest.get("module")?.as_str());
        named.collect::<Vec<_>>()
    });
    modules.map(PathBuf::from).collect()
}

/// Puts a component where the pipeline looks for it, should that not be where it was built.
fn put_in_place(pipeline: &Path, modules: &[PathBuf], component: &Path) -> Result<()> {
    let folder = pipeline.parent().unwrap_or(Path::new(""));
    let mut named: Vec<PathBuf> = modules.iter().map(|module| folder.join(module)).collect();
    named.retain(|module| module.file_name() == component.file_name());
    if named.is_empty() {
        return Err(Error::definition(format!(
            "no step of {} has a module that is called {}: the guest of this folder is not in its pipeline",
            pipeline.display(),
            component.file_name().unwrap_or_default().display()
        )));
    }
    for module in named {
        let is_there =
            fs::canonicalize(&module).is_ok_and(|module| fs::canonicalize(component).is_ok_and(|c| c == module));
        if !is_there {
            let bytes = fs::read(component).environment(|| format!("cannot read {}", component.display()))?;
            private_file::write_whole(&module, &bytes)?;
        }
    }
    Ok(())
}
