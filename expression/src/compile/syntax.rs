//! Parses texts, and refuses what is SQL but no part of an expression.

use super::{Parsed, ParsedSelected};
use sqlparser::{
    ast::{Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, Spanned, Statement, WildcardAdditionalOptions},
    dialect::PostgreSqlDialect,
    parser::Parser,
    tokenizer::{Location, Span, Token, Tokenizer},
};
use std::ops::Range;

/// The most bytes of a text.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The most tokens of a text. The parser makes a tree that is as deep as a chain of operators is long.
const TOKENS_MAX: usize = 4096;

/// How deep parentheses and calls may be nested.
const NESTING_MAX: usize = 50;

/// Where something is wrong, and what.
pub(super) type Fault = (Range<usize>, String);

/// Parses one expression.
pub(super) fn expression(text: &str) -> Result<Expr, Fault> {
    let mut parser = parser(text)?;
    let expression = parser
        .parse_expr()
        .map_err(|error| of_parser(text, &error.to_string()))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        let span = bytes_of(text, next.span);
        let message = match next.token.to_string().to_lowercase().as_str() {
            "from" | "group" | "order" | "where" | "join" | "limit" | "having" | "union" => {
                format!(
                    "{:?} is no part of an expression: write one expression, and a statement as `sql`",
                    next.token.to_string()
                )
            }
            "as" => "a column is named by its key: leave out \"as\" and what follows".to_owned(),
            other => format!("the expression ends before {other:?}: an operator is missing, or it is too much"),
        };
        return Err((span, message));
    }
    Ok(expression)
}

/// Parses a statement: `select …` with `where …` or without.
pub(super) fn statement(text: &str) -> Result<Parsed, Vec<Fault>> {
    let mut parser = parser(text).map_err(|fault| vec![fault])?;
    let statements = parser
        .parse_statements()
        .map_err(|error| vec![of_parser(text, &error.to_string())])?;
    let whole = 0..text.len();
    let [Statement::Query(query)] = statements.as_slice() else {
        return Err(vec![(
            whole,
            "one statement is accepted, of the form: select COLUMNS where CONDITION".to_owned(),
        )]);
    };
    let SetExpr::Select(select) = query.body.as_ref() else {
        return Err(vec![(
            whole,
            "union and its like are no part of a rule: use the step union".to_owned(),
        )]);
    };
    let refused = refused(text, query, select);
    if !refused.is_empty() {
        return Err(refused);
    }
    let (mut parsed, mut faults) = (
        Parsed {
            filter: select.selection.clone(),
            ..Parsed::default()
        },
        Vec::new(),
    );
    for item in &select.projection {
        match item {
            SelectItem::Wildcard(options)
                if *options
                    == WildcardAdditionalOptions {
                        wildcard_token: options.wildcard_token.clone(),
                        ..WildcardAdditionalOptions::default()
                    } =>
            {
                parsed.select.push(ParsedSelected::All);
            }
            SelectItem::ExprWithAlias { expr, alias } => parsed
                .select
                .push(ParsedSelected::Column(alias.value.clone(), Box::new(expr.clone()))),
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => {
                parsed.select.push(ParsedSelected::Column(
                    name.value.clone(),
                    Box::new(Expr::Identifier(name.clone())),
                ));
            }
            SelectItem::UnnamedExpr(expression) => {
                let message = format!("the column {:?} has no name: add `as NAME`", expression.to_string());
                faults.push((bytes_of(text, expression.span()), message));
            }
            other => faults.push((
                bytes_of(text, other.span()),
                format!("{:?} is not accepted: name columns, or `*` for all", other.to_string()),
            )),
        }
    }
    if faults.is_empty() { Ok(parsed) } else { Err(faults) }
}

