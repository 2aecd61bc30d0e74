//! Random numbers that depend on nothing but a seed and a key.
