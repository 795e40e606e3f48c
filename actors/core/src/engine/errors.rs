//! DataFusion's errors as those of the contract.

use std::collections::HashSet;

use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use kalamdb_commons::{Error, ErrorCode};

use super::rewrite::{KEY_COLUMN, MARK};

/// Finds the cause, and says it in the contract's terms.
pub(crate) fn from_datafusion(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(cause) => from_boxed(cause),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_datafusion(*inner),
        DataFusionError::Shared(shared) => from_shared(&shared),
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => from_datafusion(first),
            None => Error::internal("an empty collection of errors"),
        },
        DataFusionError::ArrowError(error, _) => from_arrow(*error),
        DataFusionError::SchemaError(error, _) => from_schema(&error),
        DataFusionError::SQL(error, _) => Error::new(ErrorCode::InvalidSql, error.to_string()),
        DataFusionError::Plan(message) | DataFusionError::Configuration(message) => {
            Error::new(ErrorCode::InvalidSql, plain(&message))
        }
        DataFusionError::NotImplemented(message) => not_implemented(&message),
        DataFusionError::Execution(message) => Error::new(ErrorCode::EvaluationError, plain(&message)),
        DataFusionError::ResourcesExhausted(detail) => {
            tracing::warn!(%detail, "a query was refused memory");
            Error::new(ErrorCode::ResourcesExhausted, "the query needs more memory than query.memory_limit leaves it")
        }
        DataFusionError::IoError(error) => not_spilled(&error),
        other => Error::internal(other),
    }
}

/// Nothing else that queries do ends in one of these: rows are read by us.
fn not_spilled(error: &std::io::Error) -> Error {
    tracing::warn!(%error, "a query could not write what memory does not hold");
    Error::new(
        ErrorCode::ResourcesExhausted,
        "the query needs more than query.memory_limit, and the disk does not take the rest",
    )
}

/// An error that several tasks hold: what cannot be moved out is told again.
fn from_shared(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::External(cause) => match cause.downcast_ref::<Error>() {
            Some(error) => error.clone(),
            None => Error::internal(cause),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_shared(inner),
        DataFusionError::Shared(inner) => from_shared(inner),
        DataFusionError::ArrowError(error, _) => match (arrow_message(error), error.as_ref()) {
            (Some(message), _) => Error::new(ErrorCode::EvaluationError, message),
            (None, ArrowError::IoError(_, error)) => not_spilled(error),
            (None, error) => Error::internal(error),
        },
        DataFusionError::SchemaError(error, _) => from_schema(error),
        DataFusionError::Plan(message) => Error::new(ErrorCode::InvalidSql, plain(message)),
        DataFusionError::NotImplemented(message) => not_implemented(message),
        DataFusionError::Execution(message) => Error::new(ErrorCode::EvaluationError, plain(message)),
        DataFusionError::ResourcesExhausted(detail) => {
            from_datafusion(DataFusionError::ResourcesExhausted(detail.clone()))
        }
        DataFusionError::IoError(error) => not_spilled(error),
        other => Error::internal(other),
    }
}

fn not_implemented(message: &str) -> Error {
    // The planner finds out late that a function stands where none of its kind may.
    let misplaced = |kind: &str| message.contains(&format!("does not support logical expression {kind}"));
    if misplaced("WindowFunction") {
        return Error::new(ErrorCode::InvalidSql, "window functions stand in a select list or in ORDER BY only");
    }
    if misplaced("AggregateFunction") {
        return Error::new(ErrorCode::InvalidSql, "aggregate functions do not stand in WHERE or in a join's condition");
    }
    if misplaced("Exists") || misplaced("InSubquery") {
        return Error::new(
            ErrorCode::Unsupported,
            "IN (SELECT …), and EXISTS that names columns of the query around it, are supported in WHERE and HAVING only",
        );
    }
    Error::new(ErrorCode::Unsupported, plain(message))
}

fn from_boxed(cause: Box<dyn std::error::Error + Send + Sync>) -> Error {
    let cause = match cause.downcast::<Error>() {
        Ok(error) => return *error,
        Err(cause) => cause,
    };
    let cause = match cause.downcast::<DataFusionError>() {
        Ok(error) => return from_datafusion(*error),
        Err(cause) => cause,
    };
    match cause.downcast::<ArrowError>() {
        Ok(error) => from_arrow(*error),
        Err(cause) => Error::internal(cause),
    }
}

