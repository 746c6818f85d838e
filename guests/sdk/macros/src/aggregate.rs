//! `#[aggregate]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Error, FnArg, ImplItem, ImplItemFn, ItemImpl, ReceiverKind, Result, ReturnType, Signature, Type};

use crate::columns::only_lifetimes;
use crate::decimal::{self, Computed};
use crate::stage::without_lifetimes;

pub(crate) fn expand(arguments: &TokenStream, item: &ItemImpl) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "`#[aggregate]` takes no arguments"));
    }
    if let Some((of, _)) = &item.trait_ {
        return Err(Error::new_spanned(
            of,
            "an aggregate is a state with methods of its own: `impl Severity { … }`",
        ));
    }
    if let Some(parameter) = item.generics.params.first() {
        return Err(Error::new_spanned(parameter, "an aggregate takes no generics"));
    }
    let state = &item.self_ty;
    let method = |name: &str, shape: Shape| {
        let named = item.items.iter().find_map(|item| match item {
            ImplItem::Fn(method) if method.sig.ident == name => Some(method),
            _ => None,
        });
        named.map(|method| Method::of(method, shape)).transpose()
    };
    let missing = |shape: Shape| Error::new_spanned(state, format!("an aggregate has a method `{}`", shape.expected()));
    let add = method("add", Shape::Row("add"))?.ok_or_else(|| missing(Shape::Row("add")))?;
    let retract = method("retract", Shape::Row("retract"))?;
    let merge = method("merge", Shape::Merge)?;
    let result = method("result", Shape::Result)?.ok_or_else(|| missing(Shape::Result))?;

    let row = without_lifetimes(add.taken);
    let returned = match &result.signature.output {
        ReturnType::Type(_, returned) => returned,
        ReturnType::Default => return Err(Error::new_spanned(&result.signature.ident, RETURNED)),
    };
    if quote!(#returned).to_string().contains(['&', '\'']) || matches!(**returned, Type::ImplTrait(_)) {
        return Err(Error::new_spanned(returned, RETURNED));
    }
    let column = Computed::of(returned, result.attributes)?;
    let all = [Some(&add), retract.as_ref(), merge.as_ref(), Some(&result)];
    let settings = all.into_iter().flatten().find_map(|method| method.settings);
    let settings = settings.map_or(quote!(()), without_lifetimes);

    let (retracts, merges) = (retract.is_some(), merge.is_some());
    let private = quote!(::weir_guest::__private::aggregate);
    let abi = quote!(::weir_guest::abi::aggregate);
    let rule = quote_spanned!(state.span()=> Rule);
    // With their own spans, types that do not fit are reported where they stand.
    let state_type = quote_spanned!(state.span()=> #state);
    let call = match result.settings {
        Some(_) => quote!(<#state>::result(state, settings)),
        None => quote!(<#state>::result(state)),
    };
    let result = column.owned(&call);
    let returned = column.ty;
    let merge = merge.map(|merge| {
        let call = merge.call(state);
        quote! {
            fn merge(
                state: &mut #state,
                taken: #state,
                settings: &#settings,
            ) -> ::std::result::Result<(), ::weir_guest::Reject> {
                #call
            }
        }
    });
    let closure = |method: &Method| {
        let call = method.call(state);
        quote!(|state: &mut #state, taken: #row, settings: &#settings| #call)
    };
    let add = closure(&add);
    let retract = match &retract {
        Some(retract) => closure(retract),
        None => quote!(#private::no_retract::<#state, #row, #settings>),
    };

    let mut item = item.clone();
    for item in &mut item.items {
        if let ImplItem::Fn(method) = item {
            method.attrs.retain(|attribute| !decimal::is_attribute(attribute));
        }
    }

    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, reason = "a row is made for the aggregate, which may take it apart")]
        #item

        /// The aggregate of this crate.
        pub struct #rule(#settings);

        const _: () = {
            /// Its methods, in a type of their own: they may speak of types that are not as public as the aggregate.
            struct Methods;

            #[automatically_derived]
            #[allow(unused_variables, reason = "a method may do without the parameters")]
            impl #private::Methods for Methods {
                type State = #state_type;
                type Parameters = #settings;
                type Result = #returned;

                fn result(state: &#state, settings: &#settings) -> #returned {
                    #result
                }

                #merge
            }

        #[automatically_derived]
        #[allow(unused_variables, reason = "a method may do without the parameters")]
        impl ::weir_guest::Aggregate for #rule {
            fn describe() -> #abi::Description {
                #private::describe::<Methods, #row>(
                    ::std::env!("CARGO_PKG_NAME"),
                    ::std::env!("CARGO_PKG_VERSION"),
                    (#retracts, #merges),
                )
            }

            fn configure(
                parameters: ::std::vec::Vec<::weir_guest::abi::Parameter>,
            ) -> ::std::result::Result<Self, ::std::string::String> {
                #private::configure(parameters).map(Self)
            }

            fn accumulate(
                &self,
                batch: &#abi::Batch,
            ) -> ::std::result::Result<#abi::Accumulated, #abi::Rejected> {
                #private::accumulate::<Methods, #row>(batch, &self.0, #add, #retract)
            }

            fn merge(
                &self,
                into: &#abi::States,
                from: &#abi::States,
            ) -> ::std::result::Result<#abi::States, #abi::Rejected> {
                #private::merge::<Methods>(into, from, &self.0)
            }

            fn results(
                &self,
                states: &#abi::States,
            ) -> ::std::result::Result<::weir_guest::abi::Column, #abi::Rejected> {
                #private::results::<Methods>(states, &self.0)
            }
        }
        };

        #[cfg(target_family = "wasm")]
        ::weir_guest::__export_aggregate!(#rule);
    })
}

