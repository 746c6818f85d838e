//! What the derives share: fields, their names, doc comments, lifetimes.

use proc_macro2::{Ident, Span};
use syn::{Attribute, Data, DeriveInput, Error, Expr, Field, Fields, Lit, LitStr, Meta, Result};

/// The fields of a struct with named fields, or of one without any.
pub(crate) fn named_fields<'a>(item: &'a DeriveInput, derive: &str) -> Result<Vec<&'a Field>> {
    only_lifetimes(&item.generics, derive)?;
    match &item.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Ok(fields.named.iter().collect()),
            Fields::Unit => Ok(Vec::new()),
            Fields::Unnamed(_) => Err(Error::new_spanned(
                &data.fields,
                format!("`{derive}` needs named fields: a column has its field's name"),
            )),
        },
        _ => Err(Error::new_spanned(
            &item.ident,
            format!("`{derive}` is derived for a struct"),
        )),
    }
}

/// Refuses type parameters: the host has to know the columns.
pub(crate) fn only_lifetimes(generics: &syn::Generics, what: &str) -> Result<()> {
    match generics
        .params
        .iter()
        .find(|parameter| !matches!(parameter, syn::GenericParam::Lifetime(_)))
    {
        Some(parameter) => Err(Error::new_spanned(
            parameter,
            format!("`{what}` takes lifetimes and no other generics"),
        )),
        None => Ok(()),
    }
}

/// The name that an attribute such as `#[column("name")]` gives.
pub(crate) fn renamed(attributes: &[Attribute], attribute: &str) -> Result<Option<LitStr>> {
    let mut name = None;
    for found in attributes.iter().filter(|found| found.path().is_ident(attribute)) {
        let given: LitStr = found
            .parse_args()
            .map_err(|_| Error::new_spanned(found, format!("expected a name: `#[{attribute}(\"name\")]`")))?;
        if given.value().is_empty() {
            return Err(Error::new_spanned(given, "a name has at least one character"));
        }
        if name.replace(given).is_some() {
            return Err(Error::new_spanned(found, format!("a second `#[{attribute}(…)]`")));
        }
    }
    Ok(name)
}

/// A name with where it stands in the source.
#[derive(Clone)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Span,
}

impl Name {
    pub(crate) fn of_ident(ident: &Ident) -> Name {
        // A raw identifier (`r#type`) is a keyword's way to be a name.
        Name {
            text: ident.to_string().trim_start_matches("r#").to_owned(),
            span: ident.span(),
        }
    }

    pub(crate) fn of_literal(literal: &LitStr) -> Name {
        Name {
            text: literal.value(),
            span: literal.span(),
        }
    }

    /// What the attribute says, or else the field's own name.
    pub(crate) fn of_field(field: &Field, attribute: &str) -> Result<Name> {
        Ok(match renamed(&field.attrs, attribute)? {
            Some(literal) => Name::of_literal(&literal),
            None => Name::of_ident(ident(field)),
        })
    }
}

/// Refuses a name that comes twice.
pub(crate) fn unique<'a>(names: impl IntoIterator<Item = &'a Name>, what: &str) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    match names.into_iter().find(|name| !seen.insert(&name.text)) {
        Some(twice) => Err(Error::new(
            twice.span,
            format!("{what} `{}` is there twice", twice.text),
        )),
        None => Ok(()),
    }
}

/// A named field's identifier.
pub(crate) fn ident(field: &Field) -> &Ident {
    field.ident.as_ref().expect("the fields were checked to be named")
}

/// The doc comment, a line for each paragraph.
pub(crate) fn doc(attributes: &[Attribute]) -> String {
    let mut doc = String::new();
    for attribute in attributes {
        let Meta::NameValue(meta) = &attribute.meta else {
            continue;
        };
        let (true, Expr::Lit(value)) = (meta.path.is_ident("doc"), &meta.value) else {
            continue;
        };
        let Lit::Str(text) = &value.lit else { continue };
        for line in text.value().split('\n').map(str::trim) {
            match line {
                "" if doc.is_empty() || doc.ends_with('\n') => {}
                "" => doc.push('\n'),
                line if doc.is_empty() || doc.ends_with('\n') => doc.push_str(line),
                line => doc.extend([" ", line]),
            }
        }
    }
    doc.trim().to_owned()
}
