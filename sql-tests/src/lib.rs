//! What SQL means here, as text.
