//! `#[derive(Input)]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, Lifetime, Result};

use crate::columns::{Name, ident, named_fields, unique};

pub(crate) fn derive(item: &DeriveInput) -> Result<TokenStream> {
    let fields = named_fields(item, "Input")?;
    let mut lifetimes = item.generics.lifetimes().map(|parameter| &parameter.lifetime);
    let own = lifetimes.next();
    if let Some(second) = lifetimes.next() {
        return Err(Error::new_spanned(
            second,
            "an input borrows from one batch: one lifetime is enough",
        ));
    }
    let batch = own
        .cloned()
        .unwrap_or_else(|| Lifetime::new("'__batch", Span::call_site()));

    let names = fields
        .iter()
        .map(|field| Name::of_field(field, "column"))
        .collect::<Result<Vec<_>>>()?;
    unique(&names, "column")?;
    let texts: Vec<_> = names.iter().map(|name| &name.text).collect();

    let this = &item.ident;
    let (_, type_generics, where_clause) = item.generics.split_for_impl();
    let idents: Vec<_> = fields.iter().map(|field| ident(field)).collect();
    // With the span of the field's type, a type that is no column's is reported there.
    let types: Vec<_> = fields
        .iter()
        .map(|field| {
            let ty = &field.ty;
            quote_spanned!(field.ty.span()=> <#ty as ::weir_guest::bounds::InputField<#batch>>)
        })
        .collect();
    let places: Vec<_> = (0..fields.len()).map(syn::Index::from).collect();
    let columns = fields.len();
    let wrong = format!("the rule reads columns: {columns}, and the host sends as many");

    Ok(quote! {
        #[automatically_derived]
        #[allow(clippy::unused_unit, reason = "there may be no columns")]
        impl<#batch> ::weir_guest::Input<#batch> for #this #type_generics #where_clause {
            type Readers = (#(#types::Reader,)*);

            fn columns() -> ::std::vec::Vec<::weir_guest::abi::InputColumn> {
                ::std::vec![#(::weir_guest::abi::InputColumn {
                    name: ::std::borrow::ToOwned::to_owned(#texts),
                    column_type: #types::TYPE,
                    nullable: #types::NULLABLE,
                }),*]
            }

            fn readers(columns: &#batch [::weir_guest::abi::Column], rows: usize) -> Self::Readers {
                let columns: &[_; #columns] = columns.try_into().expect(#wrong);
                (#(#types::reader(#texts, &columns[#places], rows),)*)
            }

            #[inline(always)]
            fn read(readers: &Self::Readers, row: usize) -> Self {
                Self { #(#idents: #types::read(&readers.#places, row)),* }
            }
        }
    })
}
