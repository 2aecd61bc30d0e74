//! One value of any Arrow type per group, replaced again and again: the memory of `first_value` and its like.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BinaryViewArray, BooleanBufferBuilder, StringViewArray, StructArray, UInt32Array, make_array,
    new_null_array,
};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::compute::{cast, interleave, take};
use arrow::datatypes::{ArrowNativeType, DataType, Fields};
use arrow::error::ArrowError;

use super::order_keys::{Move, take_bits, take_front};
use super::view_store::ViewStore;

/// A value per group; null for a group that was never written.
pub trait ValueStore: Send + Sync {
    /// Writes the values of some rows of `column` to groups, in the order of `moves`. Groups are below `total_groups`.
    fn write(&mut self, column: &ArrayRef, moves: &[Move], total_groups: usize) -> Result<(), ArrowError>;
    /// Takes the values of the first `groups` groups out; the other groups move down.
    fn take_first(&mut self, groups: usize) -> Result<ArrayRef, ArrowError>;
    /// Bytes allocated.
    fn allocated_bytes(&self) -> usize;
}

/// The store for values of `data_type`: flat for fixed widths and byte strings, field by field for structs, chunks of
/// rows for every other type.
pub fn new_value_store(data_type: &DataType) -> Box<dyn ValueStore> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            Box::new(Bytes { data_type: data_type.clone(), strings: ViewStore::default(), valid: BooleanBufferBuilder::new(0) })
        }
        DataType::Struct(fields) => Box::new(Structs {
            fields: fields.clone(),
            children: fields.iter().map(|field| new_value_store(field.data_type())).collect(),
            valid: BooleanBufferBuilder::new(0),
        }),
        // Intervals are aligned less strictly than integers of their width.
        DataType::Interval(_) => Chunks::boxed(data_type),
        other => match other.primitive_width() {
            Some(1) => Fixed::<u8>::boxed(other),
            Some(2) => Fixed::<u16>::boxed(other),
            Some(4) => Fixed::<u32>::boxed(other),
            Some(8) => Fixed::<u64>::boxed(other),
            Some(16) => Fixed::<u128>::boxed(other),
            _ => Chunks::boxed(other),
        },
    }
}

/// Fixed-width values as plain bits; `W` is the unsigned integer of their width.
struct Fixed<W> {
    data_type: DataType,
    values: Vec<W>,
    valid: BooleanBufferBuilder,
}

impl<W: ArrowNativeType> Fixed<W> {
    fn boxed(data_type: &DataType) -> Box<dyn ValueStore> {
        Box::new(Self { data_type: data_type.clone(), values: Vec::new(), valid: BooleanBufferBuilder::new(0) })
    }
}

impl<W: ArrowNativeType> ValueStore for Fixed<W> {
    fn write(&mut self, column: &ArrayRef, moves: &[Move], total_groups: usize) -> Result<(), ArrowError> {
        self.values.resize(total_groups.max(self.values.len()), W::default());
        let data = column.to_data();
        let bits = data.buffer::<W>(0);
        for (row, group) in moves {
            self.values[*group as usize] = bits[*row as usize];
        }
        write_validity(&mut self.valid, column, moves, total_groups);
        Ok(())
    }

    fn take_first(&mut self, groups: usize) -> Result<ArrayRef, ArrowError> {
        self.values.resize(groups.max(self.values.len()), W::default());
        let values = take_front(&mut self.values, groups);
        let nulls = take_nulls(&mut self.valid, groups);
        let data = ArrayData::builder(self.data_type.clone()).len(groups).add_buffer(Buffer::from_vec(values)).nulls(nulls).build()?;
        Ok(make_array(data))
    }

    fn allocated_bytes(&self) -> usize {
        self.values.capacity() * size_of::<W>() + self.valid.capacity() / 8
    }
}

/// Text and binary values.
struct Bytes {
    data_type: DataType,
    strings: ViewStore,
    valid: BooleanBufferBuilder,
}

impl ValueStore for Bytes {
    fn write(&mut self, column: &ArrayRef, moves: &[Move], total_groups: usize) -> Result<(), ArrowError> {
        self.strings.grow_to(total_groups);
        let strings = &mut self.strings;
        with_byte_strings!(column, array => {
            for (row, group) in moves {
                strings.set(*group as usize, array.value(*row as usize).as_ref());
            }
        }, return Err(wrong_type(column, &self.data_type)));
        write_validity(&mut self.valid, column, moves, total_groups);
        Ok(())
    }

    fn take_first(&mut self, groups: usize) -> Result<ArrayRef, ArrowError> {
        self.strings.grow_to(groups);
        let (views, blocks) = self.strings.take_first(groups);
        let nulls = take_nulls(&mut self.valid, groups);
        match &self.data_type {
            text @ (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => {
                let array: ArrayRef = Arc::new(StringViewArray::try_new(views, blocks, nulls)?);
                if *text == DataType::Utf8View { Ok(array) } else { cast(&array, text) }
            }
            binary => {
                let array: ArrayRef = Arc::new(BinaryViewArray::try_new(views, blocks, nulls)?);
                if *binary == DataType::BinaryView { Ok(array) } else { cast(&array, binary) }
            }
        }
    }

    fn allocated_bytes(&self) -> usize {
        self.strings.allocated_bytes() + self.valid.capacity() / 8
    }
}

/// Structs, field by field.
struct Structs {
    fields: Fields,
    children: Vec<Box<dyn ValueStore>>,
    valid: BooleanBufferBuilder,
}

impl ValueStore for Structs {
    fn write(&mut self, column: &ArrayRef, moves: &[Move], total_groups: usize) -> Result<(), ArrowError> {
        for (child, values) in self.children.iter_mut().zip(column.as_struct().columns()) {
            child.write(values, moves, total_groups)?;
        }
        write_validity(&mut self.valid, column, moves, total_groups);
        Ok(())
    }

