//! `#[decimal(18, 2)]`: the digits of a decimal that is computed.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::ParseStream;
use syn::spanned::Spanned;
use syn::{Attribute, Error, GenericArgument, LitInt, PathArguments, Result, Token, Type};

/// By the contract.
const PRECISION_MAX: u8 = 38;

/// A column that is computed of a field, or of what a method returns.
pub(crate) struct Computed {
    /// What is an `OutputField`.
    pub(crate) ty: TokenStream,
    /// Its digits, where it is another type than that of the field for having them.
    digits: Option<(u8, u8)>,
}

impl Computed {
    pub(crate) fn of(ty: &Type, attributes: &[Attribute]) -> Result<Computed> {
        let digits = digits(attributes)?;
        let ty = match digits {
            Some((precision, scale)) => quote_spanned! {ty.span()=>
                <#ty as ::weir_guest::bounds::DecimalField>::WithDigits<#precision, #scale>
            },
            None if is_decimal(ty) => return Err(Error::new_spanned(ty, WITHOUT_DIGITS)),
            None => quote_spanned!(ty.span()=> #ty),
        };
        Ok(Computed { ty, digits })
    }

    /// A reference to the value for the column, of a reference to the field.
    pub(crate) fn value(&self, field: &TokenStream) -> TokenStream {
        match self.digits {
            Some((precision, scale)) => {
                quote!(&::weir_guest::bounds::DecimalField::with_digits::<#precision, #scale>(#field))
            }
            None => quote!(#field),
        }
    }

    /// The value for the column, of the value that a method returns.
    pub(crate) fn owned(&self, returned: &TokenStream) -> TokenStream {
        match self.digits {
            Some((precision, scale)) => {
                quote!(::weir_guest::bounds::DecimalField::with_digits::<#precision, #scale>(&#returned))
            }
            None => quote!(#returned),
        }
    }
}

pub(crate) fn is_attribute(attribute: &Attribute) -> bool {
    attribute.path().is_ident("decimal")
}

/// Precision and scale.
fn digits(attributes: &[Attribute]) -> Result<Option<(u8, u8)>> {
    let mut found = None;
    for attribute in attributes.iter().filter(|attribute| is_attribute(attribute)) {
        let digits = attribute.parse_args_with(|tokens: ParseStream| {
            let precision: LitInt = tokens.parse()?;
            tokens.parse::<Token![,]>()?;
            let scale: LitInt = tokens.parse()?;
            tokens.parse::<Option<Token![,]>>()?;
            Ok((precision, scale))
        });
        let (precision, scale) = digits.map_err(|_| Error::new_spanned(attribute, EXPECTED))?;
        let within = |literal: &LitInt, least: u8, most: u8| match literal.base10_parse() {
            Ok(digits) if (least..=most).contains(&digits) => Ok(digits),
            _ => Err(Error::new_spanned(literal, EXPECTED)),
        };
        let precision = within(&precision, 1, PRECISION_MAX)?;
        let scale = within(&scale, 0, precision)?;
        if found.replace((precision, scale)).is_some() {
            return Err(Error::new_spanned(attribute, "a second `#[decimal(…)]`"));
        }
    }
    Ok(found)
}

/// Whether it is a `Decimal` or an `Option` of one, by its name.
fn is_decimal(ty: &Type) -> bool {
    let path = match ty {
        // What a macro by example makes of `$field:ty`.
        Type::Group(group) => return is_decimal(&group.elem),
        Type::Path(path) => path,
        _ => return false,
    };
    let Some(last) = path.path.segments.last() else {
        return false;
    };
    match &last.arguments {
        PathArguments::None => last.ident == "Decimal",
        PathArguments::AngleBracketed(of) if last.ident == "Option" => {
            matches!(of.args.first(), Some(GenericArgument::Type(of)) if is_decimal(of))
        }
        _ => false,
    }
}

const EXPECTED: &str = "expected the digits of the column, 1 to 38, and how many of them stand behind the point: \
                        `#[decimal(18, 2)]`";

const WITHOUT_DIGITS: &str = "a column of decimals has digits, and some of them behind the point: \
                              `#[decimal(18, 2)]` says how many";
