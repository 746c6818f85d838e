//! Keyed functions. Only the contract 0.2 has them.

use crate::{
    model::{
        column::{Column, ColumnType, TextValues},
        guest::{KeyedDescription, OutputRows, ParameterValue},
    },
    wasm::{
        bindings::v0_2::exports::weir::stage::keyed as abi,
        call::World,
        context::GuestContext,
        contract::{KEYED, Kind, Version},
        keyed::checked,
        states::{Given, RejectedNumber},
        translate::v0_2::{self, keyed_description, lower, outputs_of, with_parameters},
    },
};
use wasmtime::{Store, component::InstancePre};

/// A keyed function that was instantiated.
pub(in crate::wasm) struct KeyedWorld(abi::Guest);

/// A keyed function's component, ready to be instantiated.
pub(in crate::wasm) struct KeyedPre(InstancePre<GuestContext>, abi::GuestIndices);

/// Rows that are to be taken in.
#[derive(Clone, Copy)]
pub(in crate::wasm) struct Rows<'a> {
    pub(in crate::wasm) keys: &'a [u32],
    pub(in crate::wasm) states: &'a TextValues,
    pub(in crate::wasm) timers: &'a [i64],
    pub(in crate::wasm) times_ms: &'a [i64],
    pub(in crate::wasm) event_times_us: &'a [i64],
    pub(in crate::wasm) columns: &'a [&'a Column],
    /// The type of each column.
    pub(in crate::wasm) types: &'a [ColumnType],
}

/// What a function answers: states, timers and outputs.
pub(in crate::wasm) type Answer = (TextValues, Vec<i64>, Vec<OutputRows>);

impl From<abi::Rejected> for RejectedNumber {
    fn from(abi::Rejected { number, reason }: abi::Rejected) -> Self {
        Self { number, reason }
    }
}

impl KeyedWorld {
    pub(in crate::wasm) fn process(
        &self,
        store: &mut Store<GuestContext>,
        rows: Rows<'_>,
        description: &KeyedDescription,
    ) -> Given<Answer> {
        let typed = rows.columns.iter().zip(rows.types);
        let columns: Vec<_> = typed.map(|(column, of)| lower(column, *of)).collect();
        let times_us: Vec<i64> = rows.times_ms.iter().map(|ms| ms.saturating_mul(1_000)).collect();
        let batch = abi::Batch {
            keys: rows.keys,
            states: v0_2::states(rows.states),
            timers: rows.timers,
            times_us: &times_us,
            event_times_us: rows.event_times_us,
            columns: &columns,
        };
        Ok(match self.0.call_process(store, batch)? {
            Ok(abi::Processed {
                states,
                timers,
                outputs,
            }) => {
                outputs_of(outputs, &description.outputs).map(|outputs| Ok((v0_2::states_of(states), timers, outputs)))
            }
            Err(rejected) => Ok(Err(rejected.into())),
        })
    }

    pub(in crate::wasm) fn on_timers(
        &self,
        store: &mut Store<GuestContext>,
        states: &TextValues,
        timers: &[i64],
        description: &KeyedDescription,
    ) -> Given<Answer> {
        let due = abi::Due {
            states: v0_2::states(states),
            timers,
        };
        Ok(match self.0.call_on_timers(store, due)? {
            Ok(abi::Fired {
                states,
                timers,
                outputs,
            }) => {
                outputs_of(outputs, &description.outputs).map(|outputs| Ok((v0_2::states_of(states), timers, outputs)))
            }
            Err(rejected) => Ok(Err(rejected.into())),
        })
    }
}

impl World for KeyedWorld {
    type Pre = KeyedPre;
    type Description = KeyedDescription;
    const KIND: &'static Kind = &KEYED;

    fn prepare(pre: InstancePre<GuestContext>, _: Version) -> wasmtime::Result<KeyedPre> {
        let indices = abi::GuestIndices::new(&pre)?;
        Ok(KeyedPre(pre, indices))
    }

    fn name(description: &KeyedDescription) -> &str {
        &description.name
    }

    fn instantiate(KeyedPre(pre, indices): &KeyedPre, store: &mut Store<GuestContext>) -> wasmtime::Result<Self> {
        let instance = pre.instantiate(&mut *store)?;
        Ok(Self(indices.load(store, &instance)?))
    }

    fn describe(&self, store: &mut Store<GuestContext>) -> wasmtime::Result<Result<KeyedDescription, String>> {
        let given = self.0.call_describe(store)?;
        Ok(keyed_description(given).and_then(checked))
    }

    fn configure(
        &self,
        store: &mut Store<GuestContext>,
        parameters: &[(String, ParameterValue)],
    ) -> wasmtime::Result<Result<(), String>> {
        with_parameters(parameters, |parameters| self.0.call_configure(store, parameters))
    }
}