/// What a method of an aggregate looks like.
#[derive(Clone, Copy)]
enum Shape {
    /// `add` or `retract`.
    Row(&'static str),
    Merge,
    Result,
}

impl Shape {
    fn expected(self) -> String {
        match self {
            Shape::Row(name) => format!("fn {name}(&mut self, row: Row, settings: &Settings)"),
            Shape::Merge => "fn merge(&mut self, other: Self, settings: &Settings)".to_owned(),
            Shape::Result => "fn result(&self, settings: &Settings) -> Option<f64>".to_owned(),
        }
    }
}

/// A method of an aggregate.
struct Method<'a> {
    attributes: &'a [Attribute],
    signature: &'a Signature,
    /// What it takes besides: a row, or the other state. `result` takes neither.
    taken: Option<&'a Type>,
    /// The type of the parameters, if it asks for them.
    settings: Option<&'a Type>,
}

impl<'a> Method<'a> {
    fn of(method: &'a ImplItemFn, shape: Shape) -> Result<Method<'a>> {
        let signature = &method.sig;
        let wrong = |at: &dyn quote::ToTokens| {
            let expected = shape.expected();
            Error::new_spanned(
                at.to_token_stream(),
                format!("expected `{expected}`, where `settings` may be left out"),
            )
        };
        only_lifetimes(&signature.generics, "#[aggregate]")?;
        if let Some(asyncness) = &signature.asyncness {
            return Err(Error::new_spanned(
                asyncness,
                "a method of an aggregate is a plain one: it waits for nothing",
            ));
        }
        if let syn::Safety::Unsafe(unsafety) = &signature.safety {
            return Err(Error::new_spanned(unsafety, "a method of an aggregate is a safe one"));
        }
        let mut arguments = signature.inputs.iter();
        let receiver = match arguments.next() {
            Some(FnArg::Receiver(receiver)) => receiver,
            Some(other) => return Err(wrong(other)),
            None => return Err(wrong(&signature.ident)),
        };
        let is_mutable = match &receiver.kind {
            ReceiverKind::Reference(_, _, mutability) => mutability.is_some(),
            _ => return Err(wrong(receiver)),
        };
        if is_mutable == matches!(shape, Shape::Result) {
            return Err(wrong(receiver));
        }
        let mut typed = arguments.filter_map(|argument| match argument {
            FnArg::Typed(argument) => Some(&*argument.ty),
            FnArg::Receiver(_) => None,
        });
        let taken = match shape {
            Shape::Result => None,
            _ => Some(typed.next().ok_or_else(|| wrong(&signature.ident))?),
        };
        let settings = match typed.next() {
            None => None,
            Some(Type::Reference(reference)) if reference.mutability.is_none() => Some(&*reference.elem),
            Some(other) => return Err(wrong(other)),
        };
        if let Some(more) = typed.next() {
            return Err(wrong(more));
        }
        Ok(Method {
            attributes: &method.attrs,
            signature,
            taken,
            settings,
        })
    }

    /// The call of `add`, `retract` or `merge` for `state`, `taken` and `settings`.
    fn call(&self, state: &Type) -> TokenStream {
        let name = &self.signature.ident;
        // With the span of what it returns, a type that it cannot return is reported there.
        let at = match &self.signature.output {
            ReturnType::Type(_, returned) => returned.span(),
            ReturnType::Default => name.span(),
        };
        let call = match self.settings {
            Some(_) => quote_spanned!(at=> <#state>::#name(state, taken, settings)),
            None => quote_spanned!(at=> <#state>::#name(state, taken)),
        };
        quote_spanned!(at=> ::weir_guest::bounds::Applied::applied(#call))
    }
}

const RETURNED: &str = "the result of an aggregate is a value of its own that a column can hold: an `i64`, `f64`, \
                        `bool`, `String` or another `Computed` type, or an `Option` of one of them";
