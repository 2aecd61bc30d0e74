//! Ids of any type: each side has a sorted dictionary, and an id's place in it stands for the id from then on.
//!
//! The order is by value (numbers, dates, decimals), by bytes for texts, so that the dictionary depends on nothing but the ids themselves.

use std::io::Cursor;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, UInt32Array, make_array, new_null_array};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, Schema, UInt64Type};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::row::{RowConverter, SortField};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher as _;

use crate::keyed_random::mix;
use crate::type_names::sql_type_name;
use crate::{ModelError, Result};

/// Stands for an id that the dictionary does not have.
pub const UNKNOWN: u32 = u32::MAX;
const SIGN: u64 = 1 << 63;

/// The type in which ids of a type are kept: texts and bytes in one form each, dictionaries unfolded, all others as they are.
///
/// # Errors
/// Types that cannot be ids (lists, structs, maps and the like).
pub fn canonical_type(column: &str, data_type: &DataType) -> Result<DataType> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(DataType::Utf8),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Ok(DataType::Binary),
        DataType::Dictionary(_, values) => canonical_type(column, values),
        DataType::Float16 => Ok(DataType::Float32),
        flat if flat.is_primitive() || matches!(flat, DataType::Boolean | DataType::FixedSizeBinary(_)) => Ok(flat.clone()),
        other => Err(ModelError::column(column, format!("values of type {} cannot be ids", sql_type_name(other)))
            .hint("use numbers, texts or dates")),
    }
}

/// Ids in the type in which they are kept; 0 and -0 become one.
///
/// # Errors
/// Ids that are NULL or NaN, named with their column.
pub fn canonical(column: &str, ids: &ArrayRef) -> Result<ArrayRef> {
    let nulls = ids.logical_null_count();
    if nulls > 0 {
        return Err(ModelError::column(column, format!("{nulls} of {} ids are NULL", ids.len())).hint("leave these rows out in the query"));
    }
    let ids = cast(ids, &canonical_type(column, ids.data_type())?).map_err(|e| ModelError::column(column, e.to_string()))?;
    let ids = with_one_zero(ids);
    let nan = match ids.data_type() {
        DataType::Float32 => ids.as_primitive::<Float32Type>().values().iter().any(|v| v.is_nan()),
        DataType::Float64 => ids.as_primitive::<Float64Type>().values().iter().any(|v| v.is_nan()),
        _ => false,
    };
    if nan { Err(ModelError::column(column, "an id is NaN").hint("leave these rows out in the query")) } else { Ok(ids) }
}

/// Makes 0 of -0.
fn with_one_zero(ids: ArrayRef) -> ArrayRef {
    match ids.data_type() {
        DataType::Float32 => Arc::new(ids.as_primitive::<Float32Type>().unary::<_, Float32Type>(|v| v + 0.0)),
        DataType::Float64 => Arc::new(ids.as_primitive::<Float64Type>().unary::<_, Float64Type>(|v| v + 0.0)),
        _ => ids,
    }
}

/// Keys of ids in the order of the ids.
enum Encoded {
    Words(Vec<u64>),
    Bytes(BinaryArray),
}

fn encode(ids: &ArrayRef) -> Result<Encoded> {
    let bug = |e: arrow::error::ArrowError| ModelError::bug(format!("ids of type {}: {e}", ids.data_type()));
    Ok(match ids.data_type() {
        DataType::UInt64 => Encoded::Words(ids.as_primitive::<UInt64Type>().values().to_vec()),
        kind if kind.is_integer() || matches!(kind, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..)) => {
            let numbers = cast(ids, &DataType::Int64).map_err(bug)?;
            Encoded::Words(numbers.as_primitive::<Int64Type>().values().iter().map(|v| *v as u64 ^ SIGN).collect())
        }
        DataType::Utf8 => Encoded::Bytes(BinaryArray::from(ids.as_string::<i32>().clone())),
        DataType::Binary => Encoded::Bytes(ids.as_binary::<i32>().clone()),
        other => {
            let converter = RowConverter::new(vec![SortField::new(other.clone())]).map_err(bug)?;
            let rows = converter.convert_columns(std::slice::from_ref(ids)).map_err(bug)?;
            Encoded::Bytes(rows.try_into_binary().map_err(bug)?)
        }
    })
}

enum Keys {
    Empty,
    Words(Vec<u64>),
    Bytes { text: Vec<u8>, ends: Vec<usize> },
}

impl Keys {
    fn bytes_at<'a>(text: &'a [u8], ends: &[usize], place: usize) -> &'a [u8] {
        let start = if place == 0 { 0 } else { ends[place - 1] };
        &text[start..ends[place]]
    }
}

/// Gives each distinct id a number, from 0 in the order in which they come.
pub struct Interner {
    hasher: FixedState,
    table: HashTable<u32>,
    keys: Keys,
    /// The distinct ids, in the order of their numbers.
    ids: Vec<ArrayRef>,
}

impl Default for Interner {
    fn default() -> Self {
        Self { hasher: FixedState::default(), table: HashTable::new(), keys: Keys::Empty, ids: Vec::new() }
    }
}

