//! The locking clause: `FOR strength [OF relations] [NOWAIT | SKIP LOCKED]`.
//!
//! sqlparser knows neither NO KEY UPDATE nor KEY SHARE, nor several relations, nor a LIMIT behind the clause. So the clause's tokens are rewritten before it
//! reads them, to `FOR UPDATE OF "<mark>strength"."relation"...`, behind LIMIT; and are read back from the syntax tree here.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use colonnade_storage::RowLockMode;
use colonnade_types::SqlState;
use datafusion::execution::SessionState;
use sqlparser::ast::{self, Visit as _, Visitor};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Error, Result};
use crate::names::fold;

/// What no client can write.
const MARK: char = '\u{1}';
/// In place of a relation that was named with its schema.
const QUALIFIED: &str = "\u{1}qualified";

/// What is done about rows that others hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    /// Waited for.
    Block,
    /// Left out.
    Skip,
    /// An error.
    Fail,
}

/// How a relation's rows are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Locking {
    pub(crate) mode: RowLockMode,
    pub(crate) wait: Wait,
}

impl Locking {
    /// Both of them.
    fn and(self, other: Locking) -> Locking {
        Locking { mode: self.mode.max(other.mode), wait: self.wait.max(other.wait) }
    }

    /// The strength as it is written.
    pub(crate) fn words(self) -> &'static str {
        words(self.mode)
    }
}

/// A strength as it is written.
fn words(mode: RowLockMode) -> &'static str {
    match mode {
        RowLockMode::KeyShare => "FOR KEY SHARE",
        RowLockMode::Share => "FOR SHARE",
        RowLockMode::NoKeyUpdate => "FOR NO KEY UPDATE",
        RowLockMode::Update => "FOR UPDATE",
    }
}

fn word(tokens: &[TokenWithSpan], at: usize) -> Option<String> {
    match tokens.get(at).map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.value.to_ascii_lowercase()),
        _ => None,
    }
}

fn words_at(tokens: &[TokenWithSpan], at: usize, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(i, wanted)| word(tokens, at + i).is_some_and(|word| word == *wanted))
}

/// Rewrites the locking clauses of a statement; `None` if it has none.
pub(crate) fn rewrite(tokens: &[TokenWithSpan]) -> Option<Vec<TokenWithSpan>> {
    (0..tokens.len()).find(|at| strength(tokens, *at).is_some())?;
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 8);
    // Clauses that wait for the end of the LIMIT behind them, with their depth of parentheses.
    let mut waiting: Vec<(usize, Vec<TokenWithSpan>)> = Vec::new();
    let (mut at, mut depth) = (0, 0_usize);
    while at < tokens.len() {
        if strength(tokens, at).is_some() {
            let mut clauses = Vec::new();
            while let Some((clause, next)) = clause(tokens, at) {
                clauses.extend(clause);
                at = next;
            }
            if matches!(word(tokens, at).as_deref(), Some("limit" | "offset" | "fetch")) {
                waiting.push((depth, clauses));
            } else {
                out.extend(clauses);
            }
            continue;
        }
        match &tokens[at].token {
            Token::LParen => depth += 1,
            Token::RParen => {
                while waiting.last().is_some_and(|(level, _)| *level == depth) {
                    out.extend(waiting.pop().map(|(_, clauses)| clauses).unwrap_or_default());
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        out.push(tokens[at].clone());
        at += 1;
    }
    while let Some((_, clauses)) = waiting.pop() {
        out.extend(clauses);
    }
    Some(out)
}

/// The strength of the clause that begins at a token, and the number of its words.
fn strength(tokens: &[TokenWithSpan], at: usize) -> Option<(RowLockMode, usize)> {
    if !words_at(tokens, at, &["for"]) {
        return None;
    }
    let known: [(&[&str], RowLockMode); 4] = [
        (&["update"], RowLockMode::Update),
        (&["no", "key", "update"], RowLockMode::NoKeyUpdate),
        (&["share"], RowLockMode::Share),
        (&["key", "share"], RowLockMode::KeyShare),
    ];
    known.iter().find(|(words, _)| words_at(tokens, at + 1, words)).map(|(words, mode)| (*mode, 1 + words.len()))
}

/// The clause at a token, rewritten, and the token behind it.
fn clause(tokens: &[TokenWithSpan], at: usize) -> Option<(Vec<TokenWithSpan>, usize)> {
    let (mode, length) = strength(tokens, at)?;
    let span = tokens[at].span;
    let token = |token: Token| TokenWithSpan { token, span };
    let quoted = |text: &str| token(Token::make_word(text, Some('"')));
    let mut out = vec![tokens[at].clone(), token(Token::make_word("UPDATE", None))];
    out.push(token(Token::make_word("OF", None)));
    out.push(quoted(&format!("{MARK}{}", words(mode))));
    let mut next = at + length;
    if words_at(tokens, next, &["of"]) {
        next += 1;
        while let Some(Token::Word(name)) = tokens.get(next).map(|token| &token.token) {
            let mut relation = match name.quote_style {
                Some(_) => name.value.clone(),
                None => name.value.to_lowercase(),
            };
            next += 1;
            while matches!(tokens.get(next).map(|t| &t.token), Some(Token::Period)) {
                QUALIFIED.clone_into(&mut relation);
                next += 2;
            }
            out.push(token(Token::Period));
            out.push(quoted(&relation));
            if !matches!(tokens.get(next).map(|t| &t.token), Some(Token::Comma)) {
                break;
            }
            next += 1;
        }
    }
    let wait = if words_at(tokens, next, &["nowait"]) {
        1
    } else if words_at(tokens, next, &["skip", "locked"]) {
        2
    } else {
        0
    };
    out.extend_from_slice(&tokens[next..next + wait]);
    Some((out, next + wait))
}

/// A clause read back.
struct Clause {
    locking: Locking,
    /// The relations that it names; empty is all of FROM.
    of: Vec<String>,
}

fn read(clause: &ast::LockClause) -> Result<Clause> {
    let parts: Vec<String> = match &clause.of {
        Some(name) => name.0.iter().filter_map(|part| part.as_ident()).map(|ident| ident.value.clone()).collect(),
        None => Vec::new(),
    };
    let modes = [RowLockMode::KeyShare, RowLockMode::Share, RowLockMode::NoKeyUpdate, RowLockMode::Update];
    let strength = parts.first().and_then(|part| part.strip_prefix(MARK));
    let mode = modes
        .into_iter()
        .find(|mode| strength == Some(words(*mode)))
        .ok_or_else(|| Error::internal("a locking clause has no strength"))?;
    let wait = match clause.nonblock {
        None => Wait::Block,
        Some(ast::NonBlock::SkipLocked) => Wait::Skip,
        Some(ast::NonBlock::Nowait) => Wait::Fail,
    };
    let of: Vec<String> = parts.into_iter().skip(1).collect();
    if of.iter().any(|name| name == QUALIFIED) {
        let message = format!("{} must specify unqualified relation names", words(mode));
        return Err(Error::new(SqlState::SYNTAX_ERROR, message));
    }
    Ok(Clause { locking: Locking { mode, wait }, of })
}

/// The strength of a query's first clause, as it is written, wherever in the query it is.
pub(crate) fn first_words(query: &ast::Query) -> &'static str {
    let mut found = "FOR UPDATE";
    let _ = query.visit(&mut Seek(|query: &ast::Query| {
        if let Some(Ok(clause)) = query.locks.first().map(read) {
            found = clause.locking.words();
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }));
    found
}

struct Seek<F>(F);

impl<F: FnMut(&ast::Query) -> ControlFlow<()>> Visitor for Seek<F> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        (self.0)(query)
    }
}

