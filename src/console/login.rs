//! The login: SCRAM-SHA-256 over any connection, SCRAM-SHA-256-PLUS (bound to the certificate) over TLS.
//!
//! Guarantees: until the login has succeeded every error ends the connection; a wrong password and a user who does not exist get the same
//! answers, after the same work; guesses are limited by the client's address, before they are checked.

use std::net::IpAddr;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth, ScramServerAuthWaitingForClientFinal};
use pgwire::messages::startup::{Authentication, PasswordMessageFamily, Startup};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::credentials::Credentials;
use super::error::{ConsoleError, code};
use super::frame::{self, LONGEST_AT_LOGIN};
use super::role::Role;
use super::users::LONGEST_NAME;
use super::wire::{Wire, WireError};
use crate::listener_tls::Current;
use crate::throttle::Throttle;

const SCRAM: &str = "SCRAM-SHA-256";
const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// The only database that there is.
pub(super) const DATABASE: &str = "console";

/// Who has logged in.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) client: IpAddr,
}

/// Why a login did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    #[error("{}", .0.message())]
    Refused(ConsoleError),
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl LoginError {
    pub(super) fn as_told(&self) -> Option<ConsoleError> {
        match self {
            Self::Refused(error) => Some(error.clone()),
            Self::Wire(error) => error.as_told(),
        }
    }
}

/// What logins are checked with.
#[derive(Debug)]
pub(super) struct Logins {
    credentials: Credentials,
    throttle: Throttle,
}

impl Logins {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            throttle: Throttle::default(),
        }
    }

    /// Counts a failure of another kind, such as a request to cancel with a wrong key; `false` if this client had too many.
    pub(super) fn charge(&self, client: IpAddr) -> bool {
        self.throttle.charge(client, Instant::now()).is_ok()
    }

    /// Takes that back.
    pub(super) fn refund(&self, client: IpAddr) {
        self.throttle.refund(client);
    }

    /// Logs a client in. Who waits for it limits the time.
    pub(super) async fn log_in(
        &self,
        wire: &mut Wire,
        startup: &Startup,
        tls: Option<&Current>,
        client: IpAddr,
    ) -> Result<User, LoginError> {
        let name = user_of(startup).map_err(LoginError::Refused)?;
        let (initial, plus) = ask(wire, tls).await?;
        let expected = self.credentials.expected(name);
        let (waiting, proof) = exchange(wire, tls.filter(|_| plus), &initial, expected.secret).await?;
        // From here to the refund nothing is waited for: logins at the same time do not count against each other, guesses do.
        self.throttle
            .charge(client, Instant::now())
            .map_err(|wait| LoginError::Refused(too_many(wait)))?;
        let right = waiting.on_client_final_message(&proof).ok();
        let (Some(last), Some(role)) = (right, expected.role) else {
            tracing::warn!(%client, "console: wrong user or password");
            return Err(LoginError::Refused(wrong(name)));
        };
        self.throttle.refund(client);
        wire.feed(PgWireBackendMessage::Authentication(Authentication::SASLFinal(
            last.into(),
        )))
        .await?;
        let database = startup.parameters.get("database").map_or(name, String::as_str);
        if database != DATABASE {
            let message = format!("database \"{database}\" does not exist");
            let error = ConsoleError::fatal(code::NO_DATABASE, message);
            return Err(LoginError::Refused(error.with_hint(format!(
                "this is the console of openregister-webhooks; its database is \"{DATABASE}\""
            ))));
        }
        Ok(User {
            name: name.to_owned(),
            role,
            client,
        })
    }
}

