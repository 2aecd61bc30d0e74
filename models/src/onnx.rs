//! Writes [ONNX](https://onnx.ai) graphs: the few messages of `onnx.proto` that a model of ours needs, as protocol buffers.

use crate::InputColumn;

/// Version of the file format.
const IR_VERSION: u64 = 8;
/// Version of the operators.
const OPERATORS: u64 = 13;
const INT64: u64 = 7;
const DOUBLE: u64 = 11;
const ATTRIBUTE_INT: u64 = 2;
const ATTRIBUTE_INTS: u64 = 7;

/// The constant with the means of [`Graph::features`].
pub const MEANS: &str = "orrery.means";

/// A graph of operators. Every name is that of a tensor: an input, a constant or what a node computes.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<Vec<u8>>,
    constants: Vec<Vec<u8>>,
    inputs: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
}

/// An attribute of a node.
#[derive(Debug, Clone, Copy)]
pub enum Attribute<'a> {
    /// A whole number.
    Int(&'a str, i64),
    /// Whole numbers.
    Ints(&'a str, &'a [i64]),
}

impl Graph {
    /// Adds an input of any number of rows with `width` numbers each.
    pub fn input(&mut self, name: &str, width: usize) {
        self.inputs.push(value_info(name, DOUBLE, Some(width)));
    }

    /// Adds an input for each column and puts them beside each other, missing numbers (NaN) as the means of the features; returns the tensor's name.
    pub fn features(&mut self, columns: &[InputColumn], widths: &[usize], means: &[f64]) -> &'static str {
        for (column, width) in columns.iter().zip(widths) {
            self.input(&column.name, *width);
        }
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        self.node("Concat", &names, "orrery.features", &[Attribute::Int("axis", 1)]);
        self.constant(MEANS, &[means.len()], means);
        self.node("IsNaN", &["orrery.features"], "orrery.missing", &[]);
        self.node("Where", &["orrery.missing", MEANS, "orrery.features"], "orrery.filled", &[]);
        "orrery.filled"
    }

    /// Adds an output: whole numbers, one for each row, or numbers, `width` for each row.
    pub fn output(&mut self, name: &str, width: Option<usize>) {
        self.outputs.push(value_info(name, if width.is_some() { DOUBLE } else { INT64 }, width));
    }

    /// Adds a constant of numbers.
    pub fn constant(&mut self, name: &str, shape: &[usize], values: &[f64]) {
        self.constants.push(tensor(name, shape, DOUBLE, values.iter().flat_map(|v| v.to_le_bytes()).collect()));
    }

    /// Adds a constant whole number.
    pub fn whole_number(&mut self, name: &str, value: i64) {
        self.constants.push(tensor(name, &[1], INT64, value.to_le_bytes().to_vec()));
    }

    /// Adds an operator.
    pub fn node(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: &[Attribute<'_>]) {
        let mut node = Message::default();
        inputs.iter().for_each(|input| node.bytes(1, input.as_bytes()));
        node.bytes(2, output.as_bytes());
        node.bytes(4, operator.as_bytes());
        for attribute in attributes {
            let mut message = Message::default();
            match attribute {
                Attribute::Int(name, value) => {
                    message.bytes(1, name.as_bytes());
                    message.number(3, *value as u64);
                    message.number(20, ATTRIBUTE_INT);
                }
                Attribute::Ints(name, values) => {
                    message.bytes(1, name.as_bytes());
                    values.iter().for_each(|value| message.number(8, *value as u64));
                    message.number(20, ATTRIBUTE_INTS);
                }
            }
            node.bytes(5, &message.0);
        }
        self.nodes.push(node.0);
    }

    /// The file's bytes.
    pub fn to_bytes(&self, name: &str) -> Vec<u8> {
        let mut graph = Message::default();
        self.nodes.iter().for_each(|node| graph.bytes(1, node));
        graph.bytes(2, name.as_bytes());
        self.constants.iter().for_each(|constant| graph.bytes(5, constant));
        self.inputs.iter().for_each(|input| graph.bytes(11, input));
        self.outputs.iter().for_each(|output| graph.bytes(12, output));
        let mut operators = Message::default();
        operators.bytes(1, b"");
        operators.number(2, OPERATORS);
        let mut model = Message::default();
        model.number(1, IR_VERSION);
        model.bytes(2, b"orrery");
        model.bytes(7, &graph.0);
        model.bytes(8, &operators.0);
        model.0
    }
}

fn value_info(name: &str, element: u64, width: Option<usize>) -> Vec<u8> {
    let mut rows = Message::default();
    rows.bytes(2, b"rows");
    let mut shape = Message::default();
    shape.bytes(1, &rows.0);
    if let Some(width) = width {
        let mut dimension = Message::default();
        dimension.number(1, width as u64);
        shape.bytes(1, &dimension.0);
    }
    let mut tensor = Message::default();
    tensor.number(1, element);
    tensor.bytes(2, &shape.0);
    let mut kind = Message::default();
    kind.bytes(1, &tensor.0);
    let mut info = Message::default();
    info.bytes(1, name.as_bytes());
    info.bytes(2, &kind.0);
    info.0
}

fn tensor(name: &str, shape: &[usize], element: u64, values: Vec<u8>) -> Vec<u8> {
    let mut tensor = Message::default();
    shape.iter().for_each(|length| tensor.number(1, *length as u64));
    tensor.number(2, element);
    tensor.bytes(8, name.as_bytes());
    tensor.bytes(9, &values);
    tensor.0
}

/// A message of protocol buffers.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint((field << 3) | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_varints() {
        let mut message = Message::default();
        message.number(1, 150);
        message.bytes(2, b"testing");
        // The examples of the description of the format.
        assert_eq!(message.0, [&[0x08, 0x96, 0x01, 0x12, 0x07][..], b"testing"].concat());
    }
}
