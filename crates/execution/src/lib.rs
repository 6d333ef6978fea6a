//! Turns a statement, a session and a snapshot into a stream of batches.
