//! `unnest`: a row of each element of a list, or of a JSON array. See [`crate::operator::unnest`].

use super::{
    Binder, BoundChange, BoundNode, BoundOperator, BoundOutput, Layout, Provenance, Reads, StepAt, StepKeys, field,
    list, physical::source_column,
};
use crate::{
    definition::{self, ColumnMap, ColumnPlace, Name, NamedType, Spanned},
    error::Result,
    model::column::{ColumnType, ElementType, Field, Schema},
    plan::{At, OperatorPlan, SourceColumn, StateForm},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Its keys in the file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Unnest {
    /// The column whose elements become rows: a list, or JSON that is an array.
    column: Name,
    /// The column that holds the element.
    #[serde(rename = "as")]
    element: Option<Name>,
    /// Of JSON: the type of the elements, where they are scalars; `json`, when absent.
    #[serde(rename = "type")]
    element_type: Option<Spanned<NamedType>>,
    /// In place of `as`, of JSON: the columns that are read from the elements, which are objects.
    columns: Option<ColumnMap<definition::SourceColumn>>,
    /// The column that holds the place of the element in its array, from 1.
    ordinal: Option<Name>,
    /// Whether a row without elements goes on as one row, in which what would come from an element is null.
    #[serde(default)]
    keep_empty: bool,
}

/// What is made of an element, by the names of its columns.
enum BoundElement {
    /// One column: of a list, or of JSON.
    Value {
        column: definition::SourceColumn,
        of_list: bool,
    },
    /// Columns of an object.
    Fields(Vec<definition::SourceColumn>),
}

impl StepKeys for Unnest {
    fn bind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode> {
        let (name, input) = (step.name(), step.input(binder)?);
        let whose = binder.port_name(input);
        let source = binder.output(input)?;
        let index = binder.column(&source.schema, &self.column, &whose)?;
        let column_type = source
            .schema
            .get(index)
            .map_or(ColumnType::Json, |field| field.column_type);
        let column = self.column.get_ref();
        if !matches!(column_type, ColumnType::List(_) | ColumnType::Json) {
            let message = format!(
                "key `column`: column \"{column}\" is {column_type}; accepted is a list, or json that is an array"
            );
            return Err(binder.at(&self.column, message));
        }
        let key = match &source.change {
            BoundChange::Append => None,
            BoundChange::Keyed(key) => Some(key.clone()),
        };
        if key.iter().flatten().flatten().any(|key| key == column) {
            let message = format!(
                "key `column`: \"{column}\" is in the key of the changelog that {whose} sends, and does not go on; accepted is a column \
                 that is not in the key"
            );
            return Err(binder.at(&self.column, message));
        }
        let (element, added) = self.element(step, binder, column_type)?;
        if key.is_some() && self.ordinal.is_none() {
            let message = format!(
                "step \"{name}\": {whose} sends a changelog, and rows of one array are told apart by their place in it; say what the \
                 column of the place is called, such as ordinal = \"line\""
            );
            return Err(binder.error(step.span(), message));
        }
        let (mut schema, mut origins) = (Schema::new(), Vec::new());
        for (at, (field, origin)) in source.schema.iter().zip(&source.origins).enumerate() {
            if at != index {
                schema.push(field.clone());
                origins.push(*origin);
            }
        }
        let ordinal = self.ordinal.as_ref().map(|ordinal| {
            let field = Field {
                name: ordinal.get_ref().clone(),
                column_type: ColumnType::Int,
                nullable: self.keep_empty,
            };
            (ordinal, field)
        });
        for (at, field) in added.into_iter().chain(ordinal) {
            binder.check_column_name(at)?;
            if schema.iter().any(|known| known.name == field.name) {
                let message = format!(
                    "step \"{name}\" adds column \"{}\", which is there already; there are {}",
                    field.name,
                    list(&schema)
                );
                return Err(binder.at(at, message));
            }
            origins.push((binder.nodes.next_id(), 0, schema.len()));
            schema.push(field);
        }
        let change = match key {
            None => BoundChange::Append,
            Some(key) => BoundChange::Keyed(key.map(|mut key| {
                key.extend(self.ordinal.iter().map(|ordinal| ordinal.get_ref().clone()));
                key
            })),
        };
        let output = BoundOutput {
            name: "out".to_owned(),
            schema,
            origins,
            change,
        };
        let unnest = BoundUnnest {
            written: self.written(column_type, &output.schema),
            column: column.clone(),
            element,
            ordinal: self.ordinal.as_ref().map(|ordinal| ordinal.get_ref().clone()),
            keep_empty: self.keep_empty,
        };
        Ok(step.bound(input, unnest, vec![output]))
    }
}

impl Unnest {
    /// What is made of an element of a column of this type, and the columns that it is.
    fn element<'k>(
        &'k self,
        step: &StepAt<'_>,
        binder: &Binder<'_>,
        column_type: ColumnType,
    ) -> Result<(BoundElement, Vec<(&'k Name, Field)>)> {
        let name = step.name();
        let of_list = match column_type {
            ColumnType::List(of) => Some(of),
            _ => None,
        };
        match (&self.element, &self.columns) {
            (Some(element), None) => {
                let given = self.element_type.as_ref();
                if let (Some(given), Some(of)) = (given, of_list) {
                    let message = format!(
                        "key `type` goes with a column of type json; an element of column \"{}\" is {}",
                        self.column.get_ref(),
                        of.column_type()
                    );
                    return Err(binder.error(given.span(), message));
                }
                let of = of_list.map(ElementType::column_type);
                let of = of.or(given.map(|given| given.get_ref().0)).unwrap_or(ColumnType::Json);
                let column = definition::SourceColumn {
                    column_type: of,
                    place: ColumnPlace::Payload(None),
                    format: None,
                    required: false,
                };
                if let Some(given) = given {
                    let is_scalar = of == ColumnType::Json || ElementType::of(of).is_some();
                    let reason = match super::reading(&column) {
                        Ok(_) if is_scalar => None,
                        Ok(_) => Some("accepted are the types of scalars, and json".to_owned()),
                        Err(_) => Some(format!(
                            "a value of {of} can be written in several ways; accepted is for example type = \"text\", or columns of elements \
                             that are objects, with a key `format`"
                        )),
                    };
                    if let Some(reason) = reason {
                        return Err(binder.error(given.span(), format!("key `type` is \"{of}\"; {reason}")));
                    }
                }
                let field = field(element, &column, true);
                let of_list = of_list.is_some();
                Ok((BoundElement::Value { column, of_list }, vec![(element, field)]))
            }
            (None, Some(columns)) => {
                if let Some(of) = of_list {
                    let message = format!(
                        "step \"{name}\": key `columns` goes with a column of type json, whose elements are objects; an element of column \
                         \"{}\" is {}, so say what it is called, such as as = \"item\"",
                        self.column.get_ref(),
                        of.column_type()
                    );
                    return Err(binder.error(step.span(), message));
                }
                if let Some(given) = &self.element_type {
                    let message = "key `type` goes with `as`; columns say their types themselves";
                    return Err(binder.error(given.span(), message));
                }
                if columns.0.is_empty() {
                    let message = format!(
                        "step \"{name}\": key `columns` is empty; name at least one column, such as {{ sku = \"text\" }}"
                    );
                    return Err(binder.error(step.span(), message));
                }
                binder.check_columns(&columns.0, false)?;
                let is_beside = |column: &definition::SourceColumn| !matches!(column.place, ColumnPlace::Payload(_));
                if let Some((at, _)) = columns.0.iter().find(|(_, column)| is_beside(column)) {
                    let text = at.get_ref();
                    let message = format!(
                        "column \"{text}\" has a key `from`, which goes with columns of a source: elements are no messages"
                    );
                    return Err(binder.at(at, message));
                }
                let fields = columns.0.iter().map(|(name, column)| {
                    let nullable = self.keep_empty || !column.required;
                    (name, field(name, column, nullable))
                });
                let fields = fields.collect();
                let columns = columns.0.iter().map(|(_, column)| column.clone());
                Ok((BoundElement::Fields(columns.collect()), fields))
            }
            (element, _) => {
                let found = if element.is_some() { "both" } else { "none" };
                let message = format!("step \"{name}\" has {found}; an unnest has exactly one of as and columns");
                Err(binder.error(step.span(), message))
            }
        }
    }

    /// All that decides which rows there are, as text. Databases hold it.
    fn written(&self, column_type: ColumnType, schema: &Schema) -> String {
        let of_element = match (&self.element, &self.columns) {
            (Some(element), _) => {
                let name = element.get_ref();
                let found = schema.iter().find(|field| field.name == *name);
                found.map_or_else(String::new, |field| format!(" as {name} ({})", field.column_type))
            }
            (None, columns) => {
                let columns = columns.iter().flat_map(|columns| &columns.0);
                let written = columns.map(|(name, column)| {
                    let path = match &column.place {
                        ColumnPlace::Payload(Some(path)) => format!(" from {path}"),
                        _ => String::new(),
                    };
                    let format = column.format.as_ref().map(|format| format!(" as {format}"));
                    let format = format.unwrap_or_default();
                    format!("{} ({}{format}){path}", name.get_ref(), column.column_type)
                });
                format!(" as {}", written.collect::<Vec<_>>().join(", "))
            }
        };
        let ordinal = self.ordinal.as_ref();
        let ordinal = ordinal.map(|ordinal| format!(" with place {}", ordinal.get_ref()));
        let (column, ordinal) = (self.column.get_ref(), ordinal.unwrap_or_default());
        let empty = if self.keep_empty { ", empty ones too" } else { "" };
        format!("unnest {column} ({column_type}){of_element}{ordinal}{empty}")
    }
}

/// The step, by the names of its columns.
struct BoundUnnest {
    column: String,
    element: BoundElement,
    ordinal: Option<String>,
    keep_empty: bool,
    written: String,
}

impl BoundUnnest {
    /// The columns of the output that come from the input.
    fn passed<'n>(&self, node: &'n BoundNode) -> impl Iterator<Item = &'n Field> {
        let added = match &self.element {
            BoundElement::Value { .. } => 1,
            BoundElement::Fields(columns) => columns.len(),
        } + usize::from(self.ordinal.is_some());
        let schema = node
            .outputs
            .first()
            .map(|output| output.schema.as_slice())
            .unwrap_or_default();
        schema.iter().take(schema.len().saturating_sub(added))
    }

    fn is_passed(&self, node: &BoundNode, column: &str) -> bool {
        self.passed(node).any(|field| field.name == column)
    }
}

