//! `#[keyed]`.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ImplItem, ImplItemFn, ItemImpl, ReceiverKind, Result, ReturnType, Type, TypeReference};

use crate::columns::only_lifetimes;
use crate::returned::Returned;
use crate::stage::{is_context, with_lifetimes, without_lifetimes};

pub(crate) fn expand(arguments: &TokenStream, item: &ItemImpl) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "`#[keyed]` takes no arguments"));
    }
    if let Some((of, _)) = &item.trait_ {
        return Err(Error::new_spanned(
            of,
            "a keyed function is a state with methods of its own: `impl Card { … }`",
        ));
    }
    if let Some(parameter) = item.generics.params.first() {
        return Err(Error::new_spanned(parameter, "a keyed function takes no generics"));
    }
    let state = &item.self_ty;
    let method = |name: &str, takes_row: bool| {
        let named = item.items.iter().find_map(|item| match item {
            ImplItem::Fn(method) if method.sig.ident == name => Some(method),
            _ => None,
        });
        named.map(|method| Method::of(method, takes_row)).transpose()
    };
    let on_row = method("on_row", true)?
        .ok_or_else(|| Error::new_spanned(state, format!("a keyed function has a method `{ON_ROW}`")))?;
    let on_timer = method("on_timer", false)?;
    match (&on_row.timers, &on_timer) {
        (Some(timers), None) => {
            return Err(Error::new_spanned(
                timers,
                "a timer that is set here would do nothing: there is no method `on_timer`",
            ));
        }
        (None, Some(on_timer)) => {
            return Err(Error::new_spanned(
                on_timer.name,
                "this is never called: `on_row` sets no timer, for which it takes `timers: &mut Timers`",
            ));
        }
        _ => (),
    }

    let row_lifetime = quote!('__row);
    let row = with_lifetimes(on_row.row, &row_lifetime);
    let argument = on_row
        .argument
        .map_or(quote!(()), |argument| without_lifetimes(&argument.elem));
    let of_timer = on_timer.as_ref().and_then(|on_timer| on_timer.argument);
    let parameters = match (on_row.argument, of_timer) {
        (None, Some(settings)) => without_lifetimes(&settings.elem),
        // With the span of the argument's type, a type that is no context is reported there.
        _ => quote_spanned!(argument.span()=> <#argument as ::weir_guest::bounds::Argument>::Parameters),
    };
    // One that has no argument of its own takes the parameters of the other, and looks at none.
    let argument = match (on_row.argument, of_timer) {
        (None, Some(_)) => parameters.clone(),
        _ => argument,
    };
    let (reads_event_time, timers) = (on_row.time.is_some(), on_row.timers.is_some());
    let given = with_lifetimes(&on_row.returned.named, &row_lifetime);
    let given = quote_spanned!(on_row.returned_at.span()=> #given);
    let fired = on_timer.as_ref().map_or(given.clone(), |on_timer| {
        let fired = with_lifetimes(&on_timer.returned.named, &row_lifetime);
        quote_spanned!(on_timer.returned_at.span()=> #fired)
    });
    let on_row_call = on_row.call(state);
    let on_timer_call = match &on_timer {
        Some(on_timer) => on_timer.call(state),
        None => quote!(::std::panic!(
            "the host called for timers, which this function does not set"
        )),
    };
    let check_outputs = on_timer.as_ref().map(|on_timer| {
        let returned = &on_timer.returned_at;
        let (given, fired) = (
            without_lifetimes(&on_row.returned.named),
            without_lifetimes(&on_timer.returned.named),
        );
        let fired = quote_spanned!(returned.span()=> #fired);
        let same = quote_spanned!(returned.span()=> ::weir_guest::__private::keyed::same_outputs::<#given, #fired>);
        let computes = quote_spanned! {returned.span()=>
            <<#fired as ::weir_guest::bounds::Verdict>::Outputs as ::weir_guest::Outputs>::COMPUTES
        };
        let assert = quote_spanned!(returned.span()=> ::std::assert!(#computes, #PASSES));
        quote! {
            const _: () = #assert;
            const _: fn() = #same;
        }
    });
    let private = quote!(::weir_guest::__private::keyed);
    let abi = quote!(::weir_guest::abi::keyed);
    let rule = quote_spanned!(state.span()=> Rule);
    let state_type = quote_spanned!(state.span()=> #state);

    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, reason = "a row is made for the function, which may take it apart")]
        #item

        /// The keyed function of this crate.
        pub struct #rule(::weir_guest::Context<#parameters>);

        const _: () = {
            /// Its methods, in a type of their own: they may speak of types that are not as public as the function.
            struct Methods;

            #[automatically_derived]
            #[allow(unused_variables, reason = "a method may do without")]
            impl #private::Methods for Methods {
                type State = #state_type;
                type Parameters = #parameters;
                type Argument = #argument;
                type Row<#row_lifetime> = #row;
                type Given<#row_lifetime> = #given;
                type Fired<#row_lifetime> = #fired;

                const READS_EVENT_TIME: bool = #reads_event_time;
                const TIMERS: bool = #timers;

                #[inline(always)]
                fn on_row<#row_lifetime>(
                    state: &mut #state,
                    row: #row,
                    at: ::weir_guest::EventTime,
                    context: &#row_lifetime ::weir_guest::Context<#parameters>,
                    timers: &mut ::weir_guest::Timers,
                ) -> #given {
                    let argument = <#argument as ::weir_guest::bounds::Argument>::of(context);
                    #on_row_call
                }

                fn on_timer<#row_lifetime>(
                    state: &mut #state,
                    at: ::weir_guest::EventTime,
                    argument: &#row_lifetime #parameters,
                    timers: &mut ::weir_guest::Timers,
                ) -> #fired {
                    #on_timer_call
                }
            }

            #check_outputs

            #[automatically_derived]
            impl #rule {
                /// Drives the function in a test.
                #[allow(dead_code, reason = "tests alone drive it")]
                fn driver(parameters: #parameters) -> ::weir_guest::testing::Driver<Methods> {
                    ::weir_guest::testing::Driver::new(parameters)
                }
            }

            #[automatically_derived]
            impl ::weir_guest::Keyed for #rule {
                fn describe() -> #abi::Description {
                    #private::describe::<Methods>(::std::env!("CARGO_PKG_NAME"), ::std::env!("CARGO_PKG_VERSION"))
                }

                fn configure(
                    parameters: ::std::vec::Vec<::weir_guest::abi::Parameter>,
                ) -> ::std::result::Result<Self, ::std::string::String> {
                    ::weir_guest::__private::configure(parameters).map(Self)
                }

                fn process(
                    &self,
                    batch: &#abi::Batch,
                ) -> ::std::result::Result<#abi::Processed, #abi::Rejected> {
                    #private::process::<Methods>(batch, &self.0)
                }

                fn on_timers(&self, due: &#abi::Due) -> ::std::result::Result<#abi::Fired, #abi::Rejected> {
                    #private::on_timers::<Methods>(due, &self.0)
                }
            }
        };

        #[cfg(target_family = "wasm")]
        ::weir_guest::__export_keyed!(#rule);
    })
}