impl Interner {
    /// How many distinct ids there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Memory that is held, in bytes.
    pub fn bytes(&self) -> usize {
        let keys = match &self.keys {
            Keys::Empty => 0,
            Keys::Words(words) => words.capacity() * 8,
            Keys::Bytes { text, ends } => text.capacity() + ends.capacity() * 8,
        };
        keys + self.table.capacity() * 5 + self.ids.iter().map(|ids| ids.get_array_memory_size()).sum::<usize>()
    }

    /// The numbers of canonical ids; new ids get new ones.
    ///
    /// # Errors
    /// More ids than numbers of 32 bits.
    pub fn intern(&mut self, ids: &ArrayRef) -> Result<Vec<u32>> {
        let Self { hasher, table, keys, .. } = self;
        let mut numbers = Vec::with_capacity(ids.len());
        let mut new = Vec::new();
        match encode(ids)? {
            Encoded::Words(words) => {
                if matches!(keys, Keys::Empty) {
                    *keys = Keys::Words(Vec::new());
                }
                let Keys::Words(known) = keys else { return Err(mixed_types()) };
                for (row, word) in words.into_iter().enumerate() {
                    let entry = table.entry(hasher.hash_one(word), |n| known[*n as usize] == word, |n| hasher.hash_one(known[*n as usize]));
                    let number = *entry.or_insert_with(|| known.len() as u32).get();
                    if number as usize == known.len() {
                        known.push(word);
                        new.push(row as u32);
                    }
                    numbers.push(number);
                }
            }
            Encoded::Bytes(values) => {
                if matches!(keys, Keys::Empty) {
                    *keys = Keys::Bytes { text: Vec::new(), ends: Vec::new() };
                }
                let Keys::Bytes { text, ends } = keys else { return Err(mixed_types()) };
                for row in 0..values.len() {
                    let value = values.value(row);
                    let known = |n: &u32| Keys::bytes_at(text, ends, *n as usize);
                    let entry = table.entry(hasher.hash_one(value), |n| known(n) == value, |n| hasher.hash_one(known(n)));
                    let number = *entry.or_insert_with(|| ends.len() as u32).get();
                    if number as usize == ends.len() {
                        text.extend_from_slice(value);
                        ends.push(text.len());
                        new.push(row as u32);
                    }
                    numbers.push(number);
                }
            }
        }
        if !new.is_empty() {
            self.ids.push(take(ids, &UInt32Array::from(new), None).map_err(|e| ModelError::bug(format!("distinct ids: {e}")))?);
        }
        if self.table.len() >= UNKNOWN as usize {
            return Err(ModelError::data(format!("there are more than {UNKNOWN} distinct ids")));
        }
        Ok(numbers)
    }

    /// The numbers of canonical ids; [`UNKNOWN`] for NULL and for ids that were never interned.
    ///
    /// # Errors
    /// Ids of another type than those interned.
    pub fn find(&self, ids: &ArrayRef) -> Result<Vec<u32>> {
        let present = |row: usize| ids.is_valid(row);
        Ok(match (encode(ids)?, &self.keys) {
            (_, Keys::Empty) => vec![UNKNOWN; ids.len()],
            (Encoded::Words(words), Keys::Words(known)) => {
                let find = |word: u64| self.table.find(self.hasher.hash_one(word), |n| known[*n as usize] == word).copied();
                words.into_iter().enumerate().map(|(row, word)| find(word).filter(|_| present(row)).unwrap_or(UNKNOWN)).collect()
            }
            (Encoded::Bytes(values), Keys::Bytes { text, ends }) => {
                let known = |n: &u32| Keys::bytes_at(text, ends, *n as usize);
                let find = |value: &[u8]| self.table.find(self.hasher.hash_one(value), |n| known(n) == value).copied();
                (0..values.len()).map(|row| find(values.value(row)).filter(|_| present(row)).unwrap_or(UNKNOWN)).collect()
            }
            _ => return Err(mixed_types()),
        })
    }

    /// The distinct ids, sorted, and the place of each number in that order. `None` when there are no ids.
    ///
    /// # Errors
    /// Ids that do not fit an array.
    pub fn sorted(&self) -> Result<Option<(ArrayRef, Vec<u32>)>> {
        if self.ids.is_empty() {
            return Ok(None);
        }
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        match &self.keys {
            Keys::Empty => {}
            Keys::Words(words) => order.sort_unstable_by_key(|n| words[*n as usize]),
            Keys::Bytes { text, ends } => {
                order.sort_unstable_by(|a, b| Keys::bytes_at(text, ends, *a as usize).cmp(Keys::bytes_at(text, ends, *b as usize)));
            }
        }
        let mut places = vec![0; order.len()];
        for (place, number) in order.iter().enumerate() {
            places[*number as usize] = place as u32;
        }
        let parts: Vec<&dyn Array> = self.ids.iter().map(AsRef::as_ref).collect();
        let failed = |e: arrow::error::ArrowError| ModelError::data(format!("the ids do not fit one array: {e}"));
        let ids = take(&concat(&parts).map_err(failed)?, &UInt32Array::from(order), None).map_err(failed)?;
        // A bitmap that says nothing must not make a difference in the file.
        let ids = make_array(ids.to_data().into_builder().nulls(None).build().map_err(failed)?);
        Ok(Some((ids, places)))
    }

