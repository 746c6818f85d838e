//! Stages, of either version of the contract.

use crate::{
    model::{
        column::{Column, ColumnType},
        guest::{Answer, Description, ParameterValue},
    },
    wasm::{
        bindings::{v0_1, v0_2::exports::weir::stage::stage},
        call::World,
        context::GuestContext,
        contract::{Kind, STAGE, Version},
        description,
        translate::{v0_1::of_stage, v0_2 as to_v0_2},
    },
};
use wasmtime::{Store, component::InstancePre};

/// A stage that was instantiated.
pub(in crate::wasm) enum StageWorld {
    V0_1(v0_1::StageComponent),
    V0_2(stage::Guest),
}

/// A stage's component, ready to be instantiated.
pub(in crate::wasm) enum StagePre {
    V0_1(v0_1::StageComponentPre<GuestContext>),
    V0_2(InstancePre<GuestContext>, stage::GuestIndices),
}

/// Rows that a stage is to judge.
#[derive(Clone, Copy)]
pub(in crate::wasm) struct Rows<'a> {
    pub(in crate::wasm) row_count: u32,
    /// "Now" of each; nothing where the rule does not read it.
    pub(in crate::wasm) times_ms: &'a [i64],
    pub(in crate::wasm) columns: &'a [&'a Column],
    /// The type of each column.
    pub(in crate::wasm) types: &'a [ColumnType],
}

impl StageWorld {
    /// Has rows judged. The inner error says which promise of the contract the answer breaks; whether it keeps the others, its
    /// reader has to check.
    pub(in crate::wasm) fn process(
        &self,
        store: &mut Store<GuestContext>,
        rows: Rows<'_>,
        description: &Description,
    ) -> wasmtime::Result<Result<Answer, String>> {
        let Rows {
            row_count,
            times_ms,
            columns,
            types,
        } = rows;
        match self {
            Self::V0_1(stage) => {
                let columns: Vec<_> = columns.iter().map(|column| of_stage::lower(column)).collect();
                let batch = v0_1::exports::weir::stage::stage::Batch {
                    row_count,
                    times_ms,
                    columns: &columns,
                };
                let answer = stage.weir_stage_stage().call_process(store, batch)?;
                Ok(Ok(of_stage::answer(answer)))
            }
            Self::V0_2(guest) => {
                let typed = columns.iter().zip(types);
                let columns: Vec<_> = typed.map(|(column, of)| to_v0_2::lower(column, *of)).collect();
                let times_us: Vec<i64> = times_ms.iter().map(|ms| ms.saturating_mul(1_000)).collect();
                let batch = stage::Batch {
                    row_count,
                    times_us: &times_us,
                    columns: &columns,
                };
                let answer = guest.call_process(store, batch)?;
                Ok(to_v0_2::answer(answer, description))
            }
        }
    }
}

impl World for StageWorld {
    type Pre = StagePre;
    type Description = Description;
    const KIND: &'static Kind = &STAGE;

    fn prepare(pre: InstancePre<GuestContext>, version: Version) -> wasmtime::Result<StagePre> {
        Ok(match version {
            Version::V0_1 => StagePre::V0_1(v0_1::StageComponentPre::new(pre)?),
            Version::V0_2 => {
                let indices = stage::GuestIndices::new(&pre)?;
                StagePre::V0_2(pre, indices)
            }
        })
    }

    fn name(description: &Description) -> &str {
        &description.name
    }

    fn instantiate(pre: &StagePre, store: &mut Store<GuestContext>) -> wasmtime::Result<Self> {
        Ok(match pre {
            StagePre::V0_1(pre) => Self::V0_1(pre.instantiate(store)?),
            StagePre::V0_2(pre, indices) => {
                let instance = pre.instantiate(&mut *store)?;
                Self::V0_2(indices.load(store, &instance)?)
            }
        })
    }

    fn describe(&self, store: &mut Store<GuestContext>) -> wasmtime::Result<Result<Description, String>> {
        let given = match self {
            Self::V0_1(stage) => Ok(of_stage::description(stage.weir_stage_stage().call_describe(store)?)),
            Self::V0_2(guest) => to_v0_2::description(guest.call_describe(store)?),
        };
        Ok(given.and_then(description::checked))
    }

    fn configure(
        &self,
        store: &mut Store<GuestContext>,
        parameters: &[(String, ParameterValue)],
    ) -> wasmtime::Result<Result<(), String>> {
        match self {
            Self::V0_1(stage) => of_stage::with_parameters(parameters, |parameters| {
                stage.weir_stage_stage().call_configure(store, parameters)
            }),
            Self::V0_2(guest) => {
                to_v0_2::with_parameters(parameters, |parameters| guest.call_configure(store, parameters))
            }
        }
    }
}