impl BoundOperator for BoundUnnest {
    fn reads(&self, node: &BoundNode, read: &[BTreeSet<String>]) -> Reads {
        let passed = read.iter().flatten().filter(|name| self.is_passed(node, name));
        vec![(node.input, passed.chain([&self.column]).cloned().collect())]
    }

    fn keeps_state(&self) -> bool {
        false
    }

    fn provenance(&self, node: &BoundNode, column: &str) -> Provenance {
        match self.is_passed(node, column) {
            true => Provenance::copy(node.input, column),
            false => Provenance::New,
        }
    }

    fn plan(&self, layout: &Layout<'_>) -> Box<dyn OperatorPlan> {
        let node = layout.node;
        let schema = node
            .outputs
            .first()
            .map(|output| output.schema.as_slice())
            .unwrap_or_default();
        let fields = schema.iter().skip(self.passed(node).count());
        let of_element = |field: &Field, column: &definition::SourceColumn| {
            source_column(field, column, layout.is_held(0, &field.name))
        };
        let element = match &self.element {
            BoundElement::Value { column, of_list } => {
                let mut columns = fields.map(|field| of_element(field, column));
                match (columns.next(), of_list) {
                    (Some(column), true) => Element::OfList(column),
                    (Some(column), false) => Element::OfJson(column),
                    (None, _) => Element::Fields(Vec::new()),
                }
            }
            BoundElement::Fields(columns) => {
                let columns = fields.zip(columns).map(|(field, column)| of_element(field, column));
                Element::Fields(columns.collect())
            }
        };
        let passed = self.passed(node).map(|field| &field.name);
        Box::new(UnnestPlan {
            name: self.column.clone(),
            column: layout.index(node.input, &self.column),
            passed: layout.own(passed.filter(|name| layout.is_held(0, name))),
            element,
            has_ordinal: self.ordinal.as_ref().is_some_and(|ordinal| layout.is_held(0, ordinal)),
            keep_empty: self.keep_empty,
            undoes: layout.undoes(),
            written: self.written.clone(),
        })
    }
}

