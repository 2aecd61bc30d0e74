//! Training columns as numbers: which columns become which features, and rows of features in memory.
//!
//! A column of numbers (whole, floating, decimal, `BOOLEAN` as 0 and 1) is one feature. A list of numbers is as many as it is long, the same in every row. A
//! list of `STRUCT(index, value)`, what `ML.ONE_HOT_ENCODER` makes, is as many as the highest index tells; what is not listed is 0.
//!
//! Features lie in [`Tile`]s of [`TILE_ROWS`] rows, feature by feature within a tile: inner loops run over rows with vector instructions, and memory grows
//! tile by tile. NaN and infinity are refused when rows are read; within tiles NaN marks NULL until the model type fills it (the mean of the feature).

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};

use crate::simd::{Kernel, widest};
use crate::type_names::sql_type_name;
use crate::{InputColumn, ModelError, Result};

/// Rows of a full tile.
pub const TILE_ROWS: usize = 1024;
/// Features that a list with indices may have.
const MAX_INDEX: i64 = 1_000_000;

/// How a column becomes features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureKind {
    /// A number: one feature.
    Number,
    /// A list of numbers; `Some`: its type tells the length.
    List(Option<usize>),
    /// A list of `STRUCT(index, value)`.
    Indexed,
}

/// A column that becomes features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureColumn {
    /// Its place among the training columns.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// How it becomes features.
    pub kind: FeatureKind,
}

/// The columns that become features, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureColumns(Vec<FeatureColumn>);

impl FeatureColumns {
    /// Chooses how each column becomes features; `except` (by index) are for other uses.
    ///
    /// # Errors
    /// A column that holds no numbers; no column at all.
    pub fn new(columns: &[InputColumn], except: &[usize]) -> Result<Self> {
        let chosen = columns.iter().enumerate().filter(|(index, _)| !except.contains(index));
        let chosen: Vec<FeatureColumn> = chosen
            .map(|(index, column)| Ok(FeatureColumn { index, name: column.name.clone(), kind: kind(column)? }))
            .collect::<Result<_>>()?;
        if chosen.is_empty() {
            return Err(ModelError::data("there is no column to train on").hint("the query has to return at least one column of numbers"));
        }
        Ok(Self(chosen))
    }

    /// The columns.
    pub fn columns(&self) -> &[FeatureColumn] {
        &self.0
    }

    /// How many features each column has, as far as its type tells; 0 where rows have to tell.
    pub fn widths(&self) -> Vec<usize> {
        let width = |column: &FeatureColumn| match column.kind {
            FeatureKind::Number => 1,
            FeatureKind::List(length) => length.unwrap_or(0),
            FeatureKind::Indexed => 0,
        };
        self.0.iter().map(width).collect()
    }

    /// The names of the features: the column's, or `column[i]` with `i` from 1 for lists and as given for indices.
    pub fn names(&self, widths: &[usize]) -> Vec<String> {
        let names = self.0.iter().zip(widths).flat_map(|(column, width)| {
            (0..*width).map(|i| match column.kind {
                FeatureKind::Number => column.name.clone(),
                FeatureKind::List(_) => format!("{}[{}]", column.name, i + 1),
                FeatureKind::Indexed => format!("{}[{i}]", column.name),
            })
        });
        names.collect()
    }

    /// Reads the columns of a batch (all training columns, of which this takes its own).
    ///
    /// # Errors
    /// NaN, infinity, a NULL list, an index that is none; each with its column.
    pub fn read(&self, columns: &[ArrayRef]) -> Result<Numbers> {
        let rows = columns.first().map_or(0, |c| c.len());
        let columns = self.0.iter().map(|column| {
            let array = columns.get(column.index).ok_or_else(|| ModelError::bug(format!("column {} is missing", column.index)))?;
            read_column(column, array)
        });
        Ok(Numbers { columns: columns.collect::<Result<_>>()?, rows })
    }

    /// The widths that both sides' rows need.
    ///
    /// # Errors
    /// Lists of different lengths.
    pub fn merge_widths(&self, one: &[usize], other: &[usize]) -> Result<Vec<usize>> {
        let pairs = self.0.iter().zip(one.iter().zip(other));
        pairs.map(|(column, (one, other))| merge_width(column, *one, *other)).collect()
    }
}

fn merge_width(column: &FeatureColumn, one: usize, other: usize) -> Result<usize> {
    if column.kind == FeatureKind::Indexed || one == other || one == 0 || other == 0 {
        return Ok(one.max(other));
    }
    Err(ModelError::data(format!("column '{}' has lists of {} and of {} numbers", column.name, one.min(other), one.max(other)))
        .hint("every list has to have the same length"))
}

