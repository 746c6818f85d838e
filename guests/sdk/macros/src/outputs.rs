//! `#[derive(Outputs)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DataEnum, DeriveInput, Error, Fields, Result, Type};

use crate::columns::{Name, ident, named_fields, only_lifetimes, renamed, unique};

/// By the contract.
const OUTPUTS_MAX: usize = 64;

pub(crate) fn derive(item: &DeriveInput) -> Result<TokenStream> {
    only_lifetimes(&item.generics, "Outputs")?;
    match &item.data {
        Data::Enum(data) => one_of(item, data),
        _ => any_of(item),
    }
}

/// An enum: one output for each variant.
fn one_of(item: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let mut names = Vec::new();
    let mut rows = Vec::new();
    for variant in &data.variants {
        names.push(match renamed(&variant.attrs, "output")? {
            Some(literal) => Name::of_literal(&literal),
            None => Name {
                text: snake_case(&variant.ident.to_string()),
                span: variant.ident.span(),
            },
        });
        match &variant.fields {
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => rows.push(&fields.unnamed[0].ty),
            _ => {
                return Err(Error::new_spanned(
                    variant,
                    format!(
                        "a variant holds the row of its output, as in `{0}({0}Row)`; to drop an event, return an `Option`",
                        variant.ident
                    ),
                ));
            }
        }
    }
    let idents = data.variants.iter().map(|variant| &variant.ident);
    let places = (0..rows.len()).map(syn::Index::from);
    let give = quote! {
        match self {
            #(Self::#idents(given) => ::weir_guest::bounds::Rows::push_to(given, row, &mut sinks.#places),)*
        }
    };
    implement(item, &names, &rows, &give)
}

/// A struct: one output for each field.
fn any_of(item: &DeriveInput) -> Result<TokenStream> {
    let fields = named_fields(item, "Outputs")?;
    let names = fields
        .iter()
        .map(|field| Name::of_field(field, "output"))
        .collect::<Result<Vec<_>>>()?;
    let rows: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let idents = fields.iter().map(|field| ident(field));
    let places = (0..rows.len()).map(syn::Index::from);
    let give = quote!(#(::weir_guest::bounds::Rows::push_to(self.#idents, row, &mut sinks.#places);)*);
    implement(item, &names, &rows, &give)
}

/// `rows` are the types of what goes to each output.
fn implement(item: &DeriveInput, names: &[Name], rows: &[&Type], give: &TokenStream) -> Result<TokenStream> {
    unique(names, "output")?;
    if names.is_empty() || names.len() > OUTPUTS_MAX {
        return Err(Error::new_spanned(
            &item.ident,
            format!("a stage has at least one output, and at most {OUTPUTS_MAX}"),
        ));
    }
    let this = &item.ident;
    let (impl_generics, type_generics, where_clause) = item.generics.split_for_impl();
    let texts = names.iter().map(|name| &name.text);
    let places = (0..rows.len()).map(syn::Index::from);
    // With their own spans, types that do not fit are reported where they stand.
    let row_types: Vec<_> = rows
        .iter()
        .map(|rows| quote_spanned!(rows.span()=> <#rows as ::weir_guest::bounds::Rows>::Row))
        .collect();
    let sinks: Vec<_> = row_types
        .iter()
        .zip(rows)
        .map(|(row, rows)| quote_spanned!(rows.span()=> ::weir_guest::__private::Sink::<#row>))
        .collect();
    let specs = rows
        .iter()
        .map(|rows| quote_spanned!(rows.span()=> ::weir_guest::__private::output::<#rows>));
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::weir_guest::Outputs for #this #type_generics #where_clause {
            type Set = Self;
            type Sinks = (#(#sinks,)*);
            const COMPUTES: bool = false #(|| !<#row_types as ::weir_guest::Output>::PASSES)*;

            fn specs() -> ::std::vec::Vec<::weir_guest::abi::OutputSpec> {
                ::std::vec![#(#specs(#texts)),*]
            }

            fn sinks(rows: usize) -> Self::Sinks {
                (#(#sinks::new(rows),)*)
            }

            #[inline(always)]
            fn give(self, row: u32, sinks: &mut Self::Sinks) {
                #give
            }

            fn finish(sinks: Self::Sinks) -> ::std::vec::Vec<::weir_guest::abi::OutputRows> {
                ::std::vec![#(sinks.#places.finish()),*]
            }
        }
    })
}

/// `LargeOrder` as `large_order`.
fn snake_case(camel: &str) -> String {
    let mut snake = String::new();
    for letter in camel.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}
