//! Statements that sqlparser does not read: ALTER SEQUENCE, SET SCHEMA, renames of views and sequences, COMMENT ON CONSTRAINT.

use colonnade_types::{Relation, SqlState};
use sqlparser::ast::{Ident, ObjectName, SequenceOptions};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::{alter, column, comment, naming, sequence, skipping};
use crate::ddl_context::DdlContext;
use crate::error::{Error, Result};
use crate::names::{ObjectPath, fold, undefined_relation};
use crate::outcome::CommandTag;

/// A statement of this file.
#[derive(Debug)]
pub(crate) enum Extended {
    /// ALTER TABLE | VIEW | SEQUENCE [IF EXISTS] name RENAME TO | SET SCHEMA | OWNER TO
    Alter { kind: &'static str, if_exists: bool, name: ObjectName, action: Action },
    /// ALTER SEQUENCE [IF EXISTS] name options
    AlterSequence { if_exists: bool, name: ObjectName, change: Box<SequenceChange> },
    /// COMMENT ON CONSTRAINT name ON table IS text
    CommentOnConstraint { constraint: Ident, table: ObjectName, text: Option<String> },
}

/// What is done to a relation of any kind.
#[derive(Debug)]
pub(crate) enum Action {
    Rename(Ident),
    SetSchema(Ident),
    OwnerTo(Ident),
}

/// The clauses of ALTER SEQUENCE.
#[derive(Debug, Default)]
pub(crate) struct SequenceChange {
    data_type: Option<sqlparser::ast::DataType>,
    options: Vec<SequenceOptions>,
    restart: Option<Option<sqlparser::ast::Expr>>,
    owned_by: Option<ObjectName>,
}

/// Reads a statement of this file; `None`, with nothing consumed, if it is none.
///
/// # Errors
/// For what begins like one and goes wrong.
pub(crate) fn parse(parser: &mut Parser<'_>) -> Result<Option<Extended>, ParserError> {
    if matches!(parser.peek_token().token, Token::Word(ref word) if word.keyword == Keyword::COMMENT) {
        return parser.maybe_parse(comment_on_constraint);
    }
    if let Some(found) = parser.maybe_parse(alter_any)? {
        return Ok(Some(found));
    }
    if parser.parse_keywords(&[Keyword::ALTER, Keyword::SEQUENCE]) {
        return alter_sequence(parser).map(Some);
    }
    Ok(None)
}

fn comment_on_constraint(parser: &mut Parser<'_>) -> Result<Extended, ParserError> {
    parser.expect_keywords(&[Keyword::COMMENT, Keyword::ON, Keyword::CONSTRAINT])?;
    let constraint = parser.parse_identifier()?;
    parser.expect_keyword(Keyword::ON)?;
    let table = parser.parse_object_name(false)?;
    parser.expect_keyword(Keyword::IS)?;
    let text = if parser.parse_keyword(Keyword::NULL) { None } else { Some(parser.parse_literal_string()?) };
    Ok(Extended::CommentOnConstraint { constraint, table, text })
}

fn alter_any(parser: &mut Parser<'_>) -> Result<Extended, ParserError> {
    parser.expect_keyword(Keyword::ALTER)?;
    let kind = match parser.expect_one_of_keywords(&[Keyword::TABLE, Keyword::VIEW, Keyword::SEQUENCE])? {
        Keyword::TABLE => "table",
        Keyword::VIEW => "view",
        _ => "sequence",
    };
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let name = parser.parse_object_name(false)?;
    let action = if parser.parse_keywords(&[Keyword::SET, Keyword::SCHEMA]) {
        Action::SetSchema(parser.parse_identifier()?)
    } else if kind != "table" && parser.parse_keywords(&[Keyword::RENAME, Keyword::TO]) {
        Action::Rename(parser.parse_identifier()?)
    } else if kind != "table" && parser.parse_keywords(&[Keyword::OWNER, Keyword::TO]) {
        Action::OwnerTo(parser.parse_identifier()?)
    } else {
        return parser.expected("another statement", parser.peek_token());
    };
    Ok(Extended::Alter { kind, if_exists, name, action })
}

fn alter_sequence(parser: &mut Parser<'_>) -> Result<Extended, ParserError> {
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let name = parser.parse_object_name(false)?;
    let mut change = SequenceChange::default();
    loop {
        if parser.parse_keyword(Keyword::AS) {
            change.data_type = Some(parser.parse_data_type()?);
        } else if parser.parse_keyword(Keyword::RESTART) {
            let with = parser.parse_keyword(Keyword::WITH);
            let number = with || matches!(parser.peek_token().token, Token::Number(..) | Token::Minus | Token::Plus);
            change.restart = Some(if number { Some(parser.parse_prefix()?) } else { None });
        } else if parser.parse_keyword(Keyword::INCREMENT) {
            let by = parser.parse_keyword(Keyword::BY);
            change.options.push(SequenceOptions::IncrementBy(parser.parse_prefix()?, by));
        } else if parser.parse_keyword(Keyword::MINVALUE) {
            change.options.push(SequenceOptions::MinValue(Some(parser.parse_prefix()?)));
        } else if parser.parse_keywords(&[Keyword::NO, Keyword::MINVALUE]) {
            change.options.push(SequenceOptions::MinValue(None));
        } else if parser.parse_keyword(Keyword::MAXVALUE) {
            change.options.push(SequenceOptions::MaxValue(Some(parser.parse_prefix()?)));
        } else if parser.parse_keywords(&[Keyword::NO, Keyword::MAXVALUE]) {
            change.options.push(SequenceOptions::MaxValue(None));
        } else if parser.parse_keyword(Keyword::START) {
            let with = parser.parse_keyword(Keyword::WITH);
            change.options.push(SequenceOptions::StartWith(parser.parse_prefix()?, with));
        } else if parser.parse_keyword(Keyword::CACHE) {
            change.options.push(SequenceOptions::Cache(parser.parse_prefix()?));
        } else if parser.parse_keyword(Keyword::CYCLE) {
            change.options.push(SequenceOptions::Cycle(false));
        } else if parser.parse_keywords(&[Keyword::NO, Keyword::CYCLE]) {
            change.options.push(SequenceOptions::Cycle(true));
        } else if parser.parse_keywords(&[Keyword::OWNED, Keyword::BY]) {
            change.owned_by = Some(parser.parse_object_name(false)?);
        } else {
            break;
        }
    }
    Ok(Extended::AlterSequence { if_exists, name, change: Box::new(change) })
}

/// Runs a statement of this file.
///
/// # Errors
/// What PostgreSQL says.
pub(crate) async fn execute(context: &mut DdlContext<'_>, statement: &Extended) -> Result<CommandTag> {
    match statement {
        Extended::AlterSequence { if_exists, name, change } => {
            let restart = match &change.restart {
                Some(Some(expr)) => Some(Some(sequence::integer(expr)?)),
                Some(None) => Some(None),
                None => None,
            };
            let path = ObjectPath::from_ast(name)?;
            let change = sequence::Change {
                data_type: change.data_type.as_ref().map(column::data_type).transpose()?,
                options: change.options.clone(),
                restart,
                owned_by: change.owned_by.clone(),
            };
            sequence::alter(context, &path, *if_exists, &change).await?;
            Ok(CommandTag::new("ALTER SEQUENCE"))
        }
        Extended::CommentOnConstraint { constraint, table, text } => {
            let table = ObjectPath::from_ast(table)?;
            comment::on_constraint(context, &fold(constraint), &table, text.as_deref())?;
            Ok(CommandTag::new("COMMENT"))
        }
        Extended::Alter { kind, if_exists, name, action } => {
            let tag = CommandTag::new(format!("ALTER {}", kind.to_uppercase()));
            // ALTER TABLE takes any relation, the others their own kind.
            let found = if *kind == "table" {
                super::drop::find_and_lock(context, &ObjectPath::from_ast(name)?).await?
            } else {
                alter::find(context, name, kind).await?
            };
            let Some(relation) = found else {
                let error = undefined_relation(&ObjectPath::from_ast(name)?);
                if *if_exists {
                    skipping(context, SqlState::SUCCESSFUL_COMPLETION, format!("{}, skipping", error.message));
                    return Ok(tag);
                }
                return Err(error);
            };
            match action {
                Action::Rename(to) => {
                    alter::rename(context, relation.oid(), naming::truncate(&fold(to))).await?;
                }
                Action::SetSchema(schema) => {
                    refuse_owned(context, &relation)?;
                    alter::set_schema(context, relation.oid(), &fold(schema)).await?;
                }
                Action::OwnerTo(owner) => {
                    let owner = alter::owner(context, &sqlparser::ast::Owner::Ident(owner.clone()))?;
                    alter::set_owner(context, relation.oid(), owner)?;
                }
            }
            Ok(tag)
        }
    }
}

/// A sequence that a column owns moves with its table only.
fn refuse_owned(context: &DdlContext<'_>, relation: &Relation) -> Result<()> {
    if let Relation::Sequence(sequence) = relation
        && let Some((table, _)) = sequence.owned_by
    {
        let catalog = context.transaction.catalog();
        let table = catalog.relation(table).map(|table| table.name().to_owned()).unwrap_or_default();
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "cannot move an owned sequence into another schema")
            .with_detail(format!("Sequence \"{}\" is linked to table \"{table}\".", sequence.name)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::PostgreSqlDialect;

    use super::*;

    fn parse_text(sql: &str) -> Option<Extended> {
        let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap();
        let found = parse(&mut parser).unwrap();
        assert!(found.is_none() || parser.peek_token().token == Token::EOF, "{sql}");
        found
    }

    #[test]
    fn statements_of_this_file_are_told_from_others() {
        assert!(matches!(
            parse_text("ALTER SEQUENCE s RESTART WITH -5 INCREMENT BY 2 NO MAXVALUE OWNED BY t.a"),
            Some(Extended::AlterSequence { .. })
        ));
        assert!(matches!(
            parse_text("ALTER TABLE IF EXISTS a.b SET SCHEMA c"),
            Some(Extended::Alter { kind: "table", if_exists: true, action: Action::SetSchema(_), .. })
        ));
        assert!(matches!(parse_text("ALTER VIEW v RENAME TO w"), Some(Extended::Alter { kind: "view", .. })));
        assert!(matches!(
            parse_text("COMMENT ON CONSTRAINT c ON t IS 'why'"),
            Some(Extended::CommentOnConstraint { .. })
        ));
        assert!(parse_text("ALTER TABLE t ADD COLUMN a int").is_none());
        assert!(parse_text("COMMENT ON TABLE t IS 'x'").is_none());
    }
}