fn kind(column: &InputColumn) -> Result<FeatureKind> {
    match &column.data_type {
        t if is_number(t) => Ok(FeatureKind::Number),
        DataType::List(item) | DataType::LargeList(item) if is_number(item.data_type()) => Ok(FeatureKind::List(None)),
        DataType::FixedSizeList(item, length) if is_number(item.data_type()) => Ok(FeatureKind::List(Some(*length as usize))),
        DataType::List(item) | DataType::LargeList(item) if indexed_fields(item).is_some() => Ok(FeatureKind::Indexed),
        other => {
            let error = ModelError::column(&column.name, format!("it is {}, but a feature has to be a number", sql_type_name(other)));
            Err(match other {
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(_, _) => error.hint(format!(
                    "encode it in TRANSFORM with ML.ONE_HOT_ENCODER({0}) OVER () or ML.LABEL_ENCODER({0}) OVER (), CAST it, or leave it out",
                    column.name
                )),
                _ => error.hint("CAST it to a number or leave it out"),
            })
        }
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric() || *data_type == DataType::Boolean || *data_type == DataType::Null
}

fn indexed_fields(item: &Field) -> Option<()> {
    let DataType::Struct(fields) = item.data_type() else { return None };
    let has = |name: &str, fits: &dyn Fn(&DataType) -> bool| fields.iter().any(|f| f.name() == name && fits(f.data_type()));
    (has("index", &DataType::is_integer) && has("value", &is_number)).then_some(())
}

/// Columns that were read as numbers.
#[derive(Debug)]
pub struct Numbers {
    columns: Vec<Column>,
    rows: usize,
}

#[derive(Debug)]
enum Column {
    Number(Float64Array),
    /// Numbers of rows of equal length.
    List {
        values: Float64Array,
        length: usize,
    },
    /// Offsets into pairs.
    Indexed {
        offsets: Vec<usize>,
        index: Vec<usize>,
        value: Float64Array,
        width: usize,
    },
}

impl Numbers {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many features each column has in these rows.
    pub fn widths(&self) -> Vec<usize> {
        let width = |column: &Column| match column {
            Column::Number(_) => 1,
            Column::List { length, .. } => *length,
            Column::Indexed { width, .. } => *width,
        };
        self.columns.iter().map(width).collect()
    }

    /// Writes rows `from..from + count` to a tile's features, beginning at row `at`; NULL becomes NaN. Features that `widths` does not hold are left out.
    pub fn fill(&self, widths: &[usize], from: usize, count: usize, tile: &mut [f64], at: usize) {
        let mut feature = 0;
        for (column, width) in self.columns.iter().zip(widths) {
            column.fill(*width, from, count, &mut tile[feature * TILE_ROWS..], at);
            feature += width;
        }
    }

    /// The feature as it lies in memory, where it is a column of numbers without NULL.
    pub fn plain(&self, column: usize) -> Option<Cow<'_, [f64]>> {
        match self.columns.get(column) {
            Some(Column::Number(values)) if values.null_count() == 0 => Some(Cow::Borrowed(values.values())),
            _ => None,
        }
    }
}

impl Column {
    fn fill(&self, width: usize, from: usize, count: usize, out: &mut [f64], at: usize) {
        match self {
            Self::Number(values) => {
                let out = &mut out[at..at + count];
                out.copy_from_slice(&values.values()[from..from + count]);
                if let Some(nulls) = values.nulls() {
                    for (i, out) in out.iter_mut().enumerate() {
                        if nulls.is_null(from + i) {
                            *out = f64::NAN;
                        }
                    }
                }
            }
            Self::List { values, length } => {
                for i in 0..width.min(*length) {
                    for row in 0..count {
                        let place = (from + row) * length + i;
                        out[i * TILE_ROWS + at + row] = if values.is_null(place) { f64::NAN } else { values.value(place) };
                    }
                }
            }
            Self::Indexed { offsets, index, value, .. } => {
                for i in 0..width {
                    out[i * TILE_ROWS + at..][..count].fill(0.0);
                }
                for row in 0..count {
                    for pair in offsets[from + row]..offsets[from + row + 1] {
                        if index[pair] < width {
                            out[index[pair] * TILE_ROWS + at + row] += value.value(pair);
                        }
                    }
                }
            }
        }
    }
}

