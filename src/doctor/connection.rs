//! Why there is no connection to the database; each reason has its own cause and remedy.

use std::error::Error as _;
use std::io;

use tokio_postgres::error::{DbError as Refusal, SqlState};

use super::finding::Finding;
use crate::database::{DatabaseError, Target};

const CHECK: &str = "connection";

/// The finding for a connection to `target` that failed. None of the errors that this reads contains the password: the driver's do
/// not hold it, and the server never sends it back.
#[must_use]
pub fn explain(error: &DatabaseError, target: &Target) -> Finding {
    match error {
        DatabaseError::Url(_) => Finding::error(
            CHECK,
            "the connection string cannot be used",
            error.to_string(),
            "set ORW_DATABASE_URL to postgres://user:password@host:5432/nextcloud, with characters like @ : / in the password \
             percent-encoded",
        ),
        DatabaseError::Away(reason) => Finding::error(
            CHECK,
            format!("no connection to {target}"),
            reason.clone(),
            "check that PostgreSQL runs and accepts connections from this machine",
        ),
        DatabaseError::Connect(error) | DatabaseError::Query(error) => connecting(error, target),
        DatabaseError::Pool(error) => Finding::error(
            CHECK,
            format!("no connection to {target}"),
            error.to_string(),
            "check that PostgreSQL runs and accepts connections from this machine",
        ),
    }
}

fn connecting(error: &tokio_postgres::Error, target: &Target) -> Finding {
    if let Some(refusal) = error.as_db_error() {
        return refused(refusal, target);
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return tls_failed(tls, target);
        }
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            // A TLS error may be wrapped in an I/O error, which gives it away only by reference.
            if let Some(tls) = io.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
                return tls_failed(tls, target);
            }
            return unreachable(io, target);
        }
        cause = inner.source();
    }
    let text = crate::error_text::chain(error);
    if text.contains("does not support TLS") {
        return Finding::error(
            CHECK,
            format!("{target} does not speak TLS, which sslmode=require demands"),
            text,
            "switch TLS on in PostgreSQL (ssl = on, ssl_cert_file, ssl_key_file), or, on a network that you trust, put sslmode=prefer \
             or sslmode=disable into ORW_DATABASE_URL",
        );
    }
    if text.contains("password missing") {
        return Finding::error(
            CHECK,
            format!(
                "{target} demands a password from {}, and none is set",
                target.user
            ),
            text,
            format!(
                "put it into ORW_DATABASE_URL: postgres://{}:PASSWORD@…, or the whole string into a file that ORW_DATABASE_URL_FILE names",
                target.user
            ),
        );
    }
    if text.contains("timeout") || text.contains("timed out") {
        return unanswered(text, target);
    }
    Finding::error(
        CHECK,
        format!("no connection to {target}"),
        text,
        "check that PostgreSQL (and nothing else) listens there, and look at its log",
    )
}

/// The server, or a pooler, refused the connection.
fn refused(refusal: &Refusal, target: &Target) -> Finding {
    let Target { user, database, .. } = target;
    let message = refusal.message().to_owned();
    let code = refusal.code();
    let error = |what: String, remedy: String| Finding::error(CHECK, what, message.clone(), remedy);
    if *code == SqlState::INVALID_PASSWORD
        || message.contains("authentication failed")
        || message.contains("no such user")
    {
        return error(
            format!("{target} does not accept {user} with this password"),
            format!(
                "correct user and password in ORW_DATABASE_URL (for Nextcloud's own role: dbuser and dbpassword in its config.php), or set \
                 a new password: ALTER ROLE {user} PASSWORD '…'"
            ),
        );
    }
    if message.contains("pg_hba.conf") {
        let rejected = message.contains("rejects");
        return error(
            format!("{target} admits nobody from this machine as {user}"),
            format!(
                "{} in the server's pg_hba.conf, for example: host {database} {user} THIS-MACHINE/32 scram-sha-256 — then SELECT \
                 pg_reload_conf(){}",
                if rejected {
                    "remove or precede the line with `reject`"
                } else {
                    "add a line"
                },
                if message.contains("no encryption") {
                    "; or connect with TLS (sslmode=require), if a hostssl line is there"
                } else {
                    ""
                },
            ),
        );
    }
    if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION && message.contains("role") {
        return error(
            format!("{target} does not admit {user}"),
            format!(
                "name an existing role that may log in, or create it: CREATE ROLE {user} LOGIN PASSWORD '…'"
            ),
        );
    }
    if *code == SqlState::INVALID_CATALOG_NAME || message.contains("no such database") {
        return error(
            format!("there is no database {database} on {}", target.hosts.join(", ")),
            "name Nextcloud's database in ORW_DATABASE_URL (dbname in its config.php; `psql -l` lists those there are)".to_owned(),
        );
    }
    if *code == SqlState::TOO_MANY_CONNECTIONS {
        return error(
            format!("{target} has no connection left"),
            format!(
                "raise max_connections (or the limit of the role: ALTER ROLE {user} CONNECTION LIMIT -1), or close connections that are not needed; the sidecar takes about thirty"
            ),
        );
    }
    if *code == SqlState::CANNOT_CONNECT_NOW {
        return error(
            format!("{target} is starting or stopping"),
            "wait, then run the command again; the sidecar itself tries again".to_owned(),
        );
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return error(
            format!("{user} may not connect to {database}"),
            format!("as its owner or a superuser: GRANT CONNECT ON DATABASE {database} TO {user}"),
        );
    }
    error(
        format!("{target} refuses the connection"),
        "look at the server's log".to_owned(),
    )
}

