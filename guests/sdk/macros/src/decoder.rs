//! `#[decoder]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, Result, ReturnType, Type};

use crate::columns::{doc, only_lifetimes};
use crate::returned::Returned;
use crate::stage::{is_context, of_iterator, without_lifetimes};

pub(crate) fn expand(arguments: &TokenStream, item: &ItemFn) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "`#[decoder]` takes no arguments"));
    }
    let signature = &item.sig;
    only_lifetimes(&signature.generics, "#[decoder]")?;
    if let Some(asyncness) = &signature.asyncness {
        return Err(Error::new_spanned(
            asyncness,
            "a decoder is a plain function: it waits for nothing",
        ));
    }
    if let syn::Safety::Unsafe(unsafety) = &signature.safety {
        return Err(Error::new_spanned(unsafety, "a decoder is a safe function"));
    }

    let mut taken = Vec::new();
    for argument in &signature.inputs {
        match argument {
            FnArg::Typed(argument) => taken.push(&*argument.ty),
            FnArg::Receiver(this) => return Err(Error::new_spanned(this, "a decoder is a free function")),
        }
    }
    let (message, second) = match taken[..] {
        [message] => (message, None),
        [message, second] => (message, Some(second)),
        [_, _, third, ..] => return Err(Error::new_spanned(third, SHAPE)),
        [] => return Err(Error::new_spanned(&signature.ident, SHAPE)),
    };
    let (settings, call) = match second {
        None => (quote!(()), quote!(decoder(message))),
        Some(Type::Reference(reference)) if reference.mutability.is_none() && !is_context(&reference.elem) => {
            (without_lifetimes(&reference.elem), quote!(decoder(message, settings)))
        }
        Some(other) => return Err(Error::new_spanned(other, SETTINGS)),
    };
    let returned_at = match &signature.output {
        ReturnType::Type(_, returned) => returned,
        ReturnType::Default => return Err(Error::new_spanned(&signature.ident, RETURNED)),
    };
    let returned = Returned::of(returned_at, of_iterator, RETURNED)?;

    let function = &signature.ident;
    let text = doc(&item.attrs);
    let title = format!("`{function}` as a decoder. {text}");
    let rule = quote_spanned!(function.span()=> Rule);
    let message = without_lifetimes(message);
    // With their own spans, types that do not fit are reported where they stand.
    let verdict = without_lifetimes(&returned.named);
    let verdict = quote_spanned!(returned_at.span()=> #verdict);
    let settings = quote_spanned!(settings.span()=> #settings);
    let call = returned.mapped(&call, &quote!(::weir_guest::__private::Many));
    let given = if returned.is_named() {
        verdict.clone()
    } else {
        quote!(_)
    };
    let computes = quote_spanned! {returned_at.span()=>
        <<#verdict as ::weir_guest::bounds::Verdict>::Outputs as ::weir_guest::Outputs>::COMPUTES
    };
    let assert = quote_spanned!(returned_at.span()=> ::std::assert!(#computes, #PASSES));
    let private = quote!(::weir_guest::__private::decoder);
    let abi = quote!(::weir_guest::abi::decoder);

    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, reason = "a message is the decoder's, which may take it apart")]
        #item

        #[doc = #title]
        pub struct #rule(#settings);

        const _: () = #assert;

        #[automatically_derived]
        impl ::weir_guest::Decoder for #rule {
            fn describe() -> #abi::Description {
                #private::describe::<#message, #settings, #verdict>(
                    ::std::env!("CARGO_PKG_NAME"),
                    ::std::env!("CARGO_PKG_VERSION"),
                    #text,
                )
            }

            fn configure(
                parameters: ::std::vec::Vec<::weir_guest::abi::Parameter>,
            ) -> ::std::result::Result<Self, ::std::string::String> {
                #private::configure(parameters).map(Self)
            }

            fn decode(&self, batch: &#abi::Batch) -> #abi::Answer {
                let decoder = #function;
                #private::decode::<#message, #settings, #given>(batch, &self.0, |message, settings| #call)
            }
        }

        #[cfg(target_family = "wasm")]
        ::weir_guest::__export_decoder!(#rule);
    })
}

const SHAPE: &str = "a decoder takes the payload as a `&[u8]` or a `&str`, or a `Message<'_>`, and, if it needs them, its \
                     parameters: `fn decode(message: Message<'_>, settings: &Settings) -> Result<Row, Reject>`";

const SETTINGS: &str = "the second argument is a `&Settings`, which derives `Parameters`: a decoder knows no \"now\"";

const RETURNED: &str = "a decoder returns a struct that derives `Output`, an `Option`, `Vec` or array of it, an \
                        `impl Iterator<Item = Row>` of it, or a `Result` of any of these with `Reject`";

const PASSES: &str = "a decoder reads its columns from the payload: there is none that could go through (`#[pass(…)]`)";
