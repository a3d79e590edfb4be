//! Connections that are kept for the next request.
//!
//! Guarantees: a connection serves only requests to the same scheme, host and port with the same client certificate; no
//! older than `MAX_AGE`, so that a name's new address is found; never after a request on it has failed. The number of idle ones is
//! bounded, and each is idle for `IDLE` at most (`idle`); besides them there is one for each request under way. What ends a connection
//! ends its task, whatever the peer does.

mod checked_out;
mod connection;
mod idle;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response};

pub(crate) use self::checked_out::CheckedOut;
pub(crate) use self::connection::NoResponse;
use self::connection::{Body, Key, open};
use self::idle::{Idle, Taken};
use crate::certificate::ClientCertificate;
use crate::connect::Connector;
use crate::target::Target;

/// The pool.
pub(crate) struct Pool {
    connector: Connector,
    idle: Arc<Idle>,
}

impl Pool {
    /// Keeps at most `most` idle connections.
    pub(crate) fn new(connector: Connector, most: usize) -> Self {
        Self {
            connector,
            idle: Idle::new(most),
        }
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Sends a request, over a kept connection, or over a new one if `fresh`. Whoever reads the body then says with the
    /// [`CheckedOut`] what becomes of the connection.
    pub(crate) async fn send(
        &self,
        target: &Target,
        identity: Option<&ClientCertificate>,
        request: Request<Body>,
        fresh: bool,
    ) -> Result<(Response<Incoming>, CheckedOut), NoResponse> {
        let key = Key {
            tls: target.tls,
            host: target.host.clone(),
            port: target.port,
            identity: identity.map(|identity| *identity.fingerprint()),
        };
        let busy = self.idle.busy(key);
        let taken = if fresh {
            Taken::New(None)
        } else {
            self.idle.take(busy.key()).await
        };
        let connection = match taken {
            Taken::Kept(connection) => connection,
            Taken::New(first) => {
                let connected = self.connector.connect(target, identity).await;
                let connected = connected.map_err(NoResponse::Connect)?;
                let meter = connected.meter.clone();
                let connection = open(connected)
                    .await
                    .map_err(|error| NoResponse::Failed(error, meter.fault_or_verdict(identity.is_some())))?;
                self.idle.opened(busy.key(), &connection);
                drop(first);
                connection
            }
        };
        let mut checked_out = CheckedOut {
            connection: Some(connection),
            busy,
        };
        let response = checked_out.send(request).await?;
        Ok((response, checked_out))
    }
}
