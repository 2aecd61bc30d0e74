//! The file that a trained model is kept and exported in: [safetensors](https://huggingface.co/docs/safetensors), which any language reads.
//!
//! Numbers are tensors; everything else is JSON in the file's `__metadata__` under `orrery`. Ids of any type are Arrow's own bytes and offsets as tensors.
//! The same content gives the same bytes: names are sorted and no time or place is kept.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{ModelError, Result};

/// Raised when older versions of the program cannot read what is written.
const FORMAT_VERSION: u64 = 1;
const METADATA: &str = "orrery";

/// One named array of numbers, little-endian, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Type of the numbers.
    pub dtype: Dtype,
    /// Length in each direction.
    pub shape: Vec<usize>,
    /// The numbers.
    pub bytes: Vec<u8>,
}

/// A model in a file's shape.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// Lower-case name of its type.
    pub model_type: String,
    /// What is no tensor.
    pub metadata: BTreeMap<String, Value>,
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// Numbers as little-endian bytes.
pub(crate) fn little_endian<T: Copy, const N: usize>(values: &[T], bytes_of: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    let mut all = vec![0; values.len() * N];
    for (bytes, value) in all.as_chunks_mut::<N>().0.iter_mut().zip(values) {
        *bytes = bytes_of(*value);
    }
    all
}

impl ModelFile {
    /// An empty file of a model type.
    pub fn new(model_type: &str) -> Self {
        Self { model_type: model_type.to_string(), metadata: BTreeMap::new(), tensors: BTreeMap::new() }
    }

    /// Adds numbers of 64 bits.
    pub fn put_f64(&mut self, name: &str, shape: &[usize], values: &[f64]) {
        let bytes = little_endian(values, f64::to_le_bytes);
        self.tensors.insert(name.to_string(), Tensor { dtype: Dtype::F64, shape: shape.to_vec(), bytes });
    }

    /// Adds numbers of 32 bits.
    pub fn put_f32(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes = little_endian(values, f32::to_le_bytes);
        self.tensors.insert(name.to_string(), Tensor { dtype: Dtype::F32, shape: shape.to_vec(), bytes });
    }

    /// Adds whole numbers.
    pub fn put_i64(&mut self, name: &str, shape: &[usize], values: &[i64]) {
        let bytes = little_endian(values, i64::to_le_bytes);
        self.tensors.insert(name.to_string(), Tensor { dtype: Dtype::I64, shape: shape.to_vec(), bytes });
    }

    /// Adds bytes.
    pub fn put_u8(&mut self, name: &str, values: Vec<u8>) {
        self.tensors.insert(name.to_string(), Tensor { dtype: Dtype::U8, shape: vec![values.len()], bytes: values });
    }

    /// A tensor of 64-bit numbers with its shape.
    ///
    /// # Errors
    /// It is missing or of another type.
    pub fn f64s(&self, name: &str) -> Result<(Vec<usize>, Vec<f64>)> {
        let tensor = self.tensor(name, Dtype::F64)?;
        Ok((tensor.shape.clone(), tensor.bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect()))
    }

    /// A tensor of 32-bit numbers with its shape.
    ///
    /// # Errors
    /// It is missing or of another type.
    pub fn f32s(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let tensor = self.tensor(name, Dtype::F32)?;
        Ok((tensor.shape.clone(), tensor.bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()))
    }

    /// A tensor of whole numbers with its shape.
    ///
    /// # Errors
    /// It is missing or of another type.
    pub fn i64s(&self, name: &str) -> Result<(Vec<usize>, Vec<i64>)> {
        let tensor = self.tensor(name, Dtype::I64)?;
        Ok((tensor.shape.clone(), tensor.bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect()))
    }

    /// A tensor of bytes.
    ///
    /// # Errors
    /// It is missing or of another type.
    pub fn u8s(&self, name: &str) -> Result<&[u8]> {
        Ok(&self.tensor(name, Dtype::U8)?.bytes)
    }

    fn tensor(&self, name: &str, dtype: Dtype) -> Result<&Tensor> {
        let found = self.tensors.get(name).ok_or_else(|| ModelError::file(format!("the model file has no tensor '{name}'")))?;
        if found.dtype == dtype {
            return Ok(found);
        }
        Err(ModelError::file(format!("the tensor '{name}' of the model file is {:?} and not {dtype:?}", found.dtype)))
    }

