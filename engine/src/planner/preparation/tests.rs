//! Preparation learned and applied, against naive computations.
