//! From text to statements.
//!
//! The text is cut into tokens once; semicolons cut the tokens into statements. Statements that are PostgreSQL's own (transactions, settings, COPY,
//! VACUUM, EXPLAIN's options) are read here by hand, everything else by sqlparser. Every token keeps its place, so that an error points at it.
//!
//! Before anything recursive runs, the tokens are measured: depth of parentheses and length of operator chains are bounded, because
//! a tree of expressions is as deep as they are.

use std::sync::Arc;

use colonnade_types::SqlState;
use sqlparser::ast;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::copy::{CopyOptionValue, CopySource, CopyStatement, CopyTarget};
use crate::error::{Error, Result};
use crate::explain::ExplainOptions;
use crate::statement::{
    Body, IsolationLevel, MaintenanceCommand, SettingCommand, Statement, TransactionCommand, TransactionModes,
};

/// Greatest depth of a statement: nested parentheses plus operators in a row.
const DEPTH_MAX: usize = 2_000;
/// Greatest depth of nested parentheses.
const PARENTHESES_MAX: usize = 200;
/// Recursion that sqlparser may use.
const RECURSION_LIMIT: usize = 600;

/// Parses a text into its statements; empty ones are left out.
pub(crate) fn parse(sql: &str, bytes_max: usize) -> Result<Vec<Statement>> {
    if sql.len() > bytes_max {
        return Err(Error::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("statement is too large: {} bytes, at most {bytes_max} are allowed", sql.len()),
        ));
    }
    if sql.contains('\0') {
        return Err(Error::new(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        ));
    }
    let source: Arc<str> = sql.into();
    let places = Places::new(&source);
    let tokens = tokens(sql, &places)?;
    let mut statements = Vec::new();
    for slice in tokens.split(|token| token.token == Token::SemiColon) {
        if slice.is_empty() {
            continue;
        }
        check_depth(slice)?;
        statements
            .push(on_large_stack(|| Cursor { source: &source, places: &places, tokens: slice, next: 0 }.statement())?);
    }
    Ok(statements)
}

/// Cuts the text into tokens; blanks and comments are left out.
fn tokens(sql: &str, places: &Places<'_>) -> Result<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| tokenizer_error(&error, places))?;
    Ok(tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF)).collect())
}

/// Parses one expression, as definitions keep them.
pub(crate) fn parse_expression(sql: &str) -> Result<ast::Expr> {
    parse_part(sql, |parser| parser.parse_expr())
}

/// Parses one query, as views keep them.
pub(crate) fn parse_query(sql: &str) -> Result<Box<ast::Query>> {
    parse_part(sql, |parser| parser.parse_query())
}

/// Parses one statement that sqlparser knows.
pub(crate) fn parse_plain(sql: &str) -> Result<ast::Statement> {
    parse_part(sql, |parser| parser.parse_statement())
}

fn parse_part<T>(sql: &str, part: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>) -> Result<T> {
    let source: Arc<str> = sql.into();
    let places = Places::new(&source);
    let tokens = tokens(sql, &places)?;
    check_depth(&tokens)?;
    on_large_stack(|| {
        let cursor = Cursor { source: &source, places: &places, tokens: &tokens, next: 0 };
        cursor.with_parser(&tokens, part)
    })
}

/// Runs a recursive step where the stack is large.
pub(crate) fn on_large_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(4 << 20, 64 << 20, work)
}

/// Where characters are, by line and column.
struct Places<'a> {
    text: &'a str,
    /// Byte offset of the start of each line, and the characters before it.
    lines: Vec<(usize, usize)>,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Places<'a> {
        let mut lines = vec![(0, 0)];
        for (characters, (offset, c)) in text.char_indices().enumerate() {
            if c == '\n' {
                lines.push((offset + 1, characters + 1));
            }
        }
        Places { text, lines }
    }

    /// Byte offset and characters before a location; the end of the text for an unknown one.
    fn find(&self, location: Location) -> (usize, usize) {
        let end = || (self.text.len(), self.text.chars().count());
        let line = usize::try_from(location.line).unwrap_or(0);
        let column = usize::try_from(location.column).unwrap_or(0);
        let Some((start, before)) = line.checked_sub(1).and_then(|line| self.lines.get(line)).copied() else {
            return end();
        };
        let column = column.saturating_sub(1);
        match self.text.get(start..).unwrap_or_default().char_indices().nth(column) {
            Some((offset, _)) => (start + offset, before + column),
            None => end(),
        }
    }
}

