//! Aggregates, of either version of the contract.

use crate::{
    model::{
        column::{Column, ColumnType, TextValues},
        guest::{AggregateDescription, ParameterValue, ResultColumn},
    },
    wasm::{
        aggregate::checked,
        bindings::{
            v0_1::{self, aggregate::exports::weir::stage::aggregate as abi_v0_1},
            v0_2::exports::weir::stage::aggregate as abi_v0_2,
        },
        call::World,
        context::GuestContext,
        contract::{AGGREGATE, Kind, Version},
        states::{Given, RejectedNumber},
        translate::{v0_1::of_aggregate, v0_2 as to_v0_2},
    },
};
use wasmtime::{Store, component::InstancePre};

/// An aggregate that was instantiated.
pub(in crate::wasm) enum AggregateWorld {
    V0_1(v0_1::aggregate::AggregateComponent),
    V0_2(abi_v0_2::Guest),
}

/// An aggregate's component, ready to be instantiated.
pub(in crate::wasm) enum AggregatePre {
    V0_1(v0_1::aggregate::AggregateComponentPre<GuestContext>),
    V0_2(InstancePre<GuestContext>, abi_v0_2::GuestIndices),
}

/// Rows that are to be taken in.
#[derive(Clone, Copy)]
pub(in crate::wasm) struct Rows<'a> {
    pub(in crate::wasm) groups: &'a [u32],
    pub(in crate::wasm) states: &'a TextValues,
    pub(in crate::wasm) retracts: Option<&'a [u8]>,
    pub(in crate::wasm) columns: &'a [&'a Column],
    /// The type of each column.
    pub(in crate::wasm) types: &'a [ColumnType],
}

impl From<abi_v0_1::Rejected> for RejectedNumber {
    fn from(abi_v0_1::Rejected { number, reason }: abi_v0_1::Rejected) -> Self {
        Self { number, reason }
    }
}

impl From<abi_v0_2::Rejected> for RejectedNumber {
    fn from(abi_v0_2::Rejected { number, reason }: abi_v0_2::Rejected) -> Self {
        Self { number, reason }
    }
}

fn states_of(abi_v0_1::StatesResult { offsets, data }: abi_v0_1::StatesResult) -> TextValues {
    TextValues { offsets, data }
}

fn states(TextValues { offsets, data }: &TextValues) -> abi_v0_1::StatesParam<'_> {
    abi_v0_1::StatesParam { offsets, data }
}

impl AggregateWorld {
    pub(in crate::wasm) fn accumulate(
        &self,
        store: &mut Store<GuestContext>,
        rows: Rows<'_>,
        result: ResultColumn,
    ) -> Given<(TextValues, Column)> {
        let Rows {
            groups,
            retracts,
            columns,
            ..
        } = rows;
        match self {
            Self::V0_1(aggregate) => {
                let columns: Vec<_> = columns.iter().map(|column| of_aggregate::lower(column)).collect();
                let batch = abi_v0_1::Batch {
                    groups,
                    states: states(rows.states),
                    retracts,
                    columns: &columns,
                };
                let given = aggregate.weir_stage_aggregate().call_accumulate(store, batch)?;
                let given = given.map(|given| (states_of(given.states), of_aggregate::column_of(given.results)));
                Ok(Ok(given.map_err(RejectedNumber::from)))
            }
            Self::V0_2(aggregate) => {
                let typed = columns.iter().zip(rows.types);
                let columns: Vec<_> = typed.map(|(column, of)| to_v0_2::lower(column, *of)).collect();
                let batch = abi_v0_2::Batch {
                    groups,
                    states: to_v0_2::states(rows.states),
                    retracts,
                    columns: &columns,
                };
                let given = aggregate.call_accumulate(store, batch)?;
                Ok(match given {
                    Ok(given) => to_v0_2::results(given.results, result)
                        .map(|results| Ok((to_v0_2::states_of(given.states), results))),
                    Err(rejected) => Ok(Err(rejected.into())),
                })
            }
        }
    }

    pub(in crate::wasm) fn merge(
        &self,
        store: &mut Store<GuestContext>,
        into: &TextValues,
        from: &TextValues,
    ) -> Given<TextValues> {
        Ok(Ok(match self {
            Self::V0_1(aggregate) => {
                let aggregate = aggregate.weir_stage_aggregate();
                let given = aggregate.call_merge(store, states(into), states(from))?;
                given.map(states_of).map_err(RejectedNumber::from)
            }
            Self::V0_2(aggregate) => {
                let given = aggregate.call_merge(store, to_v0_2::states(into), to_v0_2::states(from))?;
                given.map(to_v0_2::states_of).map_err(RejectedNumber::from)
            }
        }))
    }

    pub(in crate::wasm) fn results(
        &self,
        store: &mut Store<GuestContext>,
        of: &TextValues,
        result: ResultColumn,
    ) -> Given<Column> {
        match self {
            Self::V0_1(aggregate) => {
                let given = aggregate.weir_stage_aggregate().call_results(store, states(of))?;
                Ok(Ok(given.map(of_aggregate::column_of).map_err(RejectedNumber::from)))
            }
            Self::V0_2(aggregate) => {
                let given = aggregate.call_results(store, to_v0_2::states(of))?;
                Ok(match given {
                    Ok(given) => to_v0_2::results(given, result).map(Ok),
                    Err(rejected) => Ok(Err(rejected.into())),
                })
            }
        }
    }
}

impl World for AggregateWorld {
    type Pre = AggregatePre;
    type Description = AggregateDescription;
    const KIND: &'static Kind = &AGGREGATE;

    fn prepare(pre: InstancePre<GuestContext>, version: Version) -> wasmtime::Result<AggregatePre> {
        Ok(match version {
            Version::V0_1 => AggregatePre::V0_1(v0_1::aggregate::AggregateComponentPre::new(pre)?),
            Version::V0_2 => {
                let indices = abi_v0_2::GuestIndices::new(&pre)?;
                AggregatePre::V0_2(pre, indices)
            }
        })
    }

    fn name(description: &AggregateDescription) -> &str {
        &description.name
    }

    fn instantiate(pre: &AggregatePre, store: &mut Store<GuestContext>) -> wasmtime::Result<Self> {
        Ok(match pre {
            AggregatePre::V0_1(pre) => Self::V0_1(pre.instantiate(store)?),
            AggregatePre::V0_2(pre, indices) => {
                let instance = pre.instantiate(&mut *store)?;
                Self::V0_2(indices.load(store, &instance)?)
            }
        })
    }

    fn describe(&self, store: &mut Store<GuestContext>) -> wasmtime::Result<Result<AggregateDescription, String>> {
        let given = match self {
            Self::V0_1(aggregate) => {
                let given = aggregate.weir_stage_aggregate().call_describe(store)?;
                Ok(of_aggregate::description(given))
            }
            Self::V0_2(aggregate) => {
                let given = aggregate.call_describe(store)?;
                to_v0_2::aggregate_description(given)
            }
        };
        Ok(given.and_then(checked))
    }

    fn configure(
        &self,
        store: &mut Store<GuestContext>,
        parameters: &[(String, ParameterValue)],
    ) -> wasmtime::Result<Result<(), String>> {
        match self {
            Self::V0_1(aggregate) => of_aggregate::with_parameters(parameters, |parameters| {
                aggregate.weir_stage_aggregate().call_configure(store, parameters)
            }),
            Self::V0_2(aggregate) => {
                to_v0_2::with_parameters(parameters, |parameters| aggregate.call_configure(store, parameters))
            }
        }
    }
}
