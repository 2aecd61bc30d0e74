//! Training columns as numbers: which columns become which features, and rows of features in memory.
