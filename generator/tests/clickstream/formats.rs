//! All formats hold the same rows, and dirt is where it should be.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use orrery_generator::{ClickstreamOptions, Format};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use crate::{Row, csv_options, csv_rows, generate};

fn parquet_rows(file: &std::path::Path) -> Vec<Row> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
    let types: Vec<(String, DataType)> =
        builder.schema().fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect();
    assert!(builder.schema().fields().iter().all(|field| field.is_nullable()));
    let expected = [
        ("event_time", DataType::Utf8),
        ("event_type", DataType::Utf8),
        ("product_id", DataType::Int64),
        ("category_id", DataType::Int64),
        ("category_code", DataType::Utf8),
        ("brand", DataType::Utf8),
        ("price", DataType::Float64),
        ("user_id", DataType::Int64),
        ("user_session", DataType::Utf8),
    ];
    assert_eq!(types, expected.map(|(name, data_type)| (name.to_owned(), data_type)));
    let mut rows = Vec::new();
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        for row in 0..batch.num_rows() {
            rows.push(std::array::from_fn(|column| {
                let array = batch.column(column);
                if array.is_null(row) {
                    return String::new();
                }
                match array.data_type() {
                    DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
                    DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
                    _ => format!("{:.2}", array.as_primitive::<Float64Type>().value(row)),
                }
            }));
        }
    }
    rows
}

#[test]
fn parquet_csv_and_compressed_csv_hold_the_same() {
    let directory = TempDir::new().unwrap();
    let files_of = |format: Format| {
        let out = directory.path().join(format.to_string());
        generate(&ClickstreamOptions { format, out, dirty_rate: 0.2, ..ClickstreamOptions::new(20_000, "") }).files
    };
    let (parquet, csv, csv_gz) = (files_of(Format::Parquet), files_of(Format::Csv), files_of(Format::CsvGz));
    let rows = csv_rows(&csv);
    assert_eq!(rows.len(), 20_000);
    assert!(parquet_rows(&parquet[0]) == rows, "Parquet holds other rows");
    // A decoder of a single gzip member, so that readers that stop after the first one see everything.
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(File::open(&csv_gz[0]).unwrap()).read_to_end(&mut text).unwrap();
    assert!(text == fs::read(&csv[0]).unwrap(), "the compressed text is another");
}

#[test]
fn several_chunks_make_one_compressed_file() {
    let directory = TempDir::new().unwrap();
    let options = ClickstreamOptions { format: Format::CsvGz, ..csv_options(crate::MANY, &directory) };
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(File::open(&generate(&options).files[0]).unwrap()).read_to_end(&mut text).unwrap();
    let plain = generate(&ClickstreamOptions { overwrite: true, ..csv_options(crate::MANY, &directory) });
    assert!(text == fs::read(&plain.files[0]).unwrap(), "the compressed text is another");
}

#[test]
fn dirty_rows_are_as_many_as_asked_for_and_the_others_stay() {
    let directory = TempDir::new().unwrap();
    let with = |dirty_rate| {
        let options = ClickstreamOptions { dirty_rate, overwrite: true, ..csv_options(60_000, &directory) };
        csv_rows(&generate(&options).files)
    };
    let (clean, dirty) = (with(0.0), with(0.05));
    let mut by_column: HashMap<usize, usize> = HashMap::new();
    let mut bad = 0;
    for (clean, dirty) in clean.iter().zip(&dirty) {
        let changed: Vec<usize> = (0..9).filter(|column| clean[*column] != dirty[*column]).collect();
        assert!(changed.len() <= 1);
        bad += changed.len();
        changed.into_iter().for_each(|column| *by_column.entry(column).or_default() += 1);
    }
    assert!((2_800..3_200).contains(&bad), "{bad} bad rows");
    let share = |column: usize| by_column.get(&column).copied().unwrap_or(0) as f64 / bad as f64;
    // Times, types, prices (negative and huge), then the keys product, user and session.
    for (column, expected) in [(0, 0.2), (1, 0.2), (6, 0.4), (2, 0.067), (7, 0.067), (8, 0.067)] {
        assert!((share(column) - expected).abs() < 0.03, "column {column}: {}", share(column));
    }
    assert!(with(1.0).iter().zip(&clean).all(|(dirty, clean)| dirty != clean));
}