fn read_column(column: &FeatureColumn, array: &ArrayRef) -> Result<Column> {
    match column.kind {
        FeatureKind::Number => Ok(Column::Number(finite(column, array)?)),
        FeatureKind::List(_) => {
            let (offsets, values) = lists(column, array)?;
            let length = offsets.windows(2).map(|pair| pair[1] - pair[0]).try_fold(0, |one, other| merge_width(column, one, other))?;
            if length == 0 && !array.is_empty() || offsets.windows(2).any(|pair| pair[1] - pair[0] != length) {
                return Err(
                    ModelError::data(format!("column '{}' has an empty list", column.name)).hint("every list has to have the same length")
                );
            }
            let first = offsets.first().copied().unwrap_or(0);
            let values = values.slice(first, offsets.last().copied().unwrap_or(first) - first);
            Ok(Column::List { values: finite(column, &values)?, length })
        }
        FeatureKind::Indexed => {
            let (offsets, pairs) = lists(column, array)?;
            let pairs = pairs.as_struct_opt().ok_or_else(|| ModelError::bug("a list of structs is none"))?;
            let field = |name: &str| {
                pairs.column_by_name(name).ok_or_else(|| ModelError::column(&column.name, format!("its structs have no field '{name}'")))
            };
            let index = cast(field("index")?, &DataType::Int64).map_err(|e| ModelError::column(&column.name, e.to_string()))?;
            let index = index.as_primitive::<Int64Type>().iter().map(|i| match i {
                Some(i) if (0..MAX_INDEX).contains(&i) => Ok(i as usize),
                Some(i) => {
                    Err(ModelError::data(format!("column '{}' has the index {i}; indices go from 0 to {}", column.name, MAX_INDEX - 1)))
                }
                None => Err(ModelError::data(format!("column '{}' has an index that is NULL", column.name))),
            });
            let index: Vec<usize> = index.collect::<Result<_>>()?;
            let value = finite(column, field("value")?)?;
            if value.null_count() > 0 {
                return Err(ModelError::data(format!("column '{}' has a value that is NULL in a list of indices and values", column.name)));
            }
            let used = offsets.first().copied().unwrap_or(0)..offsets.last().copied().unwrap_or(0);
            let width = index[used].iter().max().map_or(0, |most| most + 1);
            Ok(Column::Indexed { offsets, index, value, width })
        }
    }
}

/// Offsets of the rows' lists, and what lies in them.
fn lists<'a>(column: &FeatureColumn, array: &'a ArrayRef) -> Result<(Vec<usize>, &'a ArrayRef)> {
    if array.null_count() > 0 {
        return Err(ModelError::data(format!("column '{}' has a list that is NULL", column.name))
            .hint("filter such rows or replace NULL by a list"));
    }
    match array.data_type() {
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            Ok((lists.value_offsets().iter().map(|o| *o as usize).collect(), lists.values()))
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            Ok((lists.value_offsets().iter().map(|o| *o as usize).collect(), lists.values()))
        }
        DataType::FixedSizeList(_, length) => {
            let length = *length as usize;
            Ok(((0..=array.len()).map(|i| i * length).collect(), array.as_fixed_size_list().values()))
        }
        other => Err(ModelError::column(&column.name, format!("it is {}, not a list", sql_type_name(other)))),
    }
}

/// The values as numbers that are finite or NULL.
fn finite(column: &FeatureColumn, array: &ArrayRef) -> Result<Float64Array> {
    let cast = cast(array, &DataType::Float64).map_err(|e| ModelError::column(&column.name, e.to_string()))?;
    let values = cast.as_primitive::<Float64Type>().clone();
    if widest(AllFinite { values: values.values() }) {
        return Ok(values);
    }
    match values.iter().flatten().find(|v| !v.is_finite()) {
        None => Ok(values), // below a NULL
        Some(found) => Err(ModelError::data(format!("column '{}' holds {found}", column.name))
            .hint("features have to be finite numbers; filter such rows, or turn such values into NULL with NULLIF or CASE (NULL counts as the mean)")),
    }
}

struct AllFinite<'a> {
    values: &'a [f64],
}

impl Kernel for AllFinite<'_> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        const EXPONENT: u64 = 0x7ff << 52;
        self.values.iter().fold(0u64, |most, value| most.max(value.to_bits() & EXPONENT)) < EXPONENT
    }
}

/// Up to [`TILE_ROWS`] rows of features.
#[derive(Debug, Clone, PartialEq)]
pub struct Tile {
    /// How many rows there are.
    pub rows: usize,
    /// Feature `f` of row `r` at `f * TILE_ROWS + r`; rows that are not there are 0.
    pub values: Vec<f64>,
}

impl Tile {
    /// No rows yet.
    pub fn new(features: usize) -> Self {
        Self { rows: 0, values: vec![0.0; features * TILE_ROWS] }
    }

