//! `#[derive(State)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, Result};

use crate::columns::{Name, doc, ident, named_fields};

pub(crate) fn derive(item: &DeriveInput) -> Result<TokenStream> {
    let fields = named_fields(item, "State")?;
    if let Some(lifetime) = item.generics.lifetimes().next() {
        return Err(Error::new_spanned(
            lifetime,
            "a state owns what it holds: the rows that it came from are gone",
        ));
    }
    let this = &item.ident;
    let text = doc(&item.attrs);
    let idents: Vec<_> = fields.iter().map(|field| ident(field)).collect();
    let names = idents.iter().map(|ident| Name::of_ident(ident).text);
    // With the span of the field's type, a type that no state can hold is reported there.
    let types: Vec<_> = fields
        .iter()
        .map(|field| {
            let ty = &field.ty;
            quote_spanned!(field.ty.span()=> <#ty as ::weir_guest::State>)
        })
        .collect();

    Ok(quote! {
        #[automatically_derived]
        #[allow(unused_variables, reason = "there may be no fields")]
        impl ::weir_guest::State for #this {
            const DOC: &str = #text;
            const BYTES_MAX: ::std::option::Option<usize> =
                ::weir_guest::__private::bytes_max(&[#(#types::BYTES_MAX),*]);

            fn layout() -> ::std::string::String {
                let fields: &[(&str, ::std::string::String)] = &[#((#names, #types::layout())),*];
                let fields: ::std::vec::Vec<::std::string::String> =
                    fields.iter().map(|(name, layout)| ::std::format!("{name}: {layout}")).collect();
                ::std::format!("{{{}}}", fields.join(", "))
            }

            fn encode(&self, bytes: &mut ::std::vec::Vec<u8>) {
                #(#types::encode(&self.#idents, bytes);)*
            }

            fn encoded_bytes(&self) -> usize {
                0 #(+ #types::encoded_bytes(&self.#idents))*
            }

            fn decode(bytes: &mut &[u8]) -> ::std::option::Option<Self> {
                ::std::option::Option::Some(Self { #(#idents: #types::decode(bytes)?),* })
            }
        }
    })
}