/// What is made of an element.
#[derive(Clone, Debug)]
pub enum Element {
    /// A column of the elements of a list.
    OfList(SourceColumn),
    /// A column of JSON, or of the scalars in it.
    OfJson(SourceColumn),
    /// Columns of the objects in JSON.
    Fields(Vec<SourceColumn>),
}

/// The output is columns of the input, then those of the element, then its place.
#[derive(Clone, Debug)]
pub struct UnnestPlan {
    /// What the column is called whose elements become rows.
    pub name: String,
    /// The column.
    pub column: usize,
    /// The columns that go on.
    pub passed: Vec<usize>,
    /// What is made of an element.
    pub element: Element,
    /// Whether somebody reads the place of the element.
    pub has_ordinal: bool,
    /// Whether a row without elements goes on.
    pub keep_empty: bool,
    /// Whether an operator's state or a table may have taken in an event before this step sees it.
    pub undoes: bool,
    /// All of it, as text.
    pub written: String,
}

impl OperatorPlan for UnnestPlan {
    fn keeps_state(&self) -> bool {
        false
    }

    fn unfolds(&self) -> bool {
        true
    }

    fn undoes(&self) -> bool {
        self.undoes
    }

    fn fingerprint(&self, _: At<'_>, _: StateForm) -> String {
        String::new()
    }

    fn describe(&self, _: At<'_>) -> String {
        self.written.clone()
    }
}