    fn take_first(&mut self, groups: usize) -> Result<ArrayRef, ArrowError> {
        let children = self.children.iter_mut().map(|child| child.take_first(groups)).collect::<Result<Vec<_>, _>>()?;
        let nulls = take_nulls(&mut self.valid, groups);
        let data = ArrayData::builder(DataType::Struct(self.fields.clone()))
            .len(groups)
            .child_data(children.iter().map(|child| child.to_data()).collect())
            .nulls(nulls)
            .build()?;
        Ok(Arc::new(StructArray::from(data)))
    }

    fn allocated_bytes(&self) -> usize {
        self.children.iter().map(|child| child.allocated_bytes()).sum::<usize>() + self.valid.capacity() / 8
    }
}

/// Values of any type, as the chunks of rows in which they came.
struct Chunks {
    data_type: DataType,
    chunks: Vec<ArrayRef>,
    /// Chunk and row of each group's value. Chunk 0 is one null, for groups without a value.
    held_by: Vec<(u32, u32)>,
    /// Rows in all chunks, of which at most one per group is in use.
    rows: usize,
}

/// Unused rows that are tolerated however few groups there are.
const LEAST_UNUSED_ROWS: usize = 8192;

impl Chunks {
    fn boxed(data_type: &DataType) -> Box<dyn ValueStore> {
        Box::new(Self { data_type: data_type.clone(), chunks: vec![new_null_array(data_type, 1)], held_by: Vec::new(), rows: 0 })
    }

    fn gather(&self, held_by: &[(u32, u32)]) -> Result<ArrayRef, ArrowError> {
        if held_by.is_empty() {
            return Ok(new_null_array(&self.data_type, 0));
        }
        let chunks: Vec<&dyn Array> = self.chunks.iter().map(AsRef::as_ref).collect();
        let places: Vec<(usize, usize)> = held_by.iter().map(|(chunk, row)| (*chunk as usize, *row as usize)).collect();
        interleave(&chunks, &places)
    }

    /// Keeps only the rows that are in use, in one chunk.
    fn compact(&mut self) -> Result<(), ArrowError> {
        let kept = self.gather(&self.held_by)?;
        self.rows = kept.len();
        self.chunks.truncate(1);
        self.chunks.push(kept);
        self.held_by = (0..self.rows as u32).map(|row| (1, row)).collect();
        Ok(())
    }
}

impl ValueStore for Chunks {
    fn write(&mut self, column: &ArrayRef, moves: &[Move], total_groups: usize) -> Result<(), ArrowError> {
        self.held_by.resize(total_groups.max(self.held_by.len()), (0, 0));
        if moves.is_empty() {
            return Ok(());
        }
        let chunk = self.chunks.len() as u32;
        for (place, (_, group)) in moves.iter().enumerate() {
            self.held_by[*group as usize] = (chunk, place as u32);
        }
        let rows = UInt32Array::from_iter_values(moves.iter().map(|(row, _)| *row));
        self.chunks.push(take(column, &rows, None)?);
        self.rows += moves.len();
        if self.rows > 2 * self.held_by.len() + LEAST_UNUSED_ROWS {
            self.compact()?;
        }
        Ok(())
    }

    fn take_first(&mut self, groups: usize) -> Result<ArrayRef, ArrowError> {
        self.held_by.resize(groups.max(self.held_by.len()), (0, 0));
        let taken = take_front(&mut self.held_by, groups);
        let values = self.gather(&taken)?;
        self.compact()?;
        Ok(values)
    }

    fn allocated_bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|chunk| chunk.get_array_memory_size()).sum();
        chunks + self.held_by.capacity() * size_of::<(u32, u32)>()
    }
}

fn write_validity(valid: &mut BooleanBufferBuilder, column: &ArrayRef, moves: &[Move], total_groups: usize) {
    if valid.len() < total_groups {
        valid.resize(total_groups);
    }
    match column.logical_nulls() {
        None => moves.iter().for_each(|(_, group)| valid.set_bit(*group as usize, true)),
        Some(nulls) => moves.iter().for_each(|(row, group)| valid.set_bit(*group as usize, nulls.is_valid(*row as usize))),
    }
}

fn take_nulls(valid: &mut BooleanBufferBuilder, groups: usize) -> Option<NullBuffer> {
    Some(NullBuffer::new(take_bits(valid, groups))).filter(|nulls| nulls.null_count() > 0)
}

fn wrong_type(column: &ArrayRef, expected: &DataType) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("expected a column of type {expected}, got {}", column.data_type()))
}

#[cfg(test)]
mod tests;