/// What a statement has that a rule cannot do, each with the step that does it.
fn refused(text: &str, query: &Query, select: &Select) -> Vec<Fault> {
    let no_group =
        matches!(&select.group_by, GroupByExpr::Expressions(all, modifiers) if all.is_empty() && modifiers.is_empty());
    let from = select.from.first().map(|from| bytes_of(text, from.span()));
    let has_joins = select.from.len() > 1 || select.from.iter().any(|from| !from.joins.is_empty());
    let cases = [
        (has_joins, "join", "use the step lookup, temporal_join or interval_join"),
        (
            !select.from.is_empty() && !has_joins,
            "from",
            "leave it out, the rows are those of the step's input",
        ),
        (!no_group, "group by", "use the step aggregate or window"),
        (
            select.having.is_some(),
            "having",
            "use the step aggregate, and a rule behind it",
        ),
        (
            query.order_by.is_some(),
            "order by",
            "rows of a stream have their order; use the step top for the first of a group",
        ),
        (
            query.limit_clause.is_some() || query.fetch.is_some() || select.top.is_some(),
            "limit",
            "use the step top",
        ),
        (select.distinct.is_some(), "distinct", "use the step deduplicate"),
        (query.with.is_some(), "with", "make a step of each of its queries"),
        (
            select.qualify.is_some() || !select.named_window.is_empty(),
            "qualify or window",
            "use the step top, lag or an over window",
        ),
        (!select.lateral_views.is_empty(), "lateral view", "use the step unnest"),
        (select.into.is_some(), "into", "declare a sink"),
        (!query.pipe_operators.is_empty(), "|>", "make a step of each"),
        (
            !query.locks.is_empty() || query.for_clause.is_some(),
            "for",
            "leave it out",
        ),
    ];
    let found = cases.into_iter().filter(|(is_there, ..)| *is_there);
    let span = |word: &str| match word {
        "from" | "join" => from.clone().unwrap_or(0..text.len()),
        _ => text
            .to_lowercase()
            .find(word)
            .map_or(0..text.len(), |at| at..at + word.len()),
    };
    found
        .map(|(_, word, instead)| (span(word), format!("{word:?} is no part of a rule: {instead}")))
        .collect()
}

fn parser(text: &str) -> Result<Parser<'static>, Fault> {
    static DIALECT: PostgreSqlDialect = PostgreSqlDialect {};
    if text.len() > TEXT_BYTES_MAX {
        return Err((
            0..text.len(),
            format!(
                "the text has {} bytes, and at most {TEXT_BYTES_MAX} are accepted",
                text.len()
            ),
        ));
    }
    if text.trim().is_empty() {
        return Err((0..text.len(), "there is no expression: the text is empty".to_owned()));
    }
    let tokens = Tokenizer::new(&DIALECT, text)
        .tokenize_with_location()
        .map_err(|error| of_parser(text, &error.to_string()))?;
    let count = tokens
        .iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)))
        .count();
    if count > TOKENS_MAX {
        return Err((
            0..text.len(),
            format!("the text has {count} words and signs, and at most {TOKENS_MAX} are accepted"),
        ));
    }
    Ok(Parser::new(&DIALECT)
        .with_recursion_limit(NESTING_MAX)
        .with_tokens_with_locations(tokens))
}

/// The parser's own words, without what it says of lines, and the bytes that it says it of.
fn of_parser(text: &str, message: &str) -> Fault {
    let message = message.trim_start_matches("sql parser error: ");
    let (what, place) = message.rsplit_once(" at Line: ").unwrap_or((message, ""));
    let mut numbers = place
        .split(|char: char| !char.is_ascii_digit())
        .filter_map(|number| number.parse().ok());
    let span = match (numbers.next(), numbers.next()) {
        (Some(line), Some(column)) => {
            let start = Location { line, column };
            bytes_of(text, Span { start, end: start })
        }
        _ => 0..text.len(),
    };
    let mut what = what.trim_end_matches([',', ' ']).to_owned();
    if let Some(first) = what.get(..1) {
        what = first.to_lowercase() + what.get(1..).unwrap_or_default();
    }
    if what.contains("recursion") {
        what = format!("parentheses and calls are nested deeper than {NESTING_MAX}");
    }
    (span, format!("this is no SQL expression: {what}"))
}

/// The span of an expression.
pub(super) fn span_of(expression: &Expr) -> Span {
    expression.span()
}

/// The bytes of a span of lines and columns; the whole text where it is empty.
pub(super) fn bytes_of(text: &str, span: Span) -> Range<usize> {
    let Some(start) = byte_of(text, span.start) else {
        return 0..text.len();
    };
    let end = byte_of(text, span.end).unwrap_or(text.len());
    start
        ..end.max(
            start
                + text
                    .get(start..)
                    .and_then(|left| left.chars().next())
                    .map_or(0, char::len_utf8),
        )
}

fn byte_of(text: &str, location: Location) -> Option<usize> {
    let line = usize::try_from(location.line.checked_sub(1)?).ok()?;
    let column = usize::try_from(location.column.checked_sub(1)?).ok()?;
    let start = text.split_inclusive('\n').take(line).map(str::len).sum::<usize>();
    let rest = text.get(start..)?;
    Some(start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at))
}
