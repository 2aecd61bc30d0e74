//! Batches as gRPC messages that are sent from where the rows lie in memory. arrow-flight's own encoder copies each batch into an IPC message, and that into a
//! gRPC message; here only what goes around the columns is written, and what is small.
//!
//! ```text
//!   0 │ length │ FlightData: data_header = IPC metadata, data_body = │ column │ column │ …
//! ```

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamEncoder;
use bytes::{BufMut as _, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// Numbers of fields of `FlightData`, as the protocol has them.
const DATA_HEADER: u32 = 2;
const DATA_BODY: u32 = 1000;
/// Of what a message of gRPC begins with: whether it is compressed, and its length.
pub(super) const PREFIX_BYTES: usize = 5;
/// Of what a message of IPC begins with: a mark, and the length of the metadata.
const MARK_BYTES: usize = 8;
/// Columns that are shorter are copied: each piece that is sent by itself costs a call of the system. It is the size of HTTP/2's frames unless a client takes
/// larger ones.
const PIECE_BYTES: usize = 16 << 10;
/// What a short result takes, so that its messages are written into one piece of memory.
const SMALL_BYTES: usize = 1 << 10;
/// Larger batches are sent in parts, since clients refuse messages above four megabytes unless told otherwise.
const MESSAGE_BYTES: usize = 2 << 20;

/// The messages of one result, in pieces.
pub(super) struct RowMessages {
    encoder: StreamEncoder,
    pieces: VecDeque<Bytes>,
    /// The last piece, to which more may be added.
    open: BytesMut,
}

impl RowMessages {
    /// The message that goes before rows with these columns.
    ///
    /// # Errors
    /// A type that does not travel.
    pub fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        let mut encoder = StreamEncoder::try_new(schema)?;
        // It puts the schema before its first batch.
        let mut buffers = encoder.encode(&RecordBatch::new_empty(schema.clone()))?.into_iter();
        let header = header_of(&mut buffers)?;
        let mut messages = Self { encoder, pieces: VecDeque::new(), open: BytesMut::with_capacity(2 * header.len() + SMALL_BYTES) };
        messages.add_message(&header, Vec::new())?;
        Ok(messages)
    }

    /// The next piece that nothing can be added to.
    pub fn next(&mut self) -> Option<Bytes> {
        self.pieces.pop_front()
    }

    /// The rest, for when there is nothing to add at the moment.
    pub fn rest(&mut self) -> Option<Bytes> {
        self.next().or_else(|| (!self.open.is_empty()).then(|| self.open.split().freeze()))
    }

    /// Adds the messages of a batch.
    ///
    /// # Errors
    /// The batch cannot be encoded.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let bytes: usize = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum();
        let rows = batch.num_rows();
        let parts = bytes.div_ceil(MESSAGE_BYTES).clamp(1, rows.max(1));
        let most = rows.div_ceil(parts);
        for part in 0..parts {
            let at = (part * most).min(rows);
            let part = if parts == 1 { batch.clone() } else { batch.slice(at, most.min(rows - at)) };
            let mut buffers = self.encoder.encode(&part)?.into_iter();
            let header = header_of(&mut buffers)?;
            self.add_message(&header, buffers.collect())?;
        }
        Ok(())
    }

    /// Adds a message of IPC as one of gRPC.
    fn add_message(&mut self, header: &[u8], body: Vec<Buffer>) -> Result<(), ArrowError> {
        let body_bytes: usize = body.iter().map(Buffer::len).sum();
        let of_field = |number: u32, bytes: usize| key_len(number) + encoded_len_varint(bytes as u64) + bytes;
        // A field that is empty is not there.
        let of_body = if body_bytes > 0 { of_field(DATA_BODY, body_bytes) } else { 0 };
        put_prefix(of_field(DATA_HEADER, header.len()) + of_body, &mut self.open)?;
        encode_key(DATA_HEADER, WireType::LengthDelimited, &mut self.open);
        encode_varint(header.len() as u64, &mut self.open);
        self.open.put_slice(header);
        if body_bytes > 0 {
            encode_key(DATA_BODY, WireType::LengthDelimited, &mut self.open);
            encode_varint(body_bytes as u64, &mut self.open);
        }
        body.into_iter().for_each(|buffer| self.add_buffer(buffer));
        Ok(())
    }

    /// Adds a column's bytes.
    fn add_buffer(&mut self, buffer: Buffer) {
        let missing = PIECE_BYTES.saturating_sub(self.open.len());
        if buffer.len() < missing + PIECE_BYTES {
            self.open.put_slice(&buffer);
            if self.open.len() >= PIECE_BYTES {
                self.close();
            }
            return;
        }
        // What is there is filled up, so that it is not sent as a small piece.
        self.open.put_slice(&buffer[..missing]);
        self.close();
        self.pieces.push_back(Bytes::from_owner(Rows(buffer.slice(missing))));
    }

    fn close(&mut self) {
        self.pieces.push_back(self.open.split().freeze());
    }
}

/// Puts what a message of gRPC begins with.
fn put_prefix(length: usize, bytes: &mut BytesMut) -> Result<(), ArrowError> {
    let length = u32::try_from(length).map_err(|_| ArrowError::IpcError(format!("a message of {length} bytes is too long")))?;
    bytes.put_u8(0);
    bytes.put_u32(length);
    Ok(())
}