fn check_depth(tokens: &[TokenWithSpan]) -> Result<()> {
    let too_deep = || {
        Error::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
            .with_detail("The statement's expressions are nested too deeply.")
    };
    // Operators since the last comma or clause, on each level of parentheses.
    let mut levels = vec![0_usize];
    let mut total = 0_usize;
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => {
                levels.push(0);
                if levels.len() > PARENTHESES_MAX {
                    return Err(too_deep());
                }
            }
            Token::RParen | Token::RBracket => {
                total -= levels.pop().unwrap_or(0).min(total);
                if levels.is_empty() {
                    levels.push(0);
                }
            }
            Token::Comma => {
                if let Some(level) = levels.last_mut() {
                    total -= (*level).min(total);
                    *level = 0;
                }
            }
            Token::Word(word) => {
                if matches!(
                    word.keyword,
                    Keyword::AND
                        | Keyword::OR
                        | Keyword::NOT
                        | Keyword::CASE
                        | Keyword::JOIN
                        | Keyword::UNION
                        | Keyword::EXCEPT
                        | Keyword::INTERSECT
                        | Keyword::LIKE
                        | Keyword::IS
                        | Keyword::EXPLAIN
                ) && let Some(level) = levels.last_mut()
                {
                    *level += 1;
                    total += 1;
                }
            }
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Period | Token::Placeholder(_) => {}
            _ => {
                if let Some(level) = levels.last_mut() {
                    *level += 1;
                    total += 1;
                }
            }
        }
        if total + levels.len() > DEPTH_MAX {
            return Err(too_deep());
        }
    }
    Ok(())
}

fn tokenizer_error(error: &sqlparser::tokenizer::TokenizerError, places: &Places<'_>) -> Error {
    let (offset, characters) = places.find(error.location);
    let rest = places.text.get(offset..).unwrap_or_default();
    let what = match error.message.to_ascii_lowercase() {
        m if m.contains("dollar") => "unterminated dollar-quoted string",
        m if m.contains("comment") => "unterminated /* comment",
        m if m.contains("delimiter") || m.contains("expected close") => "unterminated quoted identifier",
        m if m.contains("string") || m.contains("literal") => "unterminated quoted string",
        _ => "syntax error",
    };
    let message =
        if rest.is_empty() { format!("{what} at end of input") } else { format!("{what} at or near \"{rest}\"") };
    Error::new(SqlState::SYNTAX_ERROR, message).with_position(characters + 1)
}

