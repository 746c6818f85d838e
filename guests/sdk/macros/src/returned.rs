//! What a function returns, where that may be an `impl Iterator<Item = Row>`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{AngleBracketedGenericArguments, Error, GenericArgument, PathArguments, Result, Type, TypeParamBound};

/// The type that a function returns.
pub(crate) struct Returned {
    /// A type of the same outputs that has a name: without `impl`.
    pub(crate) named: TokenStream,
    /// Where the iterator stands.
    place: Place,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Nowhere,
    Here,
    /// In an `Option`, a `Result`, or one in the other; so many of them.
    Within(usize),
}

impl Returned {
    /// `named` makes the type that stands for an iterator of rows, and `expected` says what may be returned.
    pub(crate) fn of(ty: &Type, named: fn(&Type) -> TokenStream, expected: &str) -> Result<Returned> {
        let wrong = |at: &dyn ToTokens| Error::new_spanned(at.to_token_stream(), expected);
        match ty {
            // What a macro by example makes of `$returned:ty`.
            Type::Group(group) => Returned::of(&group.elem, named, expected),
            Type::ImplTrait(opaque) => {
                let item = opaque.bounds.iter().find_map(item).ok_or_else(|| wrong(ty))?;
                Ok(Returned {
                    named: named(item),
                    place: Place::Here,
                })
            }
            Type::Path(path) if contains_impl(ty) => {
                let mut path = path.clone();
                let Some(last) = path.path.segments.last_mut() else {
                    return Err(wrong(ty));
                };
                let PathArguments::AngleBracketed(AngleBracketedGenericArguments { args, .. }) = &mut last.arguments
                else {
                    return Err(wrong(ty));
                };
                let within = last.ident == "Option" || last.ident == "Result";
                let (Some(GenericArgument::Type(first)), true) = (args.first_mut(), within) else {
                    return Err(wrong(ty));
                };
                let of = Returned::of(first, named, expected)?;
                *first = Type::Verbatim(of.named);
                Ok(Returned {
                    named: path.into_token_stream(),
                    place: match of.place {
                        Place::Within(times) => Place::Within(times + 1),
                        _ => Place::Within(1),
                    },
                })
            }
            _ if contains_impl(ty) => Err(wrong(ty)),
            _ => Ok(Returned {
                named: ty.into_token_stream(),
                place: Place::Nowhere,
            }),
        }
    }

    pub(crate) fn is_named(&self) -> bool {
        self.place == Place::Nowhere
    }

    /// A call of the function, where `map` makes of its iterator what stands for it.
    pub(crate) fn mapped(&self, call: &TokenStream, map: &TokenStream) -> TokenStream {
        match self.place {
            Place::Nowhere => call.clone(),
            Place::Here => quote!(#map(#call)),
            Place::Within(times) => {
                let map = (1..times).fold(quote!(#map), |map, _| quote!(|given| given.map(#map)));
                quote!((#call).map(#map))
            }
        }
    }
}

/// The `Row` of a bound `Iterator<Item = Row>`.
fn item(bound: &TypeParamBound) -> Option<&Type> {
    let TypeParamBound::Trait(bound) = bound else {
        return None;
    };
    let last = bound.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    let is_iterator = last.ident.to_string().ends_with("Iterator") && last.ident != "IntoIterator";
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(of) if is_iterator && of.ident == "Item" => Some(&of.ty),
        _ => None,
    })
}

fn contains_impl(ty: &Type) -> bool {
    fn any(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            proc_macro2::TokenTree::Ident(ident) => ident == "impl",
            proc_macro2::TokenTree::Group(group) => any(group.stream()),
            _ => false,
        })
    }
    any(ty.to_token_stream())
}