/// An expression that failed on a row.
pub(crate) fn from_arrow(error: ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(cause) => from_boxed(cause),
        // Spilled batches are written as Arrow files.
        ArrowError::IoError(_, error) => not_spilled(&error),
        error => match arrow_message(&error) {
            Some(message) => Error::new(ErrorCode::EvaluationError, message),
            None => Error::internal(error),
        },
    }
}

fn arrow_message(error: &ArrowError) -> Option<String> {
    Some(match error {
        ArrowError::DivideByZero => "division by zero".to_owned(),
        ArrowError::ArithmeticOverflow(message) => format!("overflow: {}", plain(message)),
        ArrowError::CastError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::ParseError(message)
        | ArrowError::InvalidArgumentError(message) => plain(message),
        _ => return None,
    })
}

fn from_schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let mut message = format!("Column '{}' does not exist.", without_marks(&field.flat_name()));
            // ORDER BY looks in the select list and below it: most columns are in both.
            let mut seen = HashSet::new();
            let known: Vec<String> = valid_fields
                .iter()
                .map(|column| column.flat_name())
                .filter(|name| !name.contains(MARK) && seen.insert(name.clone()))
                .take(20)
                .collect();
            if !known.is_empty() {
                message.push_str(&format!(" Columns here: {}.", known.join(", ")));
            }
            Error::new(ErrorCode::ColumnNotFound, message)
        }
        other => Error::new(ErrorCode::InvalidSql, plain(&other.to_string())),
    }
}

/// The first paragraph, without prefixes and names that only the planner uses.
fn plain(message: &str) -> String {
    let first = message.split("\n\nbacktrace:").next().unwrap_or(message);
    let first = first.trim_start_matches("Error during planning: ").trim_start_matches("Execution error: ");
    without_marks(first)
}

/// Takes out what the rewrites hang behind names: the mark and the letters after it.
pub(crate) fn without_marks(text: &str) -> String {
    let mut parts = text.split(MARK);
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        clean.push_str(part.trim_start_matches(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit()));
    }
    clean
}

/// A plan as EXPLAIN shows it: without marks, and with a name that can be read for the column of encoded keys.
pub(crate) fn shown_plan(text: &str) -> String {
    without_marks(&text.replace(KEY_COLUMN, "(key)"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_disk_that_takes_no_more_is_told_as_lack_of_room() {
        let full = || std::io::Error::new(std::io::ErrorKind::StorageFull, "no space left");
        let arrow = || ArrowError::IoError("write".to_owned(), full());
        for error in [
            DataFusionError::IoError(full()),
            DataFusionError::ArrowError(Box::new(arrow()), None),
            DataFusionError::Shared(Arc::new(DataFusionError::ArrowError(Box::new(arrow()), None))),
            DataFusionError::Shared(Arc::new(DataFusionError::IoError(full()))),
        ] {
            let told = from_datafusion(error);
            assert_eq!(told.code, ErrorCode::ResourcesExhausted, "{told:?}");
        }
    }

    #[test]
    fn our_own_errors_come_through_whole() {
        let own = Error::new(ErrorCode::TableNotFound, "Table 'a.b' does not exist.");
        let wrapped = DataFusionError::Context("planning".into(), Box::new(DataFusionError::External(Box::new(own))));
        let shared = DataFusionError::Shared(std::sync::Arc::new(wrapped));
        let error = from_datafusion(shared);
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::TableNotFound, "Table 'a.b' does not exist."));
    }

    #[test]
    fn rows_that_fail_are_evaluation_errors() {
        let error = from_datafusion(DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None));
        assert_eq!(error.code, ErrorCode::EvaluationError);
        let error = from_datafusion(DataFusionError::Internal("a secret".into()));
        assert!(error.code == ErrorCode::Internal && !error.message.contains("secret"));
    }

    #[test]
    fn the_planners_names_stay_inside() {
        assert_eq!(without_marks("no field t\u{1f}sd.x in t\u{1f}k"), "no field t.x in t");
        let plan = "Projection: m.\u{1f}key AS key of the row\n  TableScan: c.m\u{1f}k projection=[id, \u{1f}key]";
        assert_eq!(shown_plan(plan), "Projection: m.(key) AS key of the row\n  TableScan: c.m projection=[id, (key)]");
    }

    #[test]
    fn a_column_is_listed_once() {
        let column = |name: &str| datafusion::common::Column::new(Some("t"), name);
        let told = from_schema(&SchemaError::FieldNotFound {
            field: Box::new(datafusion::common::Column::new_unqualified("nope")),
            valid_fields: ["id", "v", "id", "v"].map(column).to_vec(),
        });
        assert_eq!(told.message, "Column 'nope' does not exist. Columns here: t.id, t.v.");
    }
}
