//! Who may ask: everyone where no password is set, else who knows it.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{HttpState, reply};
use crate::service::NAMES;

/// Lets a request pass if it carries the password: `Bearer password`, or `Basic` with one of the roles.
pub(super) async fn check(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let Some(service) = state.service.get() else { return next.run(request).await };
    let Some(credentials) = &service.credentials else { return next.run(request).await };
    let password = request.headers().get(header::AUTHORIZATION).and_then(password);
    if password.is_some_and(|password| credentials.accepts(&password)) {
        return next.run(request).await;
    }
    let mut response = reply::sql_error(
        StatusCode::UNAUTHORIZED,
        &colonnade_execution::Error::new(colonnade_types::SqlState::INVALID_PASSWORD, "password authentication failed"),
    );
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"colonnade\", charset=\"UTF-8\""));
    response
}

fn password(header: &HeaderValue) -> Option<String> {
    let (scheme, rest) = header.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    NAMES.contains(&user).then(|| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_comes_as_bearer_or_basic() {
        let read = |text: &str| password(&HeaderValue::from_str(text).unwrap());
        assert_eq!(read("Bearer open sesame").as_deref(), Some("open sesame"));
        let basic = |pair: &str| read(&format!("Basic {}", STANDARD.encode(pair)));
        assert_eq!(basic("postgres:a:b").as_deref(), Some("a:b"));
        assert_eq!(basic("nobody:a"), None);
        assert_eq!(read("Digest x"), None);
        assert_eq!(read("Basic !!"), None);
    }
}