/// The metadata of a message of IPC, taken from its first buffers.
fn header_of(buffers: &mut impl Iterator<Item = Buffer>) -> Result<Vec<u8>, ArrowError> {
    let mut header = Vec::new();
    let mut header_bytes = MARK_BYTES;
    while header.len() < header_bytes {
        let next = buffers.next().ok_or_else(|| ArrowError::IpcError("a message of IPC has no end".to_string()))?;
        header.extend_from_slice(&next);
        if let [_, _, _, _, a, b, c, d, ..] = header[..] {
            header_bytes = MARK_BYTES + u32::from_le_bytes([a, b, c, d]) as usize;
        }
    }
    if header.len() != header_bytes {
        return Err(ArrowError::IpcError("metadata and rows of a message of IPC are in one piece".to_string()));
    }
    Ok(header.split_off(MARK_BYTES))
}

/// A column's bytes, which live as long as somebody sends them.
struct Rows(Buffer);

impl AsRef<[u8]> for Rows {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, StringArray};
    use arrow::datatypes::Int32Type;
    use arrow_flight::FlightData;
    use arrow_flight::decode::FlightRecordBatchStream;
    use futures::TryStreamExt as _;
    use prost::Message as _;

    /// The messages that pieces make together, each of which has to be one that prost reads.
    fn messages(mut rows: RowMessages) -> Vec<FlightData> {
        let pieces = std::iter::from_fn(|| rows.rest());
        let mut bytes = Bytes::from(pieces.flat_map(|piece| piece.to_vec()).collect::<Vec<u8>>());
        let mut messages = Vec::new();
        while !bytes.is_empty() {
            let prefix = bytes.split_to(PREFIX_BYTES);
            assert_eq!(prefix[0], 0);
            let length = u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize;
            messages.push(FlightData::decode(bytes.split_to(length)).unwrap());
        }
        messages
    }

    async fn there_and_back(schema: &SchemaRef, batches: &[RecordBatch]) -> (Vec<FlightData>, Vec<RecordBatch>) {
        let mut rows = RowMessages::new(schema).unwrap();
        for batch in batches {
            rows.add(batch).unwrap();
        }
        let messages = messages(rows);
        let read = FlightRecordBatchStream::new_from_flight_data(futures::stream::iter(messages.clone().into_iter().map(Ok)));
        (messages, read.try_collect().await.unwrap())
    }

    fn batch(rows: usize) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
        let gaps: ArrayRef = Arc::new(Float64Array::from_iter((0..rows).map(|i| (i % 3 > 0).then_some(i as f64))));
        let flags: ArrayRef = Arc::new(BooleanArray::from_iter((0..rows).map(|i| (i % 5 > 0).then_some(i % 2 == 0))));
        let texts: ArrayRef = Arc::new(StringArray::from_iter((0..rows).map(|i| (i % 7 > 0).then(|| "x".repeat(i % 11)))));
        let lists = (0..rows).map(|i| (i % 4 > 0).then(|| vec![Some(i as i32); i % 4]));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
        let columns = [("n", numbers), ("g", gaps), ("f", flags), ("t", texts), ("l", lists)];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    #[tokio::test]
    async fn rows_come_as_they_were() {
        let schema = batch(1).schema();
        for sizes in [vec![], vec![0], vec![1], vec![1, 0, 7], vec![8192, 100], vec![50_000]] {
            let batches: Vec<RecordBatch> = sizes.iter().map(|size| batch(*size)).collect();
            let (_, read) = there_and_back(&schema, &batches).await;
            let whole = |batches: &[RecordBatch]| arrow::compute::concat_batches(&schema, batches).unwrap();
            assert_eq!(whole(&read), whole(&batches), "{sizes:?}");
        }
    }

    #[tokio::test]
    async fn a_part_of_a_batch_is_sent_by_itself() {
        let whole = batch(20_000);
        let part = whole.slice(13, 9_001);
        let (messages, read) = there_and_back(&whole.schema(), std::slice::from_ref(&part)).await;
        assert_eq!(read, std::slice::from_ref(&part));
        assert!(messages[1].data_body.len() < 2 * 9_001 * (8 + 8 + 8 + 4 + 8), "{}", messages[1].data_body.len());
    }

    #[tokio::test]
    async fn large_batches_are_sent_in_messages_that_clients_take() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000_000));
        let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        let (messages, read) = there_and_back(&batch.schema(), std::slice::from_ref(&batch)).await;
        assert_eq!(messages.len(), 1 + 8_000_000_usize.div_ceil(MESSAGE_BYTES));
        assert!(messages.iter().all(|message| message.data_body.len() <= MESSAGE_BYTES + 64));
        assert_eq!(arrow::compute::concat_batches(&batch.schema(), &read).unwrap(), batch);
    }

    /// Rows without columns are counted all the same.
    #[tokio::test]
    async fn rows_without_columns_are_counted() {
        let schema = Arc::new(arrow::datatypes::Schema::empty());
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(3));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), vec![], &options).unwrap();
        let (_, read) = there_and_back(&schema, &[batch]).await;
        assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    }

    #[test]
    fn long_columns_are_not_copied() {
        let column = Int64Array::from_iter_values(0..100_000);
        let address = column.values().inner().as_ptr() as usize;
        let batch = RecordBatch::try_from_iter([("n", Arc::new(column) as ArrayRef)]).unwrap();
        let mut rows = RowMessages::new(&batch.schema()).unwrap();
        rows.add(&batch).unwrap();
        let pieces = std::iter::from_fn(|| rows.rest());
        let in_place = pieces.filter(|piece| (address..address + 800_000).contains(&(piece.as_ptr() as usize)));
        let sent_in_place: usize = in_place.map(|piece| piece.len()).sum();
        assert!(sent_in_place > 800_000 - 2 * PIECE_BYTES, "{sent_in_place}");
    }
}
