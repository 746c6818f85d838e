//! Versions of rules: which decided over what, and the components themselves.

use super::{connect_read_only, failure::Sqlite, read::open_weir, schema};
use crate::{
    error::{Context, Error, Result},
    fail_point,
    model::deployment::{Component, Deployment, Signer, StoredVersion, TrialRecord, VersionChange},
    trust::Policy,
};
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;

/// How many versions of a step are kept with their components, the last one included: as many as the registry tells of.
const VERSIONS_KEPT: i64 = 64;

/// Writes what happened to versions in a turn, with who signed them, whose names `trust` knows; and lets go of components that
/// nothing names any more.
pub(super) fn write(
    connection: &Connection,
    pipeline: &str,
    trust: &Policy,
    changes: &[VersionChange],
) -> rusqlite::Result<()> {
    for change in changes {
        match change {
            VersionChange::InForce(in_force) => {
                let fallback = in_force.fallback.as_ref();
                let signature = in_force.deployment.signature.as_ref();
                let signer = signature.map(|signature| trust.signer(&signature.key));
                for (digest, component) in [&in_force.module].into_iter().chain(fallback.map(|(_, module)| module)) {
                    connection
                        .prepare_cached("INSERT OR IGNORE INTO weir_module (digest, component) VALUES (?1, ?2)")?
                        .execute((digest, &**component))?;
                }
                // Of two that begin at one sequence the earlier decided over nothing.
                connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO weir_version
                         (pipeline, step, first_sequence, version, digest, deployment, trial_left, spoiled, taken_back,
                          fallback, signer, signer_name)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, '[]', NULL, ?8, ?9, ?10)",
                    )?
                    .execute((
                        pipeline,
                        &in_force.step,
                        in_force.first_sequence as i64,
                        in_force.deployment.version as i64,
                        &in_force.module.0,
                        json(&in_force.deployment)?,
                        in_force.trial_left as i64,
                        fallback.map(|fallback| json(&named(fallback))).transpose()?,
                        signer.as_ref().map(|signer| &signer.key),
                        signer.as_ref().and_then(|signer| signer.name.as_ref()),
                    ))?;
            }
            VersionChange::Refused(_) => fail_point::pass("in-refusal"),
            VersionChange::Trial(trial) => {
                if trial.taken_back.is_some() {
                    fail_point::pass("in-take-back");
                }
                connection
                    .prepare_cached(
                        "UPDATE weir_version SET trial_left = ?3, spoiled = ?4, taken_back = ?5
                         WHERE pipeline = ?1 AND step = ?2 AND first_sequence =
                             (SELECT max(first_sequence) FROM weir_version WHERE pipeline = ?1 AND step = ?2)",
                    )?
                    .execute((
                        pipeline,
                        &trial.step,
                        trial.left as i64,
                        json(&trial.by_fallback)?,
                        &trial.taken_back,
                    ))?;
            }
        }
    }
    match changes.is_empty() {
        true => Ok(()),
        false => connection
            .execute(
                &format!("DELETE FROM weir_module WHERE digest NOT IN ({})", named_components()),
                [],
            )
            .map(|_| ()),
    }
}

/// The digests of components that the database holds: of the last versions of each step, with what those fall back on that are
/// on trial, and of all that decided over events which the trace tells of. Whatever starts, tries, lists or explains names
/// these and no others.
pub(super) fn named_components() -> String {
    format!(
        "WITH ranked AS (
             SELECT digest, fallback,
                 row_number() OVER (PARTITION BY pipeline, step ORDER BY first_sequence DESC) AS place,
                 lead(first_sequence) OVER (PARTITION BY pipeline, step ORDER BY first_sequence) AS until,
                 (SELECT sequence FROM weir_trace_start AS start WHERE start.pipeline = version.pipeline) AS traced_from
             FROM weir_version AS version)
         SELECT digest FROM ranked WHERE place <= {VERSIONS_KEPT} OR until > coalesce(traced_from, 0)
         UNION SELECT fallback ->> '$.digest' FROM ranked
             WHERE place <= {VERSIONS_KEPT} AND fallback ->> '$.digest' IS NOT NULL"
    )
}