/// Reads one statement's tokens.
struct Cursor<'a> {
    source: &'a Arc<str>,
    places: &'a Places<'a>,
    tokens: &'a [TokenWithSpan],
    next: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next).map(|token| &token.token)
    }

    fn advance(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.next).map(|token| &token.token);
        self.next += usize::from(token.is_some());
        token
    }

    fn word_at(&self, index: usize) -> Option<String> {
        match self.tokens.get(index).map(|token| &token.token) {
            Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.value.to_ascii_lowercase()),
            _ => None,
        }
    }

    fn peek_word(&self) -> Option<String> {
        self.word_at(self.next)
    }

    /// Takes the word if it comes next.
    fn take(&mut self, word: &str) -> bool {
        let found = self.peek_word().is_some_and(|next| next == word);
        self.next += usize::from(found);
        found
    }

    /// Takes all of the words if they come next, else none.
    fn take_all(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(i, word)| self.word_at(self.next + i).is_some_and(|w| w == *word));
        if found {
            self.next += words.len();
        }
        found
    }

    fn take_token(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        if self.take(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.take_token(token) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn end(&self) -> Result<()> {
        if self.next >= self.tokens.len() { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> Error {
        self.unexpected_at(self.next)
    }

    fn unexpected_at(&self, index: usize) -> Error {
        match self.tokens.get(index) {
            Some(token) => {
                let (start, characters) = self.places.find(token.span.start);
                let (end, _) = self.places.find(token.span.end);
                let text = self.source.get(start..end.max(start)).unwrap_or_default();
                Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{text}\""))
                    .with_position(characters + 1)
            }
            None => {
                let end = self.tokens.last().map_or(0, |token| self.places.find(token.span.end).1);
                // A semicolon after the statement is what PostgreSQL names.
                let rest = self.tokens.last().map_or(0, |token| self.places.find(token.span.end).0);
                let rest = self.source.get(rest..).unwrap_or_default();
                if let Some(skipped) = rest.find(|c: char| !c.is_whitespace()).filter(|i| rest[*i..].starts_with(';')) {
                    return Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \";\"")
                        .with_position(end + rest[..skipped].chars().count() + 1);
                }
                Error::new(SqlState::SYNTAX_ERROR, "syntax error at end of input").with_position(end + 1)
            }
        }
    }

    /// Turns sqlparser's complaint into PostgreSQL's, by the place that it names.
    fn parser_error(&self, error: &ParserError, stopped_at: usize, tokens: &[TokenWithSpan]) -> Error {
        let message = match error {
            ParserError::RecursionLimitExceeded => {
                return Error::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded");
            }
            ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
        };
        if message.contains("found: EOF") {
            return self.unexpected_at(self.tokens.len());
        }
        let here = |location: Location| {
            self.tokens.iter().position(|token| token.span.start == location).unwrap_or(self.tokens.len())
        };
        match location_of(message) {
            Some(location) => self.unexpected_at(here(location)),
            None => match tokens.get(stopped_at) {
                Some(token) => self.unexpected_at(here(token.span.start)),
                None => self.unexpected_at(self.tokens.len()),
            },
        }
    }

    /// Lets sqlparser read all of `tokens`.
    fn with_parser<T>(
        &self,
        tokens: &[TokenWithSpan],
        part: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T> {
        let dialect = PostgreSqlDialect {};
        let locking = crate::locking::clause::rewrite(tokens);
        let tokens = locking.as_deref().unwrap_or(tokens);
        let mut parser =
            Parser::new(&dialect).with_recursion_limit(RECURSION_LIMIT).with_tokens_with_locations(tokens.to_vec());
        let parsed = part(&mut parser);
        let index = parser.index();
        match parsed {
            Ok(parsed) if index >= tokens.len() => Ok(parsed),
            Ok(_) => {
                let place = tokens.get(index).map(|token| token.span.start);
                let place = self.tokens.iter().position(|token| Some(token.span.start) == place);
                Err(self.unexpected_at(place.unwrap_or(self.tokens.len())))
            }
            Err(error) => Err(self.parser_error(&error, index, tokens)),
        }
    }

    fn statement(mut self) -> Result<Statement> {
        let start = self.tokens.first().map_or(0, |token| self.places.find(token.span.start).0);
        let end = self.tokens.last().map_or(0, |token| self.places.find(token.span.end).0);
        let body = self.body()?;
        Ok(Statement::new(Arc::clone(self.source), start..end.max(start), body))
    }

    fn body(&mut self) -> Result<Body> {
        let first = self.peek_word().unwrap_or_default();
        match first.as_str() {
            "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => {
                self.next += 1;
                let command = self.transaction(&first)?;
                self.end()?;
                Ok(Body::Transaction(command))
            }
            "set" | "reset" | "show" | "discard" => {
                self.next += 1;
                let command = self.setting(&first)?;
                self.end()?;
                Ok(Body::Setting(command))
            }
            "vacuum" | "analyze" | "analyse" | "checkpoint" | "compact" => {
                self.next += 1;
                let command = self.maintenance(&first)?;
                self.end()?;
                Ok(Body::Maintenance(command))
            }
            "copy" => {
                self.next += 1;
                let copy = self.copy()?;
                self.end()?;
                Ok(Body::Copy(copy))
            }
            "explain" => {
                self.next += 1;
                self.explain()
            }
            "prepare" if self.word_at(self.next + 1).is_none_or(|word| word != "transaction") => {
                self.next += 1;
                self.prepare()
            }
            "execute" => {
                self.next += 1;
                self.execute()
            }
            "deallocate" => {
                self.next += 1;
                let _ = self.take("prepare");
                let name = if self.take("all") { None } else { Some(self.name()?) };
                self.end()?;
                Ok(Body::Deallocate { name })
            }
            "declare" | "fetch" | "move" | "close" => {
                Err(Error::unsupported("cursors").with_hint("Use a portal of the extended protocol."))
            }
            "listen" | "notify" | "unlisten" | "merge" | "do" | "call" | "grant" | "revoke" | "cluster" | "reindex"
            | "refresh" => Err(Error::unsupported(first.to_ascii_uppercase())),
            "insert" => self.insert(),
            "alter" | "comment" => self.extended(),
            "create" => self.create(),
            _ => {
                let statement = self.with_parser(self.tokens, |parser| parser.parse_statement())?;
                Ok(Body::Sql(Box::new(statement)))
            }
        }
    }

    /// sqlparser does not know the names of columns in CREATE TABLE t (a, b) AS: they are cut out and put back.
    fn create(&mut self) -> Result<Body> {
        let count = self.tokens.len();
        let ends = |words: &[&str]| {
            count > words.len()
                && words.iter().enumerate().all(|(i, w)| self.word_at(count - words.len() + i).is_some_and(|x| x == *w))
        };
        let cut = if ends(&["with", "no", "data"]) {
            3
        } else if ends(&["with", "data"]) {
            2
        } else {
            0
        };
        if cut > 0 {
            let tokens = &self.tokens[..count - cut];
            let mut inner = Cursor { source: self.source, places: self.places, tokens, next: 0 };
            let mut body = inner.create()?;
            if let (Body::Sql(statement), 3) = (&mut body, cut)
                && let ast::Statement::CreateTable(ast::CreateTable { query: Some(query), .. }) = statement.as_mut()
            {
                query.limit_clause = Some(no_rows());
            }
            return Ok(body);
        }
        let table = (0..self.tokens.len().min(8)).find(|&i| self.word_at(i).is_some_and(|word| word == "table"));
        let open = table.and_then(|table| (table..self.tokens.len()).find(|&i| self.tokens[i].token == Token::LParen));
        if let Some(open) = open {
            let close = (open..self.tokens.len()).find(|&i| self.tokens[i].token == Token::RParen);
            let names = close.filter(|close| {
                self.word_at(close + 1).is_some_and(|word| word == "as" || word == "with")
                    && self.tokens[open + 1..*close].iter().enumerate().all(|(i, token)| match &token.token {
                        Token::Word(_) => i % 2 == 0,
                        Token::Comma => i % 2 == 1,
                        _ => false,
                    })
            });
            if let Some(close) = names {
                self.next = open + 1;
                let idents = self.ident_list()?;
                let mut tokens = self.tokens.to_vec();
                tokens.drain(open..=close);
                let mut statement = self.with_parser(&tokens, |parser| parser.parse_statement())?;
                if let ast::Statement::CreateTable(create) = &mut statement {
                    create.columns = idents
                        .into_iter()
                        .map(|name| ast::ColumnDef { name, data_type: ast::DataType::Unspecified, options: Vec::new() })
                        .collect();
                }
                return Ok(Body::Sql(Box::new(statement)));
            }
        }
        let statement = self.with_parser(self.tokens, |parser| parser.parse_statement())?;
        Ok(Body::Sql(Box::new(statement)))
    }

    /// Statements that have forms beyond what sqlparser reads.
    fn extended(&mut self) -> Result<Body> {
        let dialect = PostgreSqlDialect {};
        let mut parser = Parser::new(&dialect)
            .with_recursion_limit(RECURSION_LIMIT)
            .with_tokens_with_locations(self.tokens.to_vec());
        let parsed = crate::ddl::extended::parse(&mut parser);
        let index = parser.index();
        match parsed {
            Ok(Some(statement)) if index >= self.tokens.len() => Ok(Body::Extended(statement)),
            Ok(Some(_)) => Err(self.unexpected_at(index)),
            Ok(None) => {
                let statement = self.with_parser(self.tokens, |parser| parser.parse_statement())?;
                Ok(Body::Sql(Box::new(statement)))
            }
            Err(error) => Err(self.parser_error(&error, index, self.tokens)),
        }
    }

    /// sqlparser does not know OVERRIDING: it is cut out and kept among the statement's settings.
    fn insert(&mut self) -> Result<Body> {
        let found = (0..self.tokens.len()).find(|&i| {
            self.word_at(i).is_some_and(|w| w == "overriding")
                && self.word_at(i + 1).is_some_and(|w| w == "system" || w == "user")
                && self.word_at(i + 2).is_some_and(|w| w == "value")
        });
        let Some(place) = found else {
            let statement = self.with_parser(self.tokens, |parser| parser.parse_statement())?;
            return Ok(Body::Sql(Box::new(statement)));
        };
        let which = self.word_at(place + 1).unwrap_or_default();
        let mut tokens = self.tokens.to_vec();
        tokens.drain(place..place + 3);
        let mut statement = self.with_parser(&tokens, |parser| parser.parse_statement())?;
        if let ast::Statement::Insert(insert) = &mut statement {
            insert.settings = Some(vec![ast::Setting {
                key: ast::Ident::new(format!("overriding_{which}")),
                value: ast::Expr::Value(ast::Value::Boolean(true).into()),
            }]);
        }
        Ok(Body::Sql(Box::new(statement)))
    }

    /// A statement made of the tokens from here on.
    fn rest(&mut self) -> Result<Statement> {
        let tokens = &self.tokens[self.next..];
        if tokens.is_empty() {
            return Err(self.unexpected());
        }
        self.next = self.tokens.len();
        Cursor { source: self.source, places: self.places, tokens, next: 0 }.statement()
    }

    fn name(&mut self) -> Result<String> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.next += 1;
                Ok(match word.quote_style {
                    Some(_) => word.value.clone(),
                    None => word.value.to_lowercase(),
                })
            }
            _ => Err(self.unexpected()),
        }
    }

    fn ident(&mut self) -> Result<ast::Ident> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let span = self.tokens[self.next].span;
                self.next += 1;
                Ok(ast::Ident { value: word.value.clone(), quote_style: word.quote_style, span })
            }
            _ => Err(self.unexpected()),
        }
    }

    fn object_name(&mut self) -> Result<ast::ObjectName> {
        let mut parts = vec![self.ident()?];
        while self.take_token(&Token::Period) {
            parts.push(self.ident()?);
        }
        Ok(ast::ObjectName::from(parts))
    }

    fn transaction(&mut self, first: &str) -> Result<TransactionCommand> {
        match first {
            "begin" => {
                let _ = self.take("work") || self.take("transaction");
                Ok(TransactionCommand::Begin { modes: self.modes()?, start: false })
            }
            "start" => {
                self.expect("transaction")?;
                Ok(TransactionCommand::Begin { modes: self.modes()?, start: true })
            }
            "commit" | "end" => {
                if self.peek_word().is_some_and(|word| word == "prepared") {
                    return Err(Error::unsupported("COMMIT PREPARED"));
                }
                let _ = self.take("work") || self.take("transaction");
                Ok(TransactionCommand::Commit { chain: self.chain()? })
            }
            "rollback" | "abort" => {
                if self.peek_word().is_some_and(|word| word == "prepared") {
                    return Err(Error::unsupported("ROLLBACK PREPARED"));
                }
                let _ = self.take("work") || self.take("transaction");
                if self.take("to") {
                    let _ = self.take("savepoint");
                    return Ok(TransactionCommand::RollbackTo(self.name()?));
                }
                Ok(TransactionCommand::Rollback { chain: self.chain()? })
            }
            "savepoint" => Ok(TransactionCommand::Savepoint(self.name()?)),
            _ => {
                let _ = self.take("savepoint");
                Ok(TransactionCommand::Release(self.name()?))
            }
        }
    }

    fn chain(&mut self) -> Result<bool> {
        if !self.take("and") {
            return Ok(false);
        }
        let no = self.take("no");
        self.expect("chain")?;
        Ok(!no)
    }

    fn modes(&mut self) -> Result<TransactionModes> {
        let mut modes = TransactionModes::default();
        loop {
            if self.take_all(&["isolation", "level"]) {
                modes.isolation = Some(if self.take("serializable") {
                    IsolationLevel::Serializable
                } else if self.take_all(&["repeatable", "read"]) {
                    IsolationLevel::RepeatableRead
                } else if self.take_all(&["read", "committed"]) {
                    IsolationLevel::ReadCommitted
                } else if self.take_all(&["read", "uncommitted"]) {
                    IsolationLevel::ReadUncommitted
                } else {
                    return Err(self.unexpected());
                });
            } else if self.take_all(&["read", "only"]) {
                modes.read_only = Some(true);
            } else if self.take_all(&["read", "write"]) {
                modes.read_only = Some(false);
            } else if self.take_all(&["not", "deferrable"]) || self.take("deferrable") {
                // Our snapshots never wait, so that both mean the same.
            } else if self.next >= self.tokens.len() {
                return Ok(modes);
            } else {
                return Err(self.unexpected());
            }
            let _ = self.take_token(&Token::Comma);
        }
    }

    fn setting(&mut self, first: &str) -> Result<SettingCommand> {
        match first {
            "set" => self.set(),
            "reset" => {
                if self.take("all") {
                    return Ok(SettingCommand::Reset(None));
                }
                Ok(SettingCommand::Reset(Some(self.setting_name()?)))
            }
            "show" => {
                if self.take("all") {
                    return Ok(SettingCommand::Show(None));
                }
                Ok(SettingCommand::Show(Some(self.setting_name()?)))
            }
            _ => {
                let what = self.name()?;
                match what.as_str() {
                    "all" | "plans" | "sequences" | "temp" | "temporary" => Ok(SettingCommand::Discard(what)),
                    _ => Err(self.unexpected_at(self.next - 1)),
                }
            }
        }
    }

    fn setting_name(&mut self) -> Result<String> {
        if self.take_all(&["time", "zone"]) {
            return Ok("TimeZone".to_owned());
        }
        if self.take_all(&["transaction", "isolation", "level"]) {
            return Ok("transaction_isolation".to_owned());
        }
        if self.take_all(&["session", "authorization"]) {
            return Ok("session_authorization".to_owned());
        }
        let mut name = self.name()?;
        while self.take_token(&Token::Period) {
            name = format!("{name}.{}", self.name()?);
        }
        Ok(name)
    }

    fn set(&mut self) -> Result<SettingCommand> {
        if self.take("transaction") {
            return Ok(SettingCommand::Transaction(self.modes()?));
        }
        if self.take_all(&["session", "characteristics", "as", "transaction"]) {
            return Ok(SettingCommand::Characteristics(self.modes()?));
        }
        if self.take("constraints") {
            self.next = self.tokens.len();
            return Ok(SettingCommand::Set { name: "constraint_exclusion.all".to_owned(), values: None, local: true });
        }
        let local = self.take("local");
        if !local && self.peek_word().is_some_and(|w| w == "session") && self.word_at(self.next + 1).is_some() {
            let _ = self.word_at(self.next + 1).is_some_and(|w| w != "authorization") && self.take("session");
        }
        let special = if self.take_all(&["time", "zone"]) {
            Some("TimeZone")
        } else if self.take("names") {
            Some("client_encoding")
        } else if self.peek_word().is_some_and(|word| word == "schema") && self.tokens.len() == self.next + 2 {
            self.next += 1;
            Some("search_path")
        } else if self.peek_word().is_some_and(|word| word == "role") || self.take_all(&["session", "authorization"]) {
            return Err(Error::unsupported("changing the role of a session"));
        } else {
            None
        };
        let name = match special {
            Some(name) => name.to_owned(),
            None => {
                let name = self.setting_name()?;
                if !self.take_token(&Token::Eq) {
                    self.expect("to")?;
                }
                name
            }
        };
        if self.take("default") || (special == Some("client_encoding") && self.next >= self.tokens.len()) {
            return Ok(SettingCommand::Set { name, values: None, local });
        }
        if name == "TimeZone" && self.take("interval") {
            let Some(Token::SingleQuotedString(text)) = self.advance() else { return Err(self.unexpected()) };
            self.next = self.tokens.len();
            return Ok(SettingCommand::Set { name, values: Some(vec![text.clone()]), local });
        }
        let mut values = vec![self.setting_value()?];
        while self.take_token(&Token::Comma) {
            values.push(self.setting_value()?);
        }
        Ok(SettingCommand::Set { name, values: Some(values), local })
    }

    fn setting_value(&mut self) -> Result<String> {
        let sign = if self.take_token(&Token::Minus) {
            "-"
        } else {
            let _ = self.take_token(&Token::Plus);
            ""
        };
        match self.advance() {
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) if sign.is_empty() => {
                Ok(text.clone())
            }
            Some(Token::Number(number, _)) => {
                // A unit may follow without a space: 5s, 10MB.
                let unit = match (self.tokens.get(self.next - 1), self.tokens.get(self.next)) {
                    (Some(number), Some(unit)) if number.span.end == unit.span.start => match &unit.token {
                        Token::Word(word) => word.value.clone(),
                        _ => String::new(),
                    },
                    _ => String::new(),
                };
                self.next += usize::from(!unit.is_empty());
                Ok(format!("{sign}{number}{unit}"))
            }
            Some(Token::Word(word)) if sign.is_empty() => {
                let mut value = match word.quote_style {
                    Some(_) => word.value.clone(),
                    None => word.value.to_lowercase(),
                };
                // Two-word values such as READ COMMITTED, and zones such as Europe/Berlin, come unquoted at times.
                while let Some(Token::Word(next)) = self.peek() {
                    value = format!("{value} {}", next.value.to_lowercase());
                    self.next += 1;
                }
                Ok(value)
            }
            _ => {
                self.next = self.next.saturating_sub(1);
                Err(self.unexpected())
            }
        }
    }

    fn maintenance(&mut self, first: &str) -> Result<MaintenanceCommand> {
        match first {
            "checkpoint" => return Ok(MaintenanceCommand::Checkpoint),
            "compact" => {
                self.expect("table")?;
                return Ok(MaintenanceCommand::Compact { table: self.object_name()? });
            }
            _ => {}
        }
        let is_vacuum = first == "vacuum";
        let mut full = false;
        if self.take_token(&Token::LParen) {
            full = self.vacuum_options(is_vacuum)?;
        } else if is_vacuum {
            full = self.take("full");
            self.take("freeze");
            self.take("verbose");
            let _ = self.take("analyze") || self.take("analyse");
        } else {
            self.take("verbose");
        }
        let mut tables = Vec::new();
        while self.next < self.tokens.len() {
            let table = self.object_name()?;
            let columns = if self.take_token(&Token::LParen) { self.ident_list()? } else { Vec::new() };
            tables.push((table, columns));
            if !self.take_token(&Token::Comma) {
                break;
            }
        }
        Ok(if is_vacuum { MaintenanceCommand::Vacuum { tables, full } } else { MaintenanceCommand::Analyze { tables } })
    }

    /// The options of VACUUM or ANALYZE in parentheses; returns whether FULL is among them. The others are about what does not exist here: pages to freeze,
    /// indexes to clean, workers to share with.
    fn vacuum_options(&mut self, is_vacuum: bool) -> Result<bool> {
        let mut full = false;
        loop {
            let name = self.name()?;
            let value = match self.peek() {
                Some(Token::Word(_)) => Some(self.name()?),
                Some(Token::Number(number, _)) => {
                    self.next += 1;
                    Some(number.clone())
                }
                _ => None,
            };
            let is_on = || match value.as_deref() {
                None | Some("on" | "true" | "1") => Ok(true),
                Some("off" | "false" | "0") => Ok(false),
                Some(_) => Err(Error::new(SqlState::SYNTAX_ERROR, format!("{name} requires a Boolean value"))),
            };
            match name.as_str() {
                "verbose" | "skip_locked" => _ = is_on()?,
                "full" if is_vacuum => full = is_on()?,
                "freeze" | "analyze" | "disable_page_skipping" | "process_toast" | "truncate" if is_vacuum => {
                    _ = is_on()?;
                }
                "index_cleanup" | "parallel" if is_vacuum => {}
                _ => {
                    let command = if is_vacuum { "VACUUM" } else { "ANALYZE" };
                    let message = format!("unrecognized {command} option \"{name}\"");
                    return Err(Error::new(SqlState::SYNTAX_ERROR, message));
                }
            }
            if !self.take_token(&Token::Comma) {
                break;
            }
        }
        self.expect_token(&Token::RParen)?;
        Ok(full)
    }

    /// Identifiers up to a closing parenthesis, which is taken too.
    fn ident_list(&mut self) -> Result<Vec<ast::Ident>> {
        let mut idents = vec![self.ident()?];
        while self.take_token(&Token::Comma) {
            idents.push(self.ident()?);
        }
        self.expect_token(&Token::RParen)?;
        Ok(idents)
    }

    fn explain(&mut self) -> Result<Body> {
        let mut options = ExplainOptions::default();
        if self.peek() == Some(&Token::LParen) && self.word_at(self.next + 1).is_some_and(|w| w != "select") {
            self.next += 1;
            loop {
                let name = self.name()?;
                let value = match self.peek() {
                    Some(Token::Word(_)) => self.name()?,
                    Some(Token::Number(number, _)) => {
                        self.next += 1;
                        number.clone()
                    }
                    _ => "on".to_owned(),
                };
                let on = !matches!(value.as_str(), "off" | "false" | "0");
                match name.as_str() {
                    "analyze" | "analyse" => options.analyze = on,
                    "verbose" => options.verbose = on,
                    "costs" | "settings" | "generic_plan" | "buffers" | "wal" | "timing" | "summary" | "memory"
                    | "serialize" => {}
                    "format" if value == "text" => {}
                    "format" => return Err(Error::unsupported(format!("EXPLAIN format {value}"))),
                    _ => {
                        return Err(Error::new(
                            SqlState::SYNTAX_ERROR,
                            format!("unrecognized EXPLAIN option \"{name}\""),
                        ));
                    }
                }
                if !self.take_token(&Token::Comma) {
                    break;
                }
            }
            self.expect_token(&Token::RParen)?;
        } else {
            options.analyze = self.take("analyze") || self.take("analyse");
            options.verbose = self.take("verbose");
        }
        Ok(Body::Explain { options, statement: self.rest()? })
    }

    fn prepare(&mut self) -> Result<Body> {
        let name = self.name()?;
        let mut types = Vec::new();
        if self.take_token(&Token::LParen) {
            let start = self.next;
            let mut depth = 1;
            while depth > 0 {
                match self.advance() {
                    Some(Token::LParen) => depth += 1,
                    Some(Token::RParen) => depth -= 1,
                    Some(_) => {}
                    None => return Err(self.unexpected()),
                }
            }
            let inner = &self.tokens[start..self.next - 1];
            types = self.with_parser(inner, |parser| parser.parse_comma_separated(Parser::parse_data_type))?;
        }
        self.expect("as")?;
        Ok(Body::Prepare { name, types, statement: self.rest()? })
    }

    fn execute(&mut self) -> Result<Body> {
        let name = self.name()?;
        let mut arguments = Vec::new();
        if self.next < self.tokens.len() {
            if self.peek() != Some(&Token::LParen) || self.tokens.last().map(|t| &t.token) != Some(&Token::RParen) {
                return Err(self.unexpected());
            }
            let inner = &self.tokens[self.next + 1..self.tokens.len() - 1];
            arguments = self.with_parser(inner, |parser| parser.parse_comma_separated(Parser::parse_expr))?;
            self.next = self.tokens.len();
        }
        Ok(Body::Execute { name, arguments })
    }

    fn copy(&mut self) -> Result<CopyStatement> {
        let source = if self.take_token(&Token::LParen) {
            let start = self.next;
            let mut depth = 1;
            while depth > 0 {
                match self.advance() {
                    Some(Token::LParen) => depth += 1,
                    Some(Token::RParen) => depth -= 1,
                    Some(_) => {}
                    None => return Err(self.unexpected()),
                }
            }
            let query = self.with_parser(&self.tokens[start..self.next - 1], |parser| parser.parse_query())?;
            CopySource::Query(query)
        } else {
            let _ = self.take("binary");
            let name = self.object_name()?;
            let columns = if self.take_token(&Token::LParen) { self.ident_list()? } else { Vec::new() };
            CopySource::Table { name, columns }
        };
        let to = if self.take("to") {
            true
        } else {
            self.expect("from")?;
            false
        };
        if !to && matches!(source, CopySource::Query(_)) {
            return Err(self.unexpected_at(self.next - 1));
        }
        let target = match self.peek() {
            Some(Token::SingleQuotedString(path) | Token::EscapedStringLiteral(path)) => {
                self.next += 1;
                CopyTarget::File(path.clone())
            }
            _ if self.take("stdin") || self.take("stdout") => CopyTarget::Client,
            _ if self.take("program") => return Err(Error::unsupported("COPY with PROGRAM")),
            _ => return Err(self.unexpected()),
        };
        let with = self.take("with");
        let mut options = Vec::new();
        if self.take_token(&Token::LParen) {
            loop {
                let name = self.name()?;
                options.push((name, self.copy_option_value()?));
                if !self.take_token(&Token::Comma) {
                    break;
                }
            }
            self.expect_token(&Token::RParen)?;
        } else {
            self.copy_legacy_options(&mut options)?;
            if with && options.is_empty() {
                return Err(self.unexpected());
            }
        }
        if self.peek_word().is_some_and(|word| word == "where") {
            return Err(Error::unsupported("COPY FROM with WHERE"));
        }
        Ok(CopyStatement { source, to, target, options })
    }

    fn copy_option_value(&mut self) -> Result<CopyOptionValue> {
        match self.peek() {
            Some(Token::Mul) => {
                self.next += 1;
                Ok(CopyOptionValue::All)
            }
            Some(Token::LParen) => {
                self.next += 1;
                let idents = self.ident_list()?;
                Ok(CopyOptionValue::List(idents.iter().map(crate::names::fold).collect()))
            }
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => {
                self.next += 1;
                Ok(CopyOptionValue::Word(text.clone()))
            }
            Some(Token::Number(number, _)) => {
                self.next += 1;
                Ok(CopyOptionValue::Word(number.clone()))
            }
            Some(Token::Word(_)) => Ok(CopyOptionValue::Word(self.name()?)),
            _ => Ok(CopyOptionValue::None),
        }
    }

    /// The options as PostgreSQL 8 wrote them, which tools still do.
    fn copy_legacy_options(&mut self, options: &mut Vec<(String, CopyOptionValue)>) -> Result<()> {
        while let Some(word) = self.peek_word() {
            match word.as_str() {
                "binary" | "csv" => {
                    self.next += 1;
                    options.push(("format".to_owned(), CopyOptionValue::Word(word)));
                }
                "freeze" | "header" => {
                    self.next += 1;
                    options.push((word, CopyOptionValue::None));
                }
                "delimiter" | "delimiters" | "null" | "quote" | "escape" | "encoding" => {
                    self.next += 1;
                    let _ = self.take("as");
                    let value = self.copy_option_value()?;
                    options.push((word.trim_end_matches('s').to_owned(), value));
                }
                "force" => {
                    self.next += 1;
                    let name = if self.take("quote") {
                        "force_quote"
                    } else if self.take_all(&["not", "null"]) {
                        "force_not_null"
                    } else if self.take("null") {
                        "force_null"
                    } else {
                        return Err(self.unexpected());
                    };
                    let value = if self.take_token(&Token::Mul) {
                        CopyOptionValue::All
                    } else {
                        let mut names = vec![self.name()?];
                        while self.take_token(&Token::Comma) {
                            names.push(self.name()?);
                        }
                        CopyOptionValue::List(names)
                    };
                    options.push((name.to_owned(), value));
                }
                _ => return Err(self.unexpected()),
            }
        }
        Ok(())
    }
}

