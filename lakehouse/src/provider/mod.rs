//! Reading: a snapshot as a DataFusion table.
