//! What sqlparser is told about our SQL: PostgreSQL's, less what is ambiguous or costly to parse.

use std::any::TypeId;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

use sqlparser::ast::Expr;
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};

/// Steps every statement may take.
const BASE_STEPS: usize = 20_000;
/// Steps beyond those, per token.
const STEPS_PER_TOKEN: usize = 32;
/// And per pair of nested brackets: in FROM, each is tried as a query down to the innermost, then as a join.
const STEPS_PER_PAIR_OF_LEVELS: usize = 2;

/// PostgreSQL's dialect with a budget of work.
///
/// sqlparser tries alternatives and starts over; nested, that takes exponential time, with a few
/// dozen tokens. Its hooks count steps here, and past the budget the parse is given up.
#[derive(Debug)]
pub(crate) struct KalamDialect {
    postgres: PostgreSqlDialect,
    steps_left: Cell<usize>,
}

/// What unwinds out of a parse that used up its steps.
struct OutOfSteps;

impl KalamDialect {
    /// The dialect for one statement of so many tokens and levels of nesting.
    pub(crate) fn new(tokens: usize, nesting: usize) -> Self {
        let steps = BASE_STEPS + tokens * STEPS_PER_TOKEN + nesting * nesting * STEPS_PER_PAIR_OF_LEVELS;
        Self { postgres: PostgreSqlDialect {}, steps_left: Cell::new(steps) }
    }

    /// Unwinding is the one way out: the hook that every alternative passes cannot return an error.
    /// `resume_unwind` does not run the panic hook, so nothing is logged.
    fn step(&self) {
        match self.steps_left.get().checked_sub(1) {
            Some(left) => self.steps_left.set(left),
            None => panic::resume_unwind(Box::new(OutOfSteps)),
        }
    }
}

/// Runs a parse; none when it used up its steps.
pub(crate) fn within_budget<T>(parse: impl FnOnce() -> T) -> Option<T> {
    match panic::catch_unwind(AssertUnwindSafe(parse)) {
        Ok(parsed) => Some(parsed),
        Err(payload) if payload.is::<OutOfSteps>() => None,
        Err(payload) => panic::resume_unwind(payload),
    }
}

impl Dialect for KalamDialect {
    // sqlparser asks for it by type in many places.
    fn dialect(&self) -> TypeId {
        self.postgres.dialect()
    }

    fn parse_prefix(&self, _parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        self.step();
        None
    }

    fn prec_unknown(&self) -> u8 {
        self.step();
        self.postgres.prec_unknown()
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        self.postgres.get_next_precedence(parser)
    }

    fn prec_value(&self, prec: Precedence) -> u8 {
        self.postgres.prec_value(prec)
    }

    // `CAST(…)` that does not parse is an error, not tried again as a call of a function `cast`.
    fn is_reserved_for_identifier(&self, _kw: Keyword) -> bool {
        true
    }

    fn is_column_alias(&self, kw: &Keyword, parser: &mut Parser) -> bool {
        // `INSERT … SELECT 1 ON CONFLICT …`: without a FROM the item stands right before it.
        *kw != Keyword::ON && self.postgres.is_column_alias(kw, parser)
    }

    // `a>-1` is a comparison and a sign, not an operator `>-`.
    fn is_custom_operator_part(&self, _ch: char) -> bool {
        false
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        self.postgres.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        self.postgres.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.postgres.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.postgres.is_identifier_part(ch)
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_string_escape_constant(&self) -> bool {
        true
    }

    fn supports_numeric_literal_underscores(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }

    fn supports_interval_options(&self) -> bool {
        true
    }

    fn supports_insert_table_alias(&self) -> bool {
        true
    }

    fn supports_comma_separated_trim(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn allow_extract_single_quotes(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_spent_budget_is_caught() {
        let dialect = KalamDialect { postgres: PostgreSqlDialect {}, steps_left: Cell::new(2) };
        assert_eq!(within_budget(|| dialect.prec_unknown()), Some(0));
        assert_eq!(within_budget(|| dialect.prec_unknown()), Some(0));
        assert_eq!(within_budget(|| dialect.prec_unknown()), None);
        let other = panic::catch_unwind(|| within_budget(|| panic::resume_unwind(Box::new("a defect"))));
        assert!(other.is_err_and(|payload| payload.is::<&str>()));
    }
}
