//! `#[derive(Parameters)]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, Expr, Field, Result};

use crate::columns::{Name, doc, ident, named_fields};

pub(crate) fn derive(item: &DeriveInput) -> Result<TokenStream> {
    let fields = named_fields(item, "Parameters")?;
    let this = &item.ident;
    let idents: Vec<_> = fields.iter().map(|field| ident(field)).collect();
    let names: Vec<_> = idents.iter().map(|ident| Name::of_ident(ident).text).collect();
    let docs = fields.iter().map(|field| doc(&field.attrs));
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let defaults = fields.iter().map(|field| default(field)).collect::<Result<Vec<_>>>()?;
    let specs = types
        .iter()
        .map(|ty| quote_spanned!(ty.span()=> ::weir_guest::__private::spec::<#ty>));
    let takes = types
        .iter()
        .map(|ty| quote_spanned!(ty.span()=> ::weir_guest::__private::take::<#ty>));
    let (impl_generics, type_generics, where_clause) = item.generics.split_for_impl();

    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::weir_guest::Parameters for #this #type_generics #where_clause {
            fn specs() -> ::std::vec::Vec<::weir_guest::abi::ParameterSpec> {
                ::std::vec![#(#specs(#names, #docs, #defaults)),*]
            }

            fn from_values(
                values: ::std::vec::Vec<::weir_guest::abi::Parameter>,
            ) -> ::std::result::Result<Self, ::std::string::String> {
                let mut values = ::std::iter::IntoIterator::into_iter(values);
                ::std::result::Result::Ok(Self { #(#idents: #takes(#names, &mut values)?),* })
            }
        }
    })
}

/// `#[default(0.85)]` as `Some(0.85)`. A list (`["a", "b"]`) goes by reference, so that it can be a constant.
fn default(field: &Field) -> Result<TokenStream> {
    let mut defaults = field
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("default"));
    let Some(attribute) = defaults.next() else {
        return Ok(quote!(::std::option::Option::None));
    };
    if let Some(second) = defaults.next() {
        return Err(Error::new_spanned(second, "a second `#[default(…)]`"));
    }
    let expected = "expected a value: `#[default(0.85)]`, `#[default(\"text\")]`, `#[default([])]`";
    let value: Expr = attribute
        .parse_args()
        .map_err(|_| Error::new_spanned(attribute, expected))?;
    let value = match value {
        Expr::Array(list) => quote_spanned!(list.span()=> &#list),
        value => value.into_token_stream(),
    };
    let ty = &field.ty;
    let literal = quote_spanned!(ty.span()=> ::weir_guest::__private::DefaultOf::<#ty>);
    Ok(quote!({
        let default: #literal = #value;
        ::std::option::Option::Some(default)
    }))
}
