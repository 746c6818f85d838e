//! `#[derive(Output)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, Ident, LitStr, Result, Token};

use crate::columns::{Name, ident, named_fields, unique};
use crate::decimal::Computed;

pub(crate) fn derive(item: &DeriveInput) -> Result<TokenStream> {
    let fields = named_fields(item, "Output")?;
    let mut passed = Vec::new();
    for attribute in item.attrs.iter().filter(|attribute| attribute.path().is_ident("pass")) {
        passed.extend(attribute.parse_args_with(Punctuated::<Passed, Token![,]>::parse_terminated)?);
    }
    let computed = fields
        .iter()
        .map(|field| Name::of_field(field, "column"))
        .collect::<Result<Vec<_>>>()?;
    unique(passed.iter().map(|column| &column.output).chain(&computed), "column")?;
    if passed.is_empty() && computed.is_empty() {
        return Err(Error::new_spanned(
            &item.ident,
            "an output has at least one column: a field, or one that goes through, as in `#[pass(id)]`",
        ));
    }

    let this = &item.ident;
    let (impl_generics, type_generics, where_clause) = item.generics.split_for_impl();
    let inputs = passed.iter().map(|column| &column.input.text);
    let outputs = passed.iter().map(|column| &column.output.text);
    let names: Vec<_> = computed.iter().map(|name| &name.text).collect();
    let passes = !passed.is_empty();
    let places: Vec<_> = (0..fields.len()).map(syn::Index::from).collect();
    let columns = fields
        .iter()
        .map(|field| Computed::of(&field.ty, &field.attrs))
        .collect::<Result<Vec<_>>>()?;
    let values = fields.iter().zip(&columns).map(|(field, column)| {
        let ident = ident(field);
        column.value(&quote!(&self.#ident))
    });
    // With the span of the field's type, a type that is no column's is reported there.
    let types: Vec<_> = fields
        .iter()
        .zip(&columns)
        .map(|(field, column)| {
            let ty = &column.ty;
            quote_spanned!(field.ty.span()=> <#ty as ::weir_guest::bounds::OutputField>)
        })
        .collect();

    Ok(quote! {
        #[automatically_derived]
        #[allow(clippy::unused_unit, reason = "there may be no columns")]
        impl #impl_generics ::weir_guest::Output for #this #type_generics #where_clause {
            type Columns = (#(#types::Column,)*);
            const PASSES: bool = #passes;

            fn spec(name: &str) -> ::weir_guest::abi::OutputSpec {
                ::weir_guest::abi::OutputSpec {
                    name: ::std::borrow::ToOwned::to_owned(name),
                    passed: ::std::vec![#(::weir_guest::__private::passed(#inputs, #outputs)),*],
                    computed: ::std::vec![#(#types::spec(#names)),*],
                    many: false,
                }
            }

            fn columns(rows: usize) -> Self::Columns {
                (#(#types::column(#names, rows),)*)
            }

            #[inline(always)]
            fn push(self, columns: &mut Self::Columns) {
                #(::weir_guest::bounds::OutputField::push_to(#values, &mut columns.#places);)*
            }

            fn finish(columns: Self::Columns) -> ::std::vec::Vec<::weir_guest::abi::Column> {
                ::std::vec![#(#types::finish(columns.#places)),*]
            }
        }
    })
}

/// `id`, or `premium as raw_premium`.
struct Passed {
    input: Name,
    output: Name,
}

impl Parse for Passed {
    fn parse(tokens: ParseStream) -> Result<Passed> {
        let input = column_name(tokens)?;
        let output = match tokens.parse::<Option<Token![as]>>()? {
            Some(_) => column_name(tokens)?,
            None if tokens.is_empty() || tokens.peek(Token![,]) => input.clone(),
            None => return Err(tokens.error("expected `,` or `as`: `#[pass(id, premium as raw_premium)]`")),
        };
        Ok(Passed { input, output })
    }
}

/// `id`, or `"a name that is no identifier"`.
fn column_name(tokens: ParseStream) -> Result<Name> {
    if tokens.peek(LitStr) {
        tokens.parse().map(|literal: LitStr| Name::of_literal(&literal))
    } else {
        tokens
            .call(<Ident as syn::ext::IdentExt>::parse_any)
            .map(|ident| Name::of_ident(&ident))
            .map_err(|error| Error::new(error.span(), "expected a column: `id`, `id as user_id` or `\"id\"`"))
    }
}
