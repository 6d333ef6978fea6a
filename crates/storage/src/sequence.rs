//! A sequence's state as bytes. What hands out the values is above.

use crate::codec::{CodecError, Decoder, Encoder};

/// How far a sequence has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceState {
    /// The last value given out, or, if none was, the first one to give out.
    pub last_value: i64,
    /// Whether `last_value` was given out.
    pub is_called: bool,
}

/// Appends a state.
pub fn encode_state(out: &mut Encoder, state: SequenceState) {
    out.zigzag(state.last_value);
    out.bool(state.is_called);
}

/// Reads what [`encode_state`] wrote.
///
/// # Errors
/// [`CodecError`] if the bytes are no state.
pub fn decode_state(input: &mut Decoder<'_>) -> Result<SequenceState, CodecError> {
    Ok(SequenceState { last_value: input.zigzag()?, is_called: input.bool()? })
}
