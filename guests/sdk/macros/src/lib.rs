//! The derives and the attribute of `weir-guest`, which documents them.

mod columns;
mod input;
mod output;
mod outputs;
mod parameters;
mod stage;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemFn, parse_macro_input};

/// Derives [`Input`](../weir_guest/trait.Input.html): what a rule reads of an event.
#[proc_macro_derive(Input, attributes(column))]
pub fn derive_input(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    input::derive(&item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Derives [`Output`](../weir_guest/trait.Output.html): a row of an output.
#[proc_macro_derive(Output, attributes(column, pass))]
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
/// version. A crate holds one stage.
#[proc_macro_attribute]
pub fn stage(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemFn);
    stage::expand(&arguments.into(), &item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