fn tls_failed(error: &rustls::Error, target: &Target) -> Finding {
    use rustls::{CertificateError, Error};

    let what = format!("TLS with {target} fails");
    let trusted_network =
        "on a network that you trust (or this machine alone): sslmode=disable in ORW_DATABASE_URL";
    let remedy = match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_)) => format!(
            "name the authority that signed the server's certificate with ORW_CA_FILE; or, {trusted_network}"
        ),
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "connect by a name that is in the server's certificate, or give the server a certificate with this name"
            .to_owned(),
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "renew the server's certificate, then SELECT pg_reload_conf()".to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "set the clocks of the two machines; if they are right, the certificate is not valid yet".to_owned(),
        Error::AlertReceived(_) => {
            "the server refused the handshake: see its log (ssl_min_protocol_version; client certificates are not supported)".to_owned()
        }
        _ => format!("see the server's certificate and protocol settings; or, {trusted_network}"),
    };
    // It contains the text of our own verifier; rustls would show its debug form.
    let cause = match error {
        Error::InvalidCertificate(CertificateError::Other(words)) => words.to_string(),
        other => other.to_string(),
    };
    Finding::error(CHECK, what, cause, remedy)
}

fn unreachable(error: &io::Error, target: &Target) -> Finding {
    let text = error.to_string();
    let hosts = target.hosts.join(", ");
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Finding::error(
            CHECK,
            format!("nothing accepts connections at {hosts}"),
            format!("{text}: the machine answers, but no server listens on this port"),
            "start PostgreSQL; check the port, and listen_addresses in postgresql.conf (localhost alone is its default)",
        ),
        io::ErrorKind::NotFound => Finding::error(
            CHECK,
            format!("there is no socket {hosts}"),
            text,
            "start PostgreSQL; check the directory against SHOW unix_socket_directories, and the port; in a container the socket's \
             directory must be mounted",
        ),
        io::ErrorKind::PermissionDenied => Finding::error(
            CHECK,
            format!("this process may not open {hosts}"),
            text,
            "run it as a user who may open the socket (see unix_socket_permissions and unix_socket_group), or connect by TCP",
        ),
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            unanswered(text, target)
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Finding::error(
            CHECK,
            format!("{hosts} closes the connection during the handshake"),
            text,
            "check that it is PostgreSQL which listens there, not something else, and look at its log",
        ),
        _ if text.contains("lookup") || text.contains("not known") || text.contains("resolution") => {
            Finding::error(
                CHECK,
                format!("no such host: {hosts}"),
                text,
                "correct the host in ORW_DATABASE_URL; in a container, its network must resolve the name",
            )
        }
        _ => Finding::error(
            CHECK,
            format!("no connection to {hosts}"),
            text,
            "check that PostgreSQL listens there and that the network lets this machine connect",
        ),
    }
}

fn unanswered(text: String, target: &Target) -> Finding {
    Finding::error(
        CHECK,
        format!("{} does not answer", target.hosts.join(", ")),
        text,
        "check the host; a firewall between the two machines may drop the packets",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            hosts: vec!["db.example:5432".to_owned()],
            database: "nextcloud".to_owned(),
            user: "nextcloud".to_owned(),
            password: true,
        }
    }

    #[test]
    fn each_reason_of_the_network_has_its_remedy() {
        for (kind, word) in [
            (io::ErrorKind::ConnectionRefused, "start PostgreSQL"),
            (io::ErrorKind::NotFound, "unix_socket_directories"),
            (io::ErrorKind::TimedOut, "firewall"),
            (io::ErrorKind::PermissionDenied, "unix_socket_permissions"),
            (io::ErrorKind::UnexpectedEof, "not something else"),
        ] {
            let finding = unreachable(&io::Error::from(kind), &target());
            let remedy = finding.remedy.unwrap();
            assert!(remedy.contains(word), "{kind:?}: {remedy}");
        }
    }

    #[test]
    fn each_fault_of_a_certificate_has_its_remedy() {
        use rustls::{CertificateError, Error};
        for (fault, word) in [
            (CertificateError::UnknownIssuer, "ORW_CA_FILE"),
            (CertificateError::NotValidForName, "name that is in"),
            (CertificateError::Expired, "renew"),
            (CertificateError::NotValidYet, "clocks"),
        ] {
            let finding = tls_failed(&Error::InvalidCertificate(fault), &target());
            let remedy = finding.remedy.unwrap();
            assert!(remedy.contains(word), "{remedy}");
        }
    }
}