    /// A feature of all rows.
    pub fn feature(&self, feature: usize) -> &[f64] {
        &self.values[feature * TILE_ROWS..][..self.rows]
    }

    /// A feature of all rows, to be changed.
    pub fn feature_mut(&mut self, feature: usize) -> &mut [f64] {
        &mut self.values[feature * TILE_ROWS..][..self.rows]
    }
}

/// Rows of features, gathered.
#[derive(Debug, Default, PartialEq)]
pub struct Tiles {
    /// How many features each column has.
    pub widths: Vec<usize>,
    /// The rows; every tile but the last of a collector is full.
    pub tiles: Vec<Tile>,
}

impl Tiles {
    /// No rows yet; `widths` as [`FeatureColumns::widths`] tells.
    pub fn new(widths: Vec<usize>) -> Self {
        Self { widths, tiles: Vec::new() }
    }

    /// Features of a row.
    pub fn features(&self) -> usize {
        self.widths.iter().sum()
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.tiles.iter().map(|tile| tile.rows as u64).sum()
    }

    /// How many rows were pushed, when all tiles but the last are full.
    pub fn rows_pushed(&self) -> u64 {
        self.tiles.last().map_or(0, |last| ((self.tiles.len() - 1) * TILE_ROWS + last.rows) as u64)
    }

    /// Memory that is held, in bytes.
    pub fn bytes(&self) -> usize {
        self.tiles.iter().map(|tile| tile.values.capacity() * size_of::<f64>() + size_of::<Tile>()).sum()
    }

    /// Adds rows. `columns` made the numbers.
    ///
    /// # Errors
    /// Lists of another length than before.
    pub fn push(&mut self, columns: &FeatureColumns, numbers: &Numbers) -> Result<()> {
        if numbers.rows() == 0 {
            return Ok(());
        }
        let widths = columns.merge_widths(&self.widths, &numbers.widths())?;
        self.widen(&widths);
        let mut from = 0;
        while from < numbers.rows() {
            if self.tiles.last().is_none_or(|tile| tile.rows == TILE_ROWS) {
                self.tiles.push(Tile::new(self.features()));
            }
            let Some(tile) = self.tiles.last_mut() else { break };
            let count = (TILE_ROWS - tile.rows).min(numbers.rows() - from);
            numbers.fill(&self.widths, from, count, &mut tile.values, tile.rows);
            tile.rows += count;
            from += count;
        }
        Ok(())
    }

    /// Makes room for more features of the columns; those of the rows so far are 0.
    pub fn widen(&mut self, widths: &[usize]) {
        if self.widths == widths {
            return;
        }
        let features = widths.iter().sum();
        for tile in &mut self.tiles {
            let mut wider = Tile::new(features);
            wider.rows = tile.rows;
            let (mut from, mut to) = (0, 0);
            for (old, new) in self.widths.iter().zip(widths) {
                let length = old.min(new) * TILE_ROWS;
                wider.values[to * TILE_ROWS..][..length].copy_from_slice(&tile.values[from * TILE_ROWS..][..length]);
                from += old;
                to += new;
            }
            *tile = wider;
        }
        self.widths = widths.to_vec();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Decimal128Array, Int64Array, ListArray, ListBuilder, StringArray, StructArray};
    use arrow::array::{Float32Array, Float64Builder};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Fields;

    use super::*;
    use crate::error::Cause;

    fn columns(arrays: &[(&str, ArrayRef)]) -> Vec<InputColumn> {
        arrays.iter().map(|(name, a)| InputColumn { name: (*name).to_string(), data_type: a.data_type().clone() }).collect()
    }

    fn read(arrays: &[(&str, ArrayRef)]) -> Result<(Vec<String>, Tiles)> {
        let chosen = FeatureColumns::new(&columns(arrays), &[])?;
        let mut tiles = Tiles::new(chosen.widths());
        let arrays: Vec<ArrayRef> = arrays.iter().map(|(_, a)| Arc::clone(a)).collect();
        tiles.push(&chosen, &chosen.read(&arrays)?)?;
        Ok((chosen.names(&tiles.widths), tiles))
    }

