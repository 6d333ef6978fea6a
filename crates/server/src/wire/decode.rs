//! A frame's body as one of pgwire's messages, every byte checked.
//!
//! pgwire's own decoder trusts the counts inside a frame and replaces what is not UTF-8; a server must do neither, so the
//! messages are pgwire's and their decoding is here.

use bytes::{Buf, Bytes};
use colonnade_execution::Error;
use colonnade_types::{SqlState, text_from_bytes};
use pgwire::messages::PgWireFrontendMessage as Message;
use pgwire::messages::copy::{CopyData, CopyDone, CopyFail};
use pgwire::messages::extendedquery::{Bind, Close, Describe, Execute, Flush, Parse, Sync};
use pgwire::messages::simplequery::Query;
use pgwire::messages::terminate::Terminate;

use super::reader::Frame;

/// Decodes a frame that an authenticated client sent.
///
/// # Errors
/// 08P01 where the body does not have the form of its kind, 22021 where a text is not UTF-8.
pub(super) fn decode(frame: Frame) -> Result<Message, Error> {
    let mut body = Body(frame.body);
    let message = match frame.kind {
        b'Q' => Message::Query(Query::new(body.text()?)),
        b'P' => {
            let (name, query) = (body.name()?, body.text()?);
            let count = body.u16()?;
            let type_oids = (0..count).map(|_| body.i32().map(i32::cast_unsigned)).collect::<Result<_, _>>()?;
            Message::Parse(Parse::new(name, query, type_oids))
        }
        b'B' => {
            let (portal, statement) = (body.name()?, body.name()?);
            let formats = body.formats()?;
            let count = body.u16()?;
            let parameters = (0..count).map(|_| body.value()).collect::<Result<_, _>>()?;
            Message::Bind(Bind::new(portal, statement, formats, parameters, body.formats()?))
        }
        b'E' => {
            let name = body.name()?;
            Message::Execute(Execute::new(name, body.i32()?))
        }
        b'D' => {
            let target = body.target()?;
            Message::Describe(Describe::new(target, body.name()?))
        }
        b'C' => {
            let target = body.target()?;
            Message::Close(Close::new(target, body.name()?))
        }
        b'S' => Message::Sync(Sync::new()),
        b'H' => Message::Flush(Flush::new()),
        b'X' => Message::Terminate(Terminate::new()),
        b'd' => return Ok(Message::CopyData(CopyData::new(body.0))),
        b'c' => Message::CopyDone(CopyDone::new()),
        b'f' => Message::CopyFail(CopyFail::new(body.text()?)),
        b'F' => return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "function call messages are not supported")),
        kind => return Err(violation(format!("unexpected message type 0x{kind:02X}"))),
    };
    if body.0.has_remaining() {
        return Err(violation("invalid message format"));
    }
    Ok(message)
}

/// The rest of a body.
pub(super) struct Body(pub(super) Bytes);

impl Body {
    /// A text up to its zero byte.
    pub(super) fn text(&mut self) -> Result<String, Error> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(|| violation("invalid string in message"))?;
        let text = text_from_bytes(&self.0[..end]).map(str::to_owned).map_err(Error::from)?;
        self.0.advance(end + 1);
        Ok(text)
    }

    fn name(&mut self) -> Result<Option<String>, Error> {
        Ok(Some(self.text()?).filter(|name| !name.is_empty()))
    }

    /// `count` bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Result<Bytes, Error> {
        self.require(count)?;
        Ok(self.0.split_to(count))
    }

    fn require(&self, count: usize) -> Result<(), Error> {
        if self.0.len() < count {
            return Err(violation("insufficient data left in message"));
        }
        Ok(())
    }

    fn u16(&mut self) -> Result<u16, Error> {
        self.require(2)?;
        Ok(self.0.get_u16())
    }

    /// A number of four bytes.
    pub(super) fn i32(&mut self) -> Result<i32, Error> {
        self.require(4)?;
        Ok(self.0.get_i32())
    }

    fn target(&mut self) -> Result<u8, Error> {
        match self.bytes(1)?.get_u8() {
            target @ (b'S' | b'P') => Ok(target),
            other => Err(violation(format!("invalid DESCRIBE or CLOSE message subtype {other}"))),
        }
    }

    fn formats(&mut self) -> Result<Vec<i16>, Error> {
        let count = self.u16()?;
        (0..count).map(|_| self.u16().map(u16::cast_signed)).collect()
    }

    fn value(&mut self) -> Result<Option<Bytes>, Error> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| violation("invalid length of a parameter value"))?;
                self.bytes(length).map(Some)
            }
        }
    }
}

/// An error of the protocol (08P01).
pub(super) fn violation(message: impl Into<String>) -> Error {
    Error::new(SqlState::PROTOCOL_VIOLATION, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, body: &'static [u8]) -> Result<Message, Error> {
        decode(Frame { kind, body: Bytes::from_static(body) })
    }

    #[test]
    fn messages_keep_what_was_sent() {
        let Ok(Message::Bind(bind)) = frame(b'B', b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\x01\0\0")
        else {
            panic!("no Bind")
        };
        assert_eq!((bind.portal_name.as_deref(), bind.statement_name.as_deref()), (Some("p"), Some("s")));
        assert_eq!(bind.parameter_format_codes, [1]);
        assert_eq!(bind.parameters, [Some(Bytes::from_static(b"x")), None]);
        assert_eq!(bind.result_column_format_codes, [0]);
    }

    #[test]
    fn malformed_bodies_are_errors() {
        for (kind, body) in [
            (b'Q', &b"select 1"[..]),
            (b'Q', b"select 1\0tail"),
            (b'P', b"\0select 1\0\0\x05\0\0"),
            (b'B', b"\0\0\0\0\0\x01\0\0\xff\xff"),
            (b'B', b"\0\0\0\0\0\x01\x80\0\0\0\0\0"),
            (b'B', b"\0\0\xff\xff"),
            (b'E', b"\0\0\0"),
            (b'D', b"Z\0"),
            (b'S', b"\0"),
            (b'z', b""),
        ] {
            let error = frame(kind, body).expect_err("must be refused");
            assert_eq!(error.sql_state, SqlState::PROTOCOL_VIOLATION, "{body:?}");
        }
        assert_eq!(frame(b'Q', b"\xff\0").expect_err("no text").sql_state, SqlState::CHARACTER_NOT_IN_REPERTOIRE);
    }
}