    /// A random key of each id, in the order of their numbers, that depends on nothing but the id.
    pub fn random_keys(&self) -> Vec<u64> {
        match &self.keys {
            Keys::Empty => Vec::new(),
            Keys::Words(words) => words.iter().map(|word| mix(mix(*word) ^ 8)).collect(),
            Keys::Bytes { text, ends } => (0..ends.len()).map(|place| bytes_key(Keys::bytes_at(text, ends, place))).collect(),
        }
    }
}

fn bytes_key(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let key = words.iter().fold(bytes.len() as u64, |key, word| mix(key ^ u64::from_le_bytes(*word)).wrapping_add(SIGN));
    mix(rest.iter().fold(key, |key, byte| mix(key ^ u64::from(*byte)).wrapping_add(1)))
}

fn mixed_types() -> ModelError {
    ModelError::bug("ids of different types in one column")
}

/// The distinct ids of one side, sorted.
pub struct Dictionary {
    ids: ArrayRef,
    index: OnceLock<Result<Interner>>,
}

impl Dictionary {
    /// Of ids that are canonical, sorted and distinct.
    pub fn new(ids: ArrayRef) -> Self {
        Self { ids, index: OnceLock::new() }
    }

    /// One id that nobody has, of a canonical type: what stands for ids that are not known yet.
    ///
    /// # Errors
    /// A type of which there are no arrays without NULL.
    pub fn placeholder(id_type: &DataType) -> Result<Self> {
        let zero = new_null_array(id_type, 1).to_data().into_builder().nulls(None).build();
        let zero = zero.map_err(|e| ModelError::bug(format!("an id of type {id_type}: {e}")))?;
        Ok(Self::new(make_array(zero)))
    }

    /// The ids.
    pub fn ids(&self) -> &ArrayRef {
        &self.ids
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Memory that is held, in bytes.
    pub fn bytes(&self) -> usize {
        let index = match self.index.get() {
            Some(Ok(index)) => index.bytes(),
            _ => self.ids.len() * 16,
        };
        self.ids.get_array_memory_size() + index
    }

    fn index(&self) -> Result<&Interner> {
        let index = self.index.get_or_init(|| {
            let mut index = Interner::default();
            index.intern(&self.ids)?;
            if index.len() == self.ids.len() { Ok(index) } else { Err(ModelError::file("an id occurs twice in the model's dictionary")) }
        });
        index.as_ref().map_err(Clone::clone)
    }

    /// The places of ids; [`UNKNOWN`] for those that are not there and for NULL. Ids of another type are converted.
    ///
    /// # Errors
    /// Ids of a type that cannot be converted.
    pub fn places(&self, column: &str, ids: &ArrayRef) -> Result<Vec<u32>> {
        let failed = |e: arrow::error::ArrowError| ModelError::column(column, e.to_string());
        let ids = if ids.data_type() == self.ids.data_type() { ids.clone() } else { cast(ids, self.ids.data_type()).map_err(failed)? };
        self.index()?.find(&with_one_zero(ids))
    }

    /// A random key of each id that depends on nothing but the id.
    ///
    /// # Errors
    /// An id that occurs twice.
    pub fn random_keys(&self) -> Result<Vec<u64>> {
        Ok(self.index()?.random_keys())
    }

    /// An id as text.
    pub fn text(&self, place: usize) -> String {
        arrow::util::display::array_value_to_string(&self.ids, place).unwrap_or_else(|e| e.to_string())
    }

    /// The ids as an Arrow stream of one batch with the only column `id`.
    ///
    /// # Errors
    /// Ids that the format cannot hold.
    pub fn to_ipc(&self) -> Result<Vec<u8>> {
        let bug = |e: arrow::error::ArrowError| ModelError::bug(format!("ids as bytes: {e}"));
        let schema = Arc::new(Schema::new(vec![Field::new("id", self.ids.data_type().clone(), false)]));
        let batch = RecordBatch::try_new(schema.clone(), vec![self.ids.clone()]).map_err(bug)?;
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(bug)?;
        writer.write(&batch).and_then(|()| writer.finish()).map_err(bug)?;
        writer.into_inner().map_err(bug)
    }

    /// Reads what [`Dictionary::to_ipc`] wrote.
    ///
    /// # Errors
    /// Damaged bytes.
    pub fn from_ipc(bytes: &[u8]) -> Result<Self> {
        let damaged = |e: arrow::error::ArrowError| ModelError::file(format!("the ids of the model file are damaged: {e}"));
        let mut reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(damaged)?;
        let batch = reader.next().ok_or_else(|| ModelError::file("the ids of the model file are missing"))?.map_err(damaged)?;
        match batch.columns() {
            [ids] if ids.null_count() == 0 => Ok(Self::new(ids.clone())),
            _ => Err(ModelError::file("the ids of the model file are damaged: one column without NULL was expected")),
        }
    }
}