/// Whether a query, or one within it, locks.
pub(crate) fn locks<T: ast::Visit>(node: &T) -> bool {
    let has =
        |query: &ast::Query| if query.locks.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    node.visit(&mut Seek(has)).is_break()
}

/// Takes the clauses of a query and those within it away, for plans that are not run.
pub(crate) fn strip<T: ast::VisitMut>(node: &mut T) {
    struct Strip;
    impl ast::VisitorMut for Strip {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
            query.locks.clear();
            ControlFlow::Continue(())
        }
    }
    let _ = node.visit(&mut Strip);
}

/// A relation of FROM.
struct Item {
    name: String,
    kind: Kind,
    /// An outer join may give NULLs in its place.
    nullable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A table, a view or a subquery.
    Rows,
    Function,
    With,
    Join,
}

/// Which relations of a query's FROM are locked, and how.
///
/// # Errors
/// What PostgreSQL refuses: 0A000 for queries whose rows are not those of a table, 42P01 for a relation that is not there.
pub(crate) fn targets(query: &ast::Query, state: &SessionState) -> Result<HashMap<String, Locking>> {
    let clauses = query.locks.iter().map(read).collect::<Result<Vec<_>>>()?;
    let mut targets: HashMap<String, Locking> = HashMap::new();
    let Some(first) = clauses.first() else { return Ok(targets) };
    let select = check(query, first.locking, state)?;
    let with: HashSet<String> =
        query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| fold(&cte.alias.name)).collect();
    let mut items = Vec::new();
    for from in &select.from {
        collect(from, &with, &mut items);
    }
    for clause in &clauses {
        let words = clause.locking.words();
        let refuse = |what: &str| {
            Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("{words} cannot be applied to {what}")))
        };
        for name in &clause.of {
            match items.iter().find(|item| item.name == *name).map(|item| item.kind) {
                None => {
                    return Err(Error::new(
                        SqlState::UNDEFINED_TABLE,
                        format!("relation \"{name}\" in {words} clause not found in FROM clause"),
                    ));
                }
                Some(Kind::Rows) => {}
                Some(Kind::Function) => return refuse("a function"),
                Some(Kind::With) => return refuse("a WITH query"),
                Some(Kind::Join) => return refuse("a join"),
            }
        }
        let named = |item: &&Item| clause.of.is_empty() || clause.of.contains(&item.name);
        for item in items.iter().filter(|item| item.kind == Kind::Rows).filter(named) {
            if item.nullable {
                return refuse("the nullable side of an outer join");
            }
            targets
                .entry(item.name.clone())
                .and_modify(|locking| *locking = locking.and(clause.locking))
                .or_insert(clause.locking);
        }
    }
    Ok(targets)
}