    /// A value of the metadata.
    ///
    /// # Errors
    /// It is missing or of another type.
    pub fn value<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let value = self.metadata.get(name).ok_or_else(|| ModelError::file(format!("the model file does not tell '{name}'")))?;
        serde_json::from_value(value.clone()).map_err(|e| ModelError::file(format!("'{name}' of the model file: {e}")))
    }

    /// Sets a value of the metadata.
    ///
    /// # Errors
    /// A value that JSON cannot hold.
    pub fn set(&mut self, name: &str, value: impl serde::Serialize) -> Result<()> {
        let value = serde_json::to_value(value).map_err(|e| ModelError::bug(format!("'{name}' is no JSON: {e}")))?;
        self.metadata.insert(name.to_string(), value);
        Ok(())
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// A tensor whose bytes do not fit its shape.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let header = serde_json::json!({"format_version": FORMAT_VERSION, "model_type": self.model_type, "values": self.metadata});
        let views: Vec<(&str, TensorView<'_>)> = self
            .tensors
            .iter()
            .map(|(name, t)| Ok((name.as_str(), TensorView::new(t.dtype, t.shape.clone(), &t.bytes)?)))
            .collect::<std::result::Result<_, safetensors::SafeTensorError>>()
            .map_err(|e| ModelError::bug(format!("a tensor of the model: {e}")))?;
        let metadata = HashMap::from([(METADATA.to_string(), header.to_string())]);
        safetensors::serialize(views, Some(metadata)).map_err(|e| ModelError::bug(format!("the model file: {e}")))
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// Damaged bytes, or a file that a newer version of the program has written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = |what: String| ModelError::file(format!("the model file is damaged: {what}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(e.to_string()))?;
        let text =
            header.metadata().as_ref().and_then(|m| m.get(METADATA)).ok_or_else(|| damaged("it is no model of Orrery".to_string()))?;
        let head: Value = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
        let version = head["format_version"].as_u64().ok_or_else(|| damaged("it has no version".to_string()))?;
        if version > FORMAT_VERSION {
            return Err(ModelError::file(format!(
                "the model file has format {version}; this version of Orrery reads up to {FORMAT_VERSION}"
            )));
        }
        let model_type = head["model_type"].as_str().ok_or_else(|| damaged("it has no model type".to_string()))?.to_string();
        let metadata = head["values"].as_object().ok_or_else(|| damaged("it has no values".to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| damaged(e.to_string()))?;
        let tensors = tensors
            .iter()
            .map(|(name, view)| {
                let tensor = Tensor { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() };
                (name.to_string(), tensor)
            })
            .collect();
        Ok(Self { model_type, metadata: metadata.clone().into_iter().collect(), tensors })
    }
}

/// The SHA-256 of a file in lower-case hexadecimal.
pub fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> ModelFile {
        let mut file = ModelFile::new("kmeans");
        file.put_f64("centroids", &[2, 2], &[0.1, -2.0, f64::MIN_POSITIVE, 4.0]);
        file.put_u8("ids", vec![1, 2, 3]);
        file.set("features", ["a", "b"]).unwrap();
        file
    }

    #[test]
    fn reads_what_it_writes() {
        let bytes = example().to_bytes().unwrap();
        let read = ModelFile::from_bytes(&bytes).unwrap();
        assert_eq!(read, example());
        assert_eq!(read.to_bytes().unwrap(), bytes);
        assert_eq!(read.value::<Vec<String>>("features").unwrap(), ["a", "b"]);
    }

    #[test]
    fn numbers_are_read_as_they_were_written() {
        let numbers = (0..10_000).map(|i| f64::from_bits(crate::keyed_random::random(1, i, 0))).filter(|number| number.is_finite());
        let numbers: Vec<f64> = numbers.chain([0.1 + 0.2, f64::MIN_POSITIVE, f64::MAX]).collect();
        let mut file = ModelFile::new("kmeans");
        file.set("numbers", &numbers).unwrap();
        let read: Vec<f64> = ModelFile::from_bytes(&file.to_bytes().unwrap()).unwrap().value("numbers").unwrap();
        assert!(read.iter().map(|number| number.to_bits()).eq(numbers.iter().map(|number| number.to_bits())));
    }

    #[test]
    fn damage_is_an_error() {
        let bytes = example().to_bytes().unwrap();
        for end in 0..bytes.len() {
            assert!(ModelFile::from_bytes(&bytes[..end]).is_err(), "{end} bytes");
        }
        assert!(ModelFile::from_bytes(b"garbage that is long enough").is_err());
    }
}