/// The limit that WITH NO DATA becomes; no client can write its long zero.
fn no_rows() -> ast::LimitClause {
    let zero = ast::Expr::Value(ast::Value::Number("0".to_owned(), true).into());
    ast::LimitClause::LimitOffset { limit: Some(zero), offset: None, limit_by: Vec::new() }
}

/// Whether the query of CREATE TABLE AS was said WITH NO DATA.
pub(crate) fn without_data(query: &ast::Query) -> bool {
    query.limit_clause.as_ref() == Some(&no_rows())
}

/// Reads ` at Line: 1, Column: 8` at the end of a message of sqlparser.
fn location_of(message: &str) -> Option<Location> {
    let (rest, column) = message.rsplit_once(", Column: ")?;
    let (_, line) = rest.rsplit_once("Line: ")?;
    Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::StatementKind;

    fn one(sql: &str) -> Statement {
        let mut statements = parse(sql, 1 << 20).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert_eq!(statements.len(), 1, "{sql}");
        statements.remove(0)
    }

    fn fails(sql: &str) -> (String, Option<usize>) {
        let error = parse(sql, 1 << 20).unwrap_err();
        assert_eq!(error.sql_state, SqlState::SYNTAX_ERROR, "{sql}");
        (error.message.clone(), error.position)
    }

    #[test]
    fn statements_keep_their_text() {
        let statements = parse("select 1; ;\n insert into t values ('a;b') ;", 1 << 20).unwrap();
        let texts: Vec<_> = statements.iter().map(Statement::text).collect();
        assert_eq!(texts, ["select 1", "insert into t values ('a;b')"]);
        assert!(parse(" ; -- nothing\n", 1 << 20).unwrap().is_empty());
    }

    #[test]
    fn syntax_errors_are_postgresqls_with_their_place() {
        assert_eq!(fails("selec 1"), ("syntax error at or near \"selec\"".to_owned(), Some(1)));
        assert_eq!(fails("select 1 frm t x"), ("syntax error at or near \"t\"".to_owned(), Some(14)));
        assert_eq!(fails("select ä, ) from t"), ("syntax error at or near \")\"".to_owned(), Some(11)));
        assert_eq!(fails("select * from"), ("syntax error at end of input".to_owned(), Some(14)));
        assert_eq!(fails("select 1;\nupdate t st a = 1").1, Some(23));
        assert!(fails("select 'abc").0.starts_with("unterminated quoted string"));
    }

    #[test]
    fn what_pgbench_sends_is_understood() {
        for sql in [
            "drop table if exists pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers",
            "create table pgbench_history(tid int,bid int,aid    int,delta int,mtime timestamp,filler char(22))",
            "create table pgbench_tellers(tid int not null,bid int,tbalance int,filler char(84)) with (fillfactor=100)",
            "truncate table pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers",
            "copy pgbench_accounts from stdin with (freeze on)",
            "vacuum analyze pgbench_branches",
            "alter table pgbench_branches add primary key (bid)",
            "UPDATE pgbench_accounts SET abalance = abalance + -2000 WHERE aid = 17",
            "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 2, 3, 4, CURRENT_TIMESTAMP)",
        ] {
            one(sql);
        }
    }

    #[test]
    fn settings_and_transactions_are_read_by_hand() {
        assert_eq!(
            one("start transaction isolation level repeatable read, read only").kind(),
            StatementKind::Transaction
        );
        assert_eq!(one("SET TIME ZONE 'Europe/Berlin'").kind(), StatementKind::Set);
        assert_eq!(one("set session characteristics as transaction read write").kind(), StatementKind::Set);
        assert_eq!(one("show transaction isolation level").kind(), StatementKind::Show);
        assert_eq!(one("explain (analyze, costs off) select 1").kind(), StatementKind::Explain);
        assert!(one("rollback to savepoint a").ends_transaction());
        let statement = one("set local work_mem = 10MB");
        let Body::Setting(SettingCommand::Set { name, values, local }) = statement.body() else { panic!("no SET") };
        assert_eq!((name.as_str(), values.clone(), *local), ("work_mem", Some(vec!["10MB".to_owned()]), true));
    }

    #[test]
    fn deep_statements_are_refused_before_they_are_parsed() {
        let deep = format!("select {}1{}", "(".repeat(5_000), ")".repeat(5_000));
        assert_eq!(parse(&deep, 1 << 20).unwrap_err().sql_state, SqlState::STATEMENT_TOO_COMPLEX);
        let long = format!("select 1{}", "+1".repeat(100_000));
        assert_eq!(parse(&long, 1 << 20).unwrap_err().sql_state, SqlState::STATEMENT_TOO_COMPLEX);
        let wide = format!("insert into t values {}", vec!["(1,-2)"; 20_000].join(","));
        one(&wide);
    }
}
