//! Everything before the first ReadyForQuery: encryption requests, cancel requests, versions, who and where, authentication.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use colonnade_execution::{Error, Session, SessionOptions, Severity};
use colonnade_types::SqlState;
use pgwire::messages::startup::{Authentication, NegotiateProtocolVersion};
use tokio::sync::OwnedSemaphorePermit;

use super::authentication::authenticate;
use super::cancel::Registration;
use super::decode::Body;
use super::output::Output;
use super::reader::Reader;
use super::watch::{Failure, Gone};
use crate::service::{NAMES, Service};

const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
/// The newest version spoken here, as the protocol writes it.
const NEWEST_VERSION: i32 = (3 << 16) | 2;

/// A client that has come in.
pub(super) struct Admitted {
    pub(super) session: Session,
    pub(super) registration: Registration,
    /// Held as long as the connection lives.
    pub(super) seat: OwnedSemaphorePermit,
}

/// What the first packets ask for.
struct Wish {
    has_long_key: bool,
    parameters: Vec<(String, String)>,
}

/// Carries a connection to its first ReadyForQuery, which is the caller's to send. `None` if the client only wanted to cancel.
///
/// # Errors
/// The reason for which the client is refused, always fatal.
pub(super) async fn start(
    service: &Arc<Service>,
    reader: &mut Reader,
    output: &mut Output,
) -> Result<Option<Admitted>, Failure> {
    let Some(wish) = negotiate(service, reader, output).await? else { return Ok(None) };
    let registration = service.cancels.register(wish.has_long_key);
    let options = session_options(wish.parameters, registration.process_id)?;
    if let Some(credentials) = &service.credentials {
        authenticate(reader, output, credentials, &options.user).await?;
    }
    if !NAMES.contains(&options.user.as_str()) {
        return Err(fatal(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            format!("role \"{}\" does not exist", options.user),
        )
        .with_hint("The roles are \"colonnade\" and \"postgres\".")
        .into());
    }
    if !NAMES.contains(&options.database.as_str()) {
        return Err(
            fatal(SqlState::INVALID_CATALOG_NAME, format!("database \"{}\" does not exist", options.database)).into()
        );
    }
    let seat = Arc::clone(&service.seats)
        .try_acquire_owned()
        .map_err(|_| fatal(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already"))?;
    let mut session = service.engine.session(options).map_err(into_fatal)?;
    output.message(&Authentication::Ok);
    for (name, value) in session.parameter_status() {
        output.parameter_status(&name, &value);
    }
    // What was set by the start-up message is part of the status just sent.
    session.take_parameter_changes();
    output.body(b'K', |out| {
        out.extend_from_slice(&registration.process_id.to_be_bytes());
        out.extend_from_slice(&registration.key);
    });
    registration.activate(session.cancel_handle());
    Ok(Some(Admitted { session, registration, seat }))
}

/// Answers encryption and cancel requests until the start-up message comes.
async fn negotiate(service: &Service, reader: &mut Reader, output: &mut Output) -> Result<Option<Wish>, Failure> {
    loop {
        let packet = first_packet(reader, output).await?;
        let mut body = Body(packet);
        match body.i32()? {
            SSL_REQUEST | GSS_REQUEST => output.byte(b'N'),
            CANCEL_REQUEST => {
                let process_id = body.i32()?;
                service.cancels.cancel(process_id, &body.0);
                return Ok(None);
            }
            version if version >> 16 == 3 => return Ok(Some(wish(version, body.0, output)?)),
            version => {
                let (major, minor) = (version >> 16, version & 0xffff);
                let message = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2");
                return Err(fatal(SqlState::FEATURE_NOT_SUPPORTED, message).into());
            }
        }
    }
}

async fn first_packet(reader: &mut Reader, output: &mut Output) -> Result<Bytes, Failure> {
    output.flush().await.map_err(Gone::from)?;
    loop {
        match reader.take_first() {
            Ok(Some(packet)) => return Ok(packet),
            Ok(None) if matches!(reader.fill().await, Ok(1..)) => {}
            Ok(None) => return Err(Failure::Gone),
            Err(error) => {
                // Whoever sends this does not speak the protocol, and would not understand the answer.
                tracing::debug!(%error, "connection refused");
                return Err(Failure::Gone);
            }
        }
    }
}

/// Reads the parameters, and says so if the version or an option of it is unknown here.
fn wish(version: i32, packet: Bytes, output: &mut Output) -> Result<Wish, Error> {
    let mut body = Body(packet);
    let mut parameters = Vec::new();
    let mut unknown = Vec::new();
    loop {
        if !body.0.has_remaining() {
            return Err(bad_layout());
        }
        let name = body.text().map_err(|_| bad_layout())?;
        if name.is_empty() {
            break;
        }
        let value = body.text().map_err(|_| bad_layout())?;
        if name.starts_with("_pq_.") {
            unknown.push(name);
        } else {
            parameters.push((name, value));
        }
    }
    if body.0.has_remaining() {
        return Err(bad_layout());
    }
    if version > NEWEST_VERSION || !unknown.is_empty() {
        output.message(&NegotiateProtocolVersion::new(version.min(NEWEST_VERSION), unknown));
    }
    Ok(Wish { has_long_key: version >= NEWEST_VERSION, parameters })
}

fn bad_layout() -> Error {
    fatal(SqlState::PROTOCOL_VIOLATION, "invalid startup packet layout: expected terminator as last byte")
}

fn session_options(parameters: Vec<(String, String)>, process_id: i32) -> Result<SessionOptions, Error> {
    let mut options = SessionOptions { process_id, ..SessionOptions::default() };
    let mut settings = Vec::new();
    for (name, value) in parameters {
        match name.as_str() {
            "user" => options.user = value,
            "database" => options.database = value,
            "application_name" => options.application_name = value,
            "options" => settings.extend(command_line_settings(&value)?),
            "replication" if matches!(value.as_str(), "false" | "off" | "no" | "0") => {}
            "replication" => {
                return Err(fatal(SqlState::FEATURE_NOT_SUPPORTED, "replication connections are not supported"));
            }
            _ => settings.push((name, value)),
        }
    }
    if options.user.is_empty() {
        let message = "no PostgreSQL user name specified in startup packet";
        return Err(fatal(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message));
    }
    if options.database.is_empty() {
        options.database.clone_from(&options.user);
    }
    options.settings = settings;
    Ok(options)
}

/// Reads `-c name=value` and `--name=value`; a backslash takes the next character as it is.
fn command_line_settings(text: &str) -> Result<Vec<(String, String)>, Error> {
    let mut words = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let word = words.last_mut().map(|word| (word.is_empty(), word));
        match (character, word) {
            ('\\', Some((_, word))) => word.extend(characters.next()),
            (space, Some((is_empty, _))) if space.is_whitespace() => {
                if !is_empty {
                    words.push(String::new());
                }
            }
            (character, Some((_, word))) => word.push(character),
            (_, None) => {}
        }
    }
    let mut settings = Vec::new();
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--") {
            Some(setting) => Some(setting.to_owned()),
            None if word == "-c" => words.next(),
            None => word.strip_prefix("-c").map(str::to_owned),
        };
        let pair = setting.as_deref().and_then(|setting| setting.split_once('='));
        let Some((name, value)) = pair else {
            let message = format!("invalid command-line argument for server process: {word}");
            return Err(fatal(SqlState::SYNTAX_ERROR, message));
        };
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn fatal(sql_state: SqlState, message: impl Into<String>) -> Error {
    into_fatal(Error::new(sql_state, message))
}

fn into_fatal(mut error: Error) -> Error {
    error.severity = Severity::Fatal;
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_a_command_line() {
        let read = |text| command_line_settings(text).map_err(|error| error.message.clone());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read("-c a=1 --b-c=x\\ y  -cd=2"), Ok(vec![pair("a", "1"), pair("b_c", "x y"), pair("d", "2")]));
        assert_eq!(read("   "), Ok(Vec::new()));
        assert_eq!(read("-x"), Err("invalid command-line argument for server process: -x".to_owned()));
    }

    #[test]
    fn a_database_is_named_like_the_user_by_default() {
        let options = session_options(vec![("user".to_owned(), "postgres".to_owned())], 1).unwrap();
        assert_eq!(options.database, "postgres");
        assert!(session_options(Vec::new(), 1).is_err());
    }
}
