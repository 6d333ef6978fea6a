//! SCRAM-SHA-256 with a client that wants to come in.

use bytes::{Buf, Bytes};
use colonnade_execution::{Error, Severity};
use colonnade_types::SqlState;
use pgwire::api::auth::sasl::scram::ScramServerAuth;
use pgwire::error::PgWireError;
use pgwire::messages::startup::Authentication;

use super::decode::{Body, violation};
use super::output::Output;
use super::reader::{Frame, Reader};
use super::watch::{Failure, Gone};
use crate::credentials::Credentials;

const MECHANISM: &str = "SCRAM-SHA-256";

/// Lets the client prove that it knows the password. Sends everything but AuthenticationOk.
///
/// # Errors
/// 28P01 if it does not.
pub(super) async fn authenticate(
    reader: &mut Reader,
    output: &mut Output,
    credentials: &Credentials,
    user: &str,
) -> Result<(), Failure> {
    output.message(&Authentication::SASL(vec![MECHANISM.to_owned()]));
    let (mechanism, first) = initial_response(answer(reader, output).await?)?;
    if mechanism != MECHANISM {
        return Err(fatal(violation("client selected an invalid SASL authentication mechanism")).into());
    }
    let (challenge, exchange) = ScramServerAuth::new()
        .on_client_first_message_with_secret(&first, credentials.scram_secret())
        .map_err(|error| refused(&error, user))?;
    output.message(&Authentication::SASLContinue(challenge.into()));
    let proof = answer(reader, output).await?;
    let outcome = exchange.on_client_final_message(&proof).map_err(|error| refused(&error, user))?;
    output.message(&Authentication::SASLFinal(outcome.into()));
    Ok(())
}

/// Sends what is buffered and waits for the client's next password message.
async fn answer(reader: &mut Reader, output: &mut Output) -> Result<Bytes, Failure> {
    output.flush().await.map_err(Gone::from)?;
    loop {
        match reader.take()? {
            Some(Frame { kind: b'p', body }) => return Ok(body),
            Some(Frame { kind, .. }) => {
                return Err(fatal(violation(format!("expected SASL response, got message type {kind}"))).into());
            }
            None if matches!(reader.fill().await, Ok(1..)) => {}
            None => return Err(Failure::Gone),
        }
    }
}

fn initial_response(body: Bytes) -> Result<(String, Bytes), Error> {
    let mut body = Body(body);
    let mechanism = body.text().map_err(fatal)?;
    let length = usize::try_from(body.i32().map_err(fatal)?).map_err(|_| fatal(violation("empty SASL response")))?;
    let first = body.bytes(length).map_err(fatal)?;
    if body.0.has_remaining() {
        return Err(fatal(violation("invalid message format")));
    }
    Ok((mechanism, first))
}

fn refused(error: &PgWireError, user: &str) -> Error {
    fatal(match error {
        PgWireError::InvalidScramMessage(detail) if !detail.contains("proof") => {
            violation("malformed SCRAM message").with_detail(detail.clone())
        }
        _ => Error::new(SqlState::INVALID_PASSWORD, format!("password authentication failed for user \"{user}\"")),
    })
}

fn fatal(mut error: Error) -> Error {
    error.severity = Severity::Fatal;
    error
}
