//! Measures: micro-benchmarks, workloads, and comparisons with other engines.
