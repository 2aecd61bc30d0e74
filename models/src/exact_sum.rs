//! Sums of floating-point numbers that come out the same, to the bit, in any order.
