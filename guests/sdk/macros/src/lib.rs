//! The derives and the attributes of `weir-guest`, which documents them.

mod aggregate;
mod columns;
mod decimal;
mod decoder;
mod input;
mod keyed;
mod output;
mod outputs;
mod parameters;
mod returned;
mod stage;
mod state;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemFn, ItemImpl, parse_macro_input};

/// Derives [`Input`](../weir_guest/trait.Input.html): what a rule reads of an event.
#[proc_macro_derive(Input, attributes(column))]
pub fn derive_input(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    input::derive(&item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Derives [`Output`](../weir_guest/trait.Output.html): a row of an output.
#[proc_macro_derive(Output, attributes(column, decimal, pass))]
pub fn derive_output(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    output::derive(&item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Derives [`Outputs`](../weir_guest/trait.Outputs.html): several outputs.
#[proc_macro_derive(Outputs, attributes(output))]
pub fn derive_outputs(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    outputs::derive(&item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Derives [`Parameters`](../weir_guest/trait.Parameters.html): what a pipeline can tell a rule.
#[proc_macro_derive(Parameters, attributes(default))]
pub fn derive_parameters(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    parameters::derive(&item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a stage of a function: beside it a `pub struct Rule` that is a [`Stage`](../weir_guest/trait.Stage.html), and in
/// a component the exports of the contract.
///
/// The function takes what it reads of an event, and if it needs them a reference to a
/// [`Context`](../weir_guest/struct.Context.html) or to its parameters. It returns where the event goes: see
/// [`Outputs`](../weir_guest/trait.Outputs.html). Its doc comment is the stage's, and the stage has the crate's name and
/// version.
#[proc_macro_attribute]
pub fn stage(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemFn);
    stage::expand(&arguments.into(), &item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Derives [`State`](../weir_guest/trait.State.html): what is remembered of a group or key.
#[proc_macro_derive(State)]
pub fn derive_state(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    state::derive(&item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes an aggregate of the methods of a state: beside them a `pub struct Rule` that is an
/// [`Aggregate`](../weir_guest/trait.Aggregate.html), and in a component the exports of the contract.
///
/// The type is a [`State`](../weir_guest/trait.State.html) with a `Default`, which is what holds of a group without rows.
/// Its doc comment is the aggregate's, and the aggregate has the crate's name and version. The methods, each of which may
/// ask for the parameters with a further argument `settings: &Settings`:
///
/// - `fn add(&mut self, row: Row)` takes in a row, which is an [`Input`](../weir_guest/trait.Input.html);
/// - `fn result(&self) -> T` says what the group comes to: a value that a column can hold, or an `Option` of one;
/// - `fn retract(&mut self, row: Row)`, if there is one, takes back a row that was added, so that the aggregate can be
///   used over a changelog;
/// - `fn merge(&mut self, other: Self)`, if there is one, takes in all that another group has seen, so that the aggregate
///   can be used over windows that grow together.
///
/// A `result` of decimals has its digits above it: `#[decimal(18, 2)]`. All but `result` may return a `Result<(), Reject>`. What a method has done to the state before it rejects is undone.
#[proc_macro_attribute]
pub fn aggregate(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemImpl);
    aggregate::expand(&arguments.into(), &item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a keyed function of the methods of a state: beside them a `pub struct Rule` that is a
/// [`Keyed`](../weir_guest/trait.Keyed.html), and in a component the exports of the contract.
///
/// The type is a [`State`](../weir_guest/trait.State.html) with a `Default`, which is what holds of a key without rows; a
/// key whose state is that again, and that waits for no time, is forgotten. Its doc comment is the function's, and the
/// function has the crate's name and version. The methods:
///
/// - `fn on_row(&mut self, row: Row) -> Option<Given>` takes in a row, which is an
///   [`Input`](../weir_guest/trait.Input.html). It may ask for more, each of which costs the host something or asks
///   something of the pipeline, and has it behind the row: `at: EventTime` is the row's event time, `cx: &Context<Settings>`
///   has "now" and the parameters, `settings: &Settings` the parameters alone, and `timers: &mut Timers` is the key's
///   [timer](../weir_guest/struct.Timers.html).
/// - `fn on_timer(&mut self) -> Option<Given>`, where `on_row` takes timers, takes note that the time has come for which
///   the key waits. It may ask for `at: EventTime`, which is that time, `settings: &Settings`, and `timers: &mut Timers`
///   to wait for another.
///
/// Both return where rows go, as a stage does: see [`Outputs`](../weir_guest/trait.Outputs.html). They give into the same
/// outputs, whose columns go behind those of the key. What `on_timer` gives comes of no row: an output with `#[pass(…)]`
/// gets none from it. What a method has done to state and timer before it rejects is undone.
///
/// In tests `Rule::driver(settings)` makes a [`Driver`](../weir_guest/testing/struct.Driver.html).
#[proc_macro_attribute]
pub fn keyed(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemImpl);
    keyed::expand(&arguments.into(), &item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a decoder of a function: beside it a `pub struct Rule` that is a
/// [`Decoder`](../weir_guest/trait.Decoder.html), and in a component the exports of the contract.
///
/// The function takes the payload of a message as a `&[u8]` or a `&str` (a payload that is no UTF-8 is rejected then), or
/// with its subject and headers as a [`Message`](../weir_guest/struct.Message.html), and if it needs them a reference to its
/// parameters. It returns what it reads: a struct that derives [`Output`](../weir_guest/trait.Output.html), without columns
/// that go through; an `Option`, `Vec` or array of it, or an `impl Iterator` over it; or a `Result` of any of these with
/// [`Reject`](../weir_guest/struct.Reject.html). Its doc comment is the decoder's, and the decoder has the crate's name and
/// version.
#[proc_macro_attribute]
pub fn decoder(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemFn);
    decoder::expand(&arguments.into(), &item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