/// `FOR UPDATE is not allowed with ...`
pub(crate) fn not_allowed(locking: Locking, with: &str) -> Error {
    Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("{} is not allowed with {with}", locking.words()))
}

/// Checks that the rows of a query are rows of its relations; returns its SELECT.
fn check<'a>(query: &'a ast::Query, locking: Locking, state: &SessionState) -> Result<&'a ast::Select> {
    let select = match query.body.as_ref() {
        ast::SetExpr::Select(select) => select,
        ast::SetExpr::Values(_) => {
            let message = format!("{} cannot be applied to VALUES", locking.words());
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        ast::SetExpr::Query(inner) if query.order_by.is_none() && query.limit_clause.is_none() => {
            return check(inner, locking, state);
        }
        _ => return Err(not_allowed(locking, "UNION/INTERSECT/EXCEPT")),
    };
    if select.distinct.as_ref().is_some_and(|distinct| !matches!(distinct, ast::Distinct::All)) {
        return Err(not_allowed(locking, "DISTINCT clause"));
    }
    match &select.group_by {
        ast::GroupByExpr::Expressions(exprs, modifiers) if exprs.is_empty() && modifiers.is_empty() => {}
        _ => return Err(not_allowed(locking, "GROUP BY clause")),
    }
    if select.having.is_some() {
        return Err(not_allowed(locking, "HAVING clause"));
    }
    let mut calls = Calls { state, depth: 0, aggregate: false, window: false, set: false };
    let _ = select.projection.visit(&mut calls);
    let _ = query.order_by.visit(&mut Calls { set: false, ..Calls::new(state) });
    if calls.aggregate {
        return Err(not_allowed(locking, "aggregate functions"));
    }
    if calls.window {
        return Err(not_allowed(locking, "window functions"));
    }
    if calls.set {
        return Err(not_allowed(locking, "set-returning functions in the target list"));
    }
    Ok(select)
}

/// Which kinds of functions are called, outside of subqueries.
struct Calls<'a> {
    state: &'a SessionState,
    depth: usize,
    aggregate: bool,
    window: bool,
    set: bool,
}

impl<'a> Calls<'a> {
    fn new(state: &'a SessionState) -> Calls<'a> {
        Calls { state, depth: 0, aggregate: false, window: false, set: false }
    }
}

impl Visitor for Calls<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Function(function) = expr
            && self.depth == 0
        {
            let name = function.name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
            if function.over.is_some() {
                self.window = true;
            } else if self.state.aggregate_functions().contains_key(&name) {
                self.aggregate = true;
            } else if matches!(name.as_str(), "generate_series" | "unnest" | "regexp_split_to_table") {
                self.set = true;
            }
        }
        ControlFlow::Continue(())
    }
}

fn collect(from: &ast::TableWithJoins, with: &HashSet<String>, items: &mut Vec<Item>) {
    let start = items.len();
    relation(&from.relation, with, items);
    for join in &from.joins {
        let right = items.len();
        relation(&join.relation, with, items);
        let (left_nullable, right_nullable) = match &join.join_operator {
            ast::JoinOperator::Left(_) | ast::JoinOperator::LeftOuter(_) => (false, true),
            ast::JoinOperator::Right(_) | ast::JoinOperator::RightOuter(_) => (true, false),
            ast::JoinOperator::FullOuter(_) => (true, true),
            _ => (false, false),
        };
        items[start..right].iter_mut().for_each(|item| item.nullable |= left_nullable);
        items[right..].iter_mut().for_each(|item| item.nullable |= right_nullable);
    }
}

fn relation(factor: &ast::TableFactor, with: &HashSet<String>, items: &mut Vec<Item>) {
    let called = |alias: &Option<ast::TableAlias>| alias.as_ref().map(|alias| fold(&alias.name));
    let mut push = |name: Option<String>, kind| {
        items.push(Item { name: name.unwrap_or_default(), kind, nullable: false });
    };
    match factor {
        ast::TableFactor::Table { name, alias, args, .. } => {
            let own = name.0.last().and_then(|part| part.as_ident()).map(fold);
            let kind = if args.is_some() {
                Kind::Function
            } else if name.0.len() == 1 && own.as_ref().is_some_and(|own| with.contains(own)) {
                Kind::With
            } else {
                Kind::Rows
            };
            push(called(alias).or(own), kind);
        }
        ast::TableFactor::Derived { alias, .. } => push(called(alias), Kind::Rows),
        ast::TableFactor::NestedJoin { table_with_joins, alias } => {
            if let Some(alias) = called(alias) {
                push(Some(alias), Kind::Join);
            }
            collect(table_with_joins, with, items);
        }
        ast::TableFactor::TableFunction { alias, .. }
        | ast::TableFactor::Function { alias, .. }
        | ast::TableFactor::UNNEST { alias, .. } => push(called(alias), Kind::Function),
        _ => push(None, Kind::Function),
    }
}
