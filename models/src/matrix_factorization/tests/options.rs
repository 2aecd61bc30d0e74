//! What is refused, by whose fault, and what the message says.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, StringArray};
use arrow::datatypes::Int64Type;

use super::{columns_of, model, options, rows, rows_of, some_ratings, text, train, trainer};
use crate::OptionValue::{Bool, Float, Int};
use crate::error::Cause;
use crate::matrix_factorization::MatrixFactorization;
use crate::{ModelError, ModelType as _, OptionValue};

fn refused(given: &[(&str, OptionValue)]) -> ModelError {
    match trainer(&rows(&some_ratings(5, 5, 1.0)), given) {
        Ok(_) => panic!("{given:?} was accepted"),
        Err(error) => error,
    }
}

#[test]
fn options_that_do_not_fit() {
    assert_eq!(refused(&[("num_factor", Int(3))]).hint.as_deref(), Some("did you mean 'num_factors'?"));
    let causes = [
        (vec![("num_factors", Int(0))], "num_factors"),
        (vec![("num_factors", Int(3)), ("rank", Int(3))], "rank"),
        (vec![("alpha", Float(2.0))], "alpha"),
        (vec![("l2_reg", Float(-1.0))], "l2_reg"),
        (vec![("feedback_type", text("both"))], "feedback_type"),
        (vec![("solver", text("cg")), ("nonnegative", Bool(true))], "solver"),
        (vec![("item_col", text("user"))], "item_col"),
    ];
    for (given, option) in causes {
        assert_eq!(refused(&given).cause, Cause::Option(option.to_string()), "{given:?}");
    }
}

#[test]
fn columns_that_are_missing_or_unsuitable() {
    let error = refused(&[("user_col", text("customer"))]);
    assert_eq!(error.cause, Cause::Column("customer".to_string()));
    assert!(error.hint.unwrap().contains("user, item, rating"));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["5"]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let error = trainer(&rows_of(numbers.clone(), numbers.clone(), texts), &[]).err().unwrap();
    assert_eq!(error.cause, Cause::Column("rating".to_string()));
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1)])]));
    let error = trainer(&rows_of(numbers.clone(), lists, numbers), &[]).err().unwrap();
    assert_eq!(error.cause, Cause::Column("item".to_string()));
}

#[test]
fn values_that_cannot_be_trained_on() {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let missing: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let numbers = |values: Vec<Option<f64>>| Arc::new(Float64Array::from(values)) as ArrayRef;
    let good = numbers(vec![Some(1.0), Some(2.0)]);
    let cases = [
        (rows_of(missing.clone(), ids.clone(), good.clone()), "user"),
        (rows_of(ids.clone(), missing, good.clone()), "item"),
        (rows_of(ids.clone(), ids.clone(), numbers(vec![Some(1.0), None])), "rating"),
        (rows_of(ids.clone(), ids.clone(), numbers(vec![Some(1.0), Some(f64::NAN)])), "rating"),
        (rows_of(ids.clone(), ids.clone(), numbers(vec![Some(1.0), Some(f64::INFINITY)])), "rating"),
        (rows_of(ids.clone(), ids.clone(), numbers(vec![Some(1.0), Some(1e300)])), "rating"),
        (rows_of(numbers(vec![Some(1.0), Some(f64::NAN)]), ids, good), "user"),
    ];
    for (table, column) in cases {
        assert_eq!(train(&table, &[]).unwrap_err().cause, Cause::Column(column.to_string()));
    }
    assert_eq!(train(&rows(&[]), &[]).unwrap_err().cause, Cause::Data);
}

#[test]
fn several_ratings_of_a_pair() {
    let twice = rows(&[(1, 1, 2.0), (1, 2, 1.0), (1, 1, 4.0), (2, 1, 3.0)]);
    let once = |rating: f64| rows(&[(1, 1, rating), (1, 2, 1.0), (2, 1, 3.0)]);
    let bytes = |table: &arrow::array::RecordBatch, given: &[(&str, OptionValue)]| train(table, given).unwrap().file.to_bytes().unwrap();
    let implicit = ("feedback_type", text("implicit"));
    assert!(bytes(&twice, &[]) == bytes(&once(3.0), &[]));
    assert!(bytes(&twice, &[("duplicates", text("sum"))]) == bytes(&once(6.0), &[]));
    assert!(bytes(&twice, std::slice::from_ref(&implicit)) == bytes(&once(6.0), std::slice::from_ref(&implicit)));
    assert!(bytes(&twice, &[implicit.clone(), ("duplicates", text("mean"))]) == bytes(&once(3.0), &[implicit]));
    assert_eq!(train(&twice, &[]).unwrap().rows, 4);
    let error = train(&twice, &[("duplicates", text("error"))]).unwrap_err();
    assert_eq!((error.cause, error.message.as_str()), (Cause::Data, "user 1 rates item 1 more than once"));
    let large = rows(&[(1, 1, 3e38), (1, 1, 3e38)]);
    assert_eq!(train(&large, &[("duplicates", text("sum"))]).unwrap_err().cause, Cause::Column("rating".to_string()));
}

#[test]
fn columns_by_other_names_among_others() {
    let table = rows(&some_ratings(6, 5, 0.8));
    let columns = vec![
        ("noise".to_string(), table.column(0).clone()),
        ("stars".to_string(), table.column(2).clone()),
        ("film".to_string(), table.column(1).clone()),
        ("who".to_string(), table.column(0).clone()),
    ];
    let named = arrow::array::RecordBatch::try_from_iter(columns).unwrap();
    let given = [("user_col", text("who")), ("item_col", text("film")), ("rating_col", text("stars"))];
    let renamed = model(&named, &given);
    assert_eq!(renamed.predicted_name(), "predicted_stars");
    let factors = |trained: crate::Trained| trained.file.tensors;
    assert_eq!(factors(train(&named, &given).unwrap()), factors(train(&table, &[]).unwrap()));
    assert!(MatrixFactorization.trainer(&options(&given), &columns_of(&table), None).is_err());
}