/// Exchanges the messages of SCRAM up to the client's proof of the password.
async fn exchange(
    wire: &mut Wire,
    binding: Option<&Current>,
    initial: &[u8],
    secret: ScramSecret,
) -> Result<(ScramServerAuthWaitingForClientFinal, Bytes), LoginError> {
    let mut scram = ScramServerAuth::new();
    if let Some(current) = binding {
        scram
            .configure_certificate(pem(current).as_bytes())
            .map_err(|_| malformed())?;
    }
    let (first, waiting) = scram
        .on_client_first_message_with_secret(initial, secret)
        .map_err(|_| malformed())?;
    wire.feed(PgWireBackendMessage::Authentication(
        Authentication::SASLContinue(first.into()),
    ))
    .await?;
    wire.flush().await?;
    let response = password(wire)
        .await?
        .into_sasl_response()
        .map_err(|_| malformed())?;
    Ok((waiting, response.data))
}

/// Asks the client to log in; its first message, and whether it binds the login to the certificate.
async fn ask(wire: &mut Wire, tls: Option<&Current>) -> Result<(Bytes, bool), LoginError> {
    // A certificate with another kind of signature (Ed25519) has no defined binding.
    let bound = tls.is_some_and(|current| {
        ScramServerAuth::new()
            .configure_certificate(pem(current).as_bytes())
            .is_ok()
    });
    let mut offered = vec![SCRAM.to_owned()];
    if bound {
        offered.insert(0, SCRAM_PLUS.to_owned());
    }
    wire.feed(PgWireBackendMessage::Authentication(Authentication::SASL(
        offered.clone(),
    )))
    .await?;
    wire.flush().await?;
    let message = password(wire).await?;
    if let PasswordMessageFamily::Raw(body) = &message
        && !frame::is_sasl_initial(body)
    {
        return Err(malformed());
    }
    let initial = message.into_sasl_initial_response().map_err(|_| malformed())?;
    let first = initial.data.unwrap_or_default();
    let plus = initial.auth_method == SCRAM_PLUS;
    // Whoever binds says so in the message that the password protects. A client that could bind and was led to believe that we
    // cannot says `y`: somebody between us took the mechanism out of the list.
    let fits = match first.first() {
        Some(b'p') => plus,
        Some(b'n') => !plus,
        Some(b'y') => !plus && !bound,
        _ => false,
    };
    if !offered.contains(&initial.auth_method) || !fits {
        return Err(malformed());
    }
    Ok((first, plus))
}

/// The next message, which must belong to the login.
async fn password(wire: &mut Wire) -> Result<PasswordMessageFamily, LoginError> {
    match wire.receive(LONGEST_AT_LOGIN).await? {
        PgWireFrontendMessage::PasswordMessageFamily(message) => Ok(message),
        _ => Err(malformed()),
    }
}

fn user_of(startup: &Startup) -> Result<&str, ConsoleError> {
    if startup.parameters.contains_key("replication") {
        let message = "the console has nothing to replicate";
        return Err(ConsoleError::fatal(code::FEATURE_NOT_SUPPORTED, message));
    }
    match startup.parameters.get("user") {
        Some(name) if !name.is_empty() && name.len() <= LONGEST_NAME => Ok(name),
        _ => Err(ConsoleError::fatal(
            code::BAD_AUTHORIZATION,
            "no user is named, or its name is too long",
        )),
    }
}

fn wrong(user: &str) -> ConsoleError {
    ConsoleError::fatal(
        code::WRONG_PASSWORD,
        format!("password authentication failed for user \"{user}\""),
    )
}

fn malformed() -> LoginError {
    LoginError::Refused(ConsoleError::fatal(
        code::PROTOCOL_VIOLATION,
        "the client's part of the login cannot be used; the console speaks SCRAM-SHA-256",
    ))
}

fn too_many(wait: std::time::Duration) -> ConsoleError {
    ConsoleError::fatal(
        code::BAD_AUTHORIZATION,
        format!(
            "too many failed logins from this address; try again in {} s",
            wait.as_secs().max(1)
        ),
    )
}

/// The certificate as pgwire reads it.
fn pem(current: &Current) -> String {
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        STANDARD.encode(&current.leaf)
    )
}
