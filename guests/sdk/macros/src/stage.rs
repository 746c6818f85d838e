//! `#[stage]`.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, Result, ReturnType, Type};

use crate::columns::{doc, only_lifetimes};
use crate::returned::Returned;

pub(crate) fn expand(arguments: &TokenStream, item: &ItemFn) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "`#[stage]` takes no arguments"));
    }
    let signature = &item.sig;
    only_lifetimes(&signature.generics, "#[stage]")?;
    if let Some(asyncness) = &signature.asyncness {
        return Err(Error::new_spanned(
            asyncness,
            "a rule is a plain function: it waits for nothing",
        ));
    }
    if let syn::Safety::Unsafe(unsafety) = &signature.safety {
        return Err(Error::new_spanned(unsafety, "a rule is a safe function"));
    }

    let mut taken = Vec::new();
    for argument in &signature.inputs {
        match argument {
            FnArg::Typed(argument) => taken.push(&*argument.ty),
            FnArg::Receiver(this) => return Err(Error::new_spanned(this, "a rule is a free function")),
        }
    }
    let (input, second) = match taken[..] {
        [input] => (input, None),
        [input, second] => (input, Some(second)),
        [_, _, third, ..] => return Err(Error::new_spanned(third, SHAPE)),
        [] => return Err(Error::new_spanned(&signature.ident, SHAPE)),
    };
    let (argument, call) = match second {
        None => (quote!(()), quote!(rule(input))),
        Some(Type::Reference(reference)) if reference.mutability.is_none() => {
            (without_lifetimes(&reference.elem), quote!(rule(input, argument)))
        }
        Some(other) => {
            return Err(Error::new_spanned(
                other,
                "the second argument is a `&Context`, a `&Context<Settings>` or a `&Settings`",
            ));
        }
    };
    let returned = match &signature.output {
        ReturnType::Type(_, returned) => Returned::of(returned, of_iterator, RETURNED)?,
        ReturnType::Default => return Err(Error::new_spanned(&signature.ident, RETURNED)),
    };

    let function = &signature.ident;
    let text = doc(&item.attrs);
    let title = format!("`{function}` as a stage. {text}");
    let rule = quote_spanned!(function.span()=> Rule);
    let input = without_lifetimes(input);
    let verdict = without_lifetimes(&returned.named);
    let call = returned.mapped(&call, &quote!(::weir_guest::__private::Many));
    let given = if returned.is_named() {
        verdict.clone()
    } else {
        quote!(_)
    };
    // With the span of the argument's type, a type that is no context is reported there.
    let parameters = quote_spanned!(argument.span()=> <#argument as ::weir_guest::bounds::Argument>::Parameters);

    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, reason = "an event is made for the rule, which may take it apart")]
        #item

        #[doc = #title]
        pub struct #rule(::weir_guest::Context<#parameters>);

        #[automatically_derived]
        impl ::weir_guest::Stage for #rule {
            fn describe() -> ::weir_guest::abi::Description {
                ::weir_guest::__private::describe::<#input, #argument, #verdict>(
                    ::std::env!("CARGO_PKG_NAME"),
                    ::std::env!("CARGO_PKG_VERSION"),
                    #text,
                )
            }

            fn configure(
                parameters: ::std::vec::Vec<::weir_guest::abi::Parameter>,
            ) -> ::std::result::Result<Self, ::std::string::String> {
                ::weir_guest::__private::configure(parameters).map(Self)
            }

            fn process(&self, batch: &::weir_guest::abi::Batch) -> ::weir_guest::abi::Answer {
                let rule = #function;
                ::weir_guest::__private::process::<#input, #argument, #given>(batch, &self.0, |input, argument| #call)
            }
        }

        #[cfg(target_family = "wasm")]
        ::weir_guest::__export!(#rule);
    })
}

/// What stands for an `impl Iterator<Item = Row>` where a type has to have a name.
pub(crate) fn of_iterator(row: &Type) -> TokenStream {
    quote!(::weir_guest::__private::Many<::std::iter::Empty<#row>>)
}

/// The tokens of a type with `'_` for every lifetime, since the function's own are not known outside of it.
pub(crate) fn without_lifetimes(tokens: impl ToTokens) -> TokenStream {
    with_lifetimes(tokens, &quote!('_))
}

/// The tokens of a type with this one for every lifetime.
pub(crate) fn with_lifetimes(tokens: impl ToTokens, lifetime: &TokenStream) -> TokenStream {
    let name = lifetime.clone().into_iter().find_map(|token| match token {
        TokenTree::Ident(name) => Some(name),
        _ => None,
    });
    let mut after_tick = false;
    let replace = |token| match (token, &name) {
        (TokenTree::Ident(given), Some(name)) if after_tick => {
            after_tick = false;
            TokenTree::Ident(Ident::new(&name.to_string(), given.span()))
        }
        (TokenTree::Punct(punct), _) => {
            after_tick = punct.as_char() == '\'';
            TokenTree::Punct(punct)
        }
        (TokenTree::Group(group), _) => {
            let mut replaced = Group::new(group.delimiter(), with_lifetimes(group.stream(), lifetime));
            replaced.set_span(group.span());
            TokenTree::Group(replaced)
        }
        (other, _) => other,
    };
    tokens.into_token_stream().into_iter().map(replace).collect()
}

/// Whether it is a `Context`, by its name.
pub(crate) fn is_context(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    path.path.segments.last().is_some_and(|last| last.ident == "Context")
}

const SHAPE: &str = "a rule takes what it reads of an event and, if it needs them, a `&Context` or its parameters: \
                     `fn rule(order: Order, cx: &Context<Settings>) -> Option<Kept>`";

const RETURNED: &str = "a rule returns a struct that derives `Output`, an `Option`, `Vec` or array of it, an \
                        `impl Iterator<Item = Row>` of it, a type that derives `Outputs`, or a `Result` of any of these \
                        with `Reject`";