/// A deployment that names its module, also where the pipeline file did: that may name another one by the next start.
fn named((deployment, (digest, _)): &(Deployment, Component)) -> Deployment {
    Deployment {
        digest: Some(digest.clone()),
        ..deployment.clone()
    }
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|cause| rusqlite::Error::ToSqlConversionFailure(cause.into()))
}

/// The versions that decided over rows of a pipeline, in the order of their first sequences; none where there is no such
/// database yet.
///
/// # Errors
/// When the database is damaged.
pub(in crate::storage) fn read_versions(path: &Path, pipeline: &str) -> Result<Vec<StoredVersion>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let connection = connect_read_only(path)?;
    of_pipeline(&connection, pipeline).map_err(|error| error.context(format!("database {}", path.display())))
}

/// See [`read_versions`].
pub(super) fn of_pipeline(connection: &Connection, pipeline: &str) -> Result<Vec<StoredVersion>> {
    let wrap = || "cannot read the versions".to_owned();
    // Who opens it for writing says what is wrong with a file of somebody else. One that is empty was just made.
    if !has_versions(connection).unwrap_or(false) {
        return Ok(Vec::new());
    }
    let signer = match schema::layout(connection).sqlite(wrap)? < 7 {
        true => "NULL, NULL",
        false => "signer, signer_name",
    };
    let mut statement = connection
        .prepare(&format!(
            "SELECT step, first_sequence, digest, deployment, trial_left, spoiled, taken_back, fallback, {signer}
             FROM weir_version WHERE pipeline = ?1 ORDER BY first_sequence, step",
        ))
        .sqlite(wrap)?;
    let rows = statement
        .query_map([pipeline], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, i64>(1)? as u64,
                row.get::<_, String>(2)?,
                row.get::<_, String>(3)?,
                row.get::<_, i64>(4)? as u64,
                row.get::<_, String>(5)?,
                row.get::<_, Option<String>>(6)?,
                row.get::<_, Option<String>>(7)?,
                (row.get::<_, Option<String>>(8)?, row.get::<_, Option<String>>(9)?),
            ))
        })
        .sqlite(wrap)?;
    let mut versions = Vec::new();
    for row in rows {
        let (step, first_sequence, digest, deployment, left, spoiled, taken_back, fallback, (key, name)) =
            row.sqlite(wrap)?;
        let read = |deployment: &str| serde_json::from_str::<Deployment>(deployment).environment(wrap);
        versions.push(StoredVersion {
            deployment: read(&deployment)?,
            fallback: fallback.as_deref().map(read).transpose()?,
            digest,
            first_sequence,
            trial: TrialRecord {
                step: step.clone(),
                left,
                by_fallback: serde_json::from_str(&spoiled).environment(wrap)?,
                taken_back,
                ended: None,
            },
            step,
            signer: key.map(|key| Signer { key, name }),
        });
    }
    set_ends(&mut versions);
    Ok(versions)
}

/// Where a version was taken back at another place than behind the last row that its fallback decided: the host died of it, and what is
/// in force next begins there.
fn set_ends(versions: &mut [StoredVersion]) {
    for at in 0..versions.len() {
        let Some((version, later)) = versions.get_mut(at..).and_then(<[StoredVersion]>::split_first_mut) else {
            continue;
        };
        if version.trial.taken_back.is_some() {
            let next = later.iter().find(|next| next.step == version.step);
            let ended = next.map(|next| next.first_sequence);
            version.trial.ended = ended.filter(|ended| *ended != version.taken_back_from());
        }
    }
}

/// The component of that digest, as the database holds it.
///
/// # Errors
/// When it cannot be read, or is not there.
pub(super) fn read_module(path: &Path, digest: &str) -> Result<Vec<u8>> {
    let wrap = || format!("cannot read module {digest} in database {}", path.display());
    let found: Option<Vec<u8>> = open_weir(path)?
        .query_row("SELECT component FROM weir_module WHERE digest = ?1", [digest], |row| {
            row.get(0)
        })
        .optional()
        .sqlite(wrap)?;
    found.ok_or_else(|| {
        Error::mismatch(format!(
            "database {} does not hold module {digest}, which it names: it is damaged",
            path.display()
        ))
    })
}

fn has_versions(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'weir_version'",
        [],
        |row| Ok(row.get::<_, i64>(0)? > 0),
    )
}