    fn one_hot(rows: &[&[(i64, f64)]]) -> ArrayRef {
        let index = Int64Array::from_iter_values(rows.iter().flat_map(|r| r.iter().map(|p| p.0)));
        let value = Float64Array::from_iter_values(rows.iter().flat_map(|r| r.iter().map(|p| p.1)));
        let fields = Fields::from(vec![Field::new("index", DataType::Int64, true), Field::new("value", DataType::Float64, true)]);
        let pairs = StructArray::new(fields.clone(), vec![Arc::new(index), Arc::new(value)], None);
        let item = Arc::new(Field::new_list_field(DataType::Struct(fields), true));
        Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(rows.iter().map(|r| r.len())), Arc::new(pairs), None))
    }

    #[test]
    fn numbers_of_every_type() {
        let decimal = Decimal128Array::from(vec![150, -25]).with_precision_and_scale(10, 2).unwrap();
        let (names, tiles) = read(&[
            ("i", Arc::new(Int64Array::from(vec![Some(3), None]))),
            ("f", Arc::new(Float32Array::from(vec![0.5, 2.0]))),
            ("d", Arc::new(decimal)),
            ("b", Arc::new(BooleanArray::from(vec![true, false]))),
        ])
        .unwrap();
        assert_eq!(names, ["i", "f", "d", "b"]);
        let tile = &tiles.tiles[0];
        assert_eq!(tile.feature(0)[0], 3.0);
        assert!(tile.feature(0)[1].is_nan());
        assert_eq!((tile.feature(1), tile.feature(2), tile.feature(3)), (&[0.5, 2.0][..], &[1.5, -0.25][..], &[1.0, 0.0][..]));
    }

    #[test]
    fn lists_and_indices_become_several_features() {
        let mut list = ListBuilder::new(Float64Builder::new());
        list.append_value([Some(1.0), None]);
        list.append_value([Some(3.0), Some(4.0)]);
        let (names, tiles) = read(&[("v", Arc::new(list.finish())), ("c", one_hot(&[&[(2, 1.0)], &[(0, 1.0)]]))]).unwrap();
        assert_eq!(names, ["v[1]", "v[2]", "c[0]", "c[1]", "c[2]"]);
        let tile = &tiles.tiles[0];
        assert!(tile.feature(1)[0].is_nan());
        assert_eq!((tile.feature(0), tile.feature(1)[1]), (&[1.0, 3.0][..], 4.0));
        assert_eq!((tile.feature(2), tile.feature(3), tile.feature(4)), (&[0.0, 1.0][..], &[0.0, 0.0][..], &[1.0, 0.0][..]));
    }

    #[test]
    fn later_indices_widen_earlier_tiles() {
        let first = one_hot(&[&[(0, 1.0)]]);
        let number: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        let chosen = FeatureColumns::new(&columns(&[("c", Arc::clone(&first)), ("n", Arc::clone(&number))]), &[]).unwrap();
        let mut tiles = Tiles::new(chosen.widths());
        tiles.push(&chosen, &chosen.read(&[first, Arc::clone(&number)]).unwrap()).unwrap();
        tiles.push(&chosen, &chosen.read(&[one_hot(&[&[(2, 5.0)]]), number]).unwrap()).unwrap();
        assert_eq!(tiles.widths, [3, 1]);
        let tile = &tiles.tiles[0];
        let features: Vec<&[f64]> = (0..4).map(|f| tile.feature(f)).collect();
        assert_eq!(features, [&[1.0, 0.0][..], &[0.0, 0.0][..], &[0.0, 5.0][..], &[7.0, 7.0][..]]);
    }

    #[test]
    fn many_rows_fill_tiles() {
        let rows = 2 * TILE_ROWS + 5;
        let (_, tiles) = read(&[("x", Arc::new(Int64Array::from_iter_values(0..rows as i64)))]).unwrap();
        assert_eq!((tiles.tiles.len(), tiles.rows()), (3, rows as u64));
        assert_eq!(tiles.tiles[2].feature(0), [2048.0, 2049.0, 2050.0, 2051.0, 2052.0]);
    }

    #[test]
    fn refuses_what_is_no_finite_number() {
        let error = read(&[("city", Arc::new(StringArray::from(vec!["A"])))]).unwrap_err();
        assert_eq!(error.cause, Cause::Column("city".to_string()));
        assert!(error.hint.unwrap().contains("ML.ONE_HOT_ENCODER(city)"));
        for wrong in [f64::NAN, f64::INFINITY] {
            let error = read(&[("x", Arc::new(Float64Array::from(vec![1.0, wrong])))]).unwrap_err();
            assert!(error.cause == Cause::Data && error.message.contains("'x'"), "{error}");
        }
        let mut uneven = ListBuilder::new(Float64Builder::new());
        uneven.append_value([Some(1.0)]);
        uneven.append_value([Some(1.0), Some(2.0)]);
        assert!(read(&[("v", Arc::new(uneven.finish()))]).unwrap_err().message.contains("of 1 and of 2"));
        assert!(read(&[("c", one_hot(&[&[(-1, 1.0)]]))]).unwrap_err().message.contains("-1"));
        assert!(read(&[]).is_err());
    }
}
