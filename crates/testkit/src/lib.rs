//! A disk that fails, a clock that waits, a model that is obviously right.