/// A method of a keyed function.
struct Method<'a> {
    name: &'a Ident,
    /// What it reads. `on_timer` reads nothing.
    row: Option<&'a Type>,
    /// The type of the event time, if it asks for one.
    time: Option<&'a Type>,
    /// The context or the parameters, if it asks for them.
    argument: Option<&'a TypeReference>,
    timers: Option<&'a Type>,
    returned_at: &'a Type,
    returned: Returned,
    /// What it is called with behind the state, in its order.
    passed: Vec<TokenStream>,
}

impl<'a> Method<'a> {
    fn of(method: &'a ImplItemFn, takes_row: bool) -> Result<Method<'a>> {
        let signature = &method.sig;
        let expected = if takes_row { ON_ROW } else { ON_TIMER };
        let wrong = |at: &dyn ToTokens| {
            let message = format!(
                "expected `{expected}`, where all behind {} may be left out",
                match takes_row {
                    true => "the row",
                    false => "`&mut self`",
                }
            );
            Error::new_spanned(at.to_token_stream(), message)
        };
        only_lifetimes(&signature.generics, "#[keyed]")?;
        if let Some(asyncness) = &signature.asyncness {
            return Err(Error::new_spanned(
                asyncness,
                "a method of a keyed function is a plain one: it waits for nothing",
            ));
        }
        if let syn::Safety::Unsafe(unsafety) = &signature.safety {
            return Err(Error::new_spanned(
                unsafety,
                "a method of a keyed function is a safe one",
            ));
        }
        let mut arguments = signature.inputs.iter();
        let receiver = match arguments.next() {
            Some(FnArg::Receiver(receiver)) => receiver,
            Some(other) => return Err(wrong(other)),
            None => return Err(wrong(&signature.ident)),
        };
        match &receiver.kind {
            ReceiverKind::Reference(_, Some(_), Some(_)) => return Err(Error::new_spanned(receiver, BORROWS)),
            ReceiverKind::Reference(_, None, Some(_)) => (),
            _ => return Err(wrong(receiver)),
        }
        let returned_at = match &signature.output {
            ReturnType::Type(_, returned) => &**returned,
            ReturnType::Default => return Err(Error::new_spanned(&signature.ident, RETURNED)),
        };
        if let Some(elided) = elided_lifetime(returned_at.to_token_stream()) {
            return Err(Error::new_spanned(elided, BORROWS));
        }
        let mut this = Method {
            name: &signature.ident,
            row: None,
            time: None,
            argument: None,
            timers: None,
            returned_at,
            returned: Returned::of(returned_at, |item| quote!(::std::vec::Vec<#item>), RETURNED)?,
            passed: Vec::new(),
        };
        for argument in arguments {
            let FnArg::Typed(argument) = argument else { continue };
            let ty = &*argument.ty;
            let (place, passed): (&mut Option<&Type>, _) = match ty {
                _ if takes_row && this.row.is_none() => (&mut this.row, quote!(row)),
                Type::Reference(reference) if reference.mutability.is_some() => (&mut this.timers, quote!(timers)),
                Type::Reference(reference) => {
                    if !takes_row && is_context(&reference.elem) {
                        return Err(Error::new_spanned(ty, NO_NOW));
                    }
                    if this.argument.replace(reference).is_some() {
                        return Err(wrong(ty));
                    }
                    this.passed.push(quote_spanned!(ty.span()=> argument));
                    continue;
                }
                _ => (
                    &mut this.time,
                    quote_spanned!(ty.span()=> <#ty as ::weir_guest::bounds::Time>::of(at)),
                ),
            };
            if place.replace(ty).is_some() {
                return Err(wrong(ty));
            }
            this.passed.push(passed);
        }
        if takes_row && this.row.is_none() {
            return Err(wrong(&signature.ident));
        }
        Ok(this)
    }

    fn call(&self, state: &Type) -> TokenStream {
        let (name, passed) = (self.name, &self.passed);
        let call = quote!(<#state>::#name(state, #(#passed),*));
        self.returned.mapped(&call, &quote!(::std::iter::Iterator::collect))
    }
}

/// A `'_`, or a `&` without a lifetime.
fn elided_lifetime(tokens: TokenStream) -> Option<TokenTree> {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let next = tokens.peek();
        let found = match &token {
            TokenTree::Group(group) => match elided_lifetime(group.stream()) {
                None => continue,
                found => return found,
            },
            TokenTree::Punct(punct) if punct.as_char() == '\'' => {
                matches!(next, Some(TokenTree::Ident(name)) if name == "_")
            }
            TokenTree::Punct(punct) if punct.as_char() == '&' => {
                !matches!(next, Some(TokenTree::Punct(next)) if next.as_char() == '\'')
            }
            _ => false,
        };
        if found {
            return Some(match token {
                // Of a lifetime the name is shown: its tick is no token of its own to the eye.
                TokenTree::Punct(punct) if punct.as_char() == '\'' => tokens.next().unwrap_or(TokenTree::Punct(punct)),
                token => token,
            });
        }
    }
    None
}

const ON_ROW: &str = "fn on_row(&mut self, row: Row, at: EventTime, cx: &Context<Settings>, timers: &mut Timers) -> \
                      Option<Given>";

const ON_TIMER: &str =
    "fn on_timer(&mut self, at: EventTime, settings: &Settings, timers: &mut Timers) -> Option<Given>";

const RETURNED: &str = "a method of a keyed function returns a struct that derives `Output`, an `Option`, `Vec` or array \
                        of it, an `impl Iterator<Item = Row>` of it, a type that derives `Outputs`, or a `Result` of any \
                        of these with `Reject`";

const BORROWS: &str = "what a keyed function gives may borrow from the row and from the parameters, not from the state: \
                       name the lifetime of the row, as in `fn on_row<'a>(&mut self, row: Row<'a>) -> Option<Given<'a>>`";

const NO_NOW: &str = "there is no \"now\" when a time has come: take `at: EventTime`, which is the time that came, and the \
                      parameters as `settings: &Settings`";

const PASSES: &str =
    "`on_timer` can give no row: in each output columns go through from a row (`#[pass(…)]`), and a timer has none";
