//! What listens: the API, and the metrics.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::RunError;
use super::ground::Ground;
use crate::config::Settings;
use crate::ocs::{
    Api, Authenticator, DeliveryContext, ListenerTls, LocalAccounts, NextcloudAccounts, Server,
};
use crate::proxy::{Proxy, Upstream};
use crate::supervise::Supervisor;
use crate::telemetry::{self, Health};
use orw_egress::Guard;

pub(super) async fn start(ground: &Ground, supervisor: &mut Supervisor) -> Result<(), RunError> {
    if let Some(address) = ground.settings.metrics_listen {
        start_metrics(ground, address, supervisor).await?;
    }
    start_api(ground, supervisor).await
}

async fn start_metrics(
    ground: &Ground,
    address: SocketAddr,
    supervisor: &mut Supervisor,
) -> Result<(), RunError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen { address, source })?;
    let listener = Arc::new(listener);
    let health = Health::new(
        ground.metrics.clone(),
        ground.status.subscribe(),
        ground.board.clone(),
    );
    supervisor.start_simple("metrics", move |stop| {
        telemetry::serve(Arc::clone(&listener), health.clone(), stop)
    });
    Ok(())
}

async fn start_api(ground: &Ground, supervisor: &mut Supervisor) -> Result<(), RunError> {
    let settings = &ground.settings;
    let guard = Guard::new(settings.targets_allow.clone(), settings.targets_allow_http);
    let authenticator = authenticator(settings, ground.tls.clone())?;
    let api = Api::new(Arc::clone(&ground.registry), Arc::new(guard), authenticator)?.with_deliveries(
        DeliveryContext {
            pool: ground.pool.clone(),
            client: ground.client.clone(),
            table_prefix: Arc::clone(&ground.table_prefix),
        },
    );
    let address = settings.listen;
    let mut server = Server::bind(address, settings.trusted_proxies.clone())
        .await
        .map_err(|source| RunError::Listen { address, source })?;
    if let Some((certificate, key)) = &settings.tls {
        let tls = ListenerTls::load(certificate, key)?;
        server = server.with_tls(Arc::clone(&tls));
        supervisor.start_simple("certificate", move |stop| {
            let tls = Arc::clone(&tls);
            async move { tls.watch(stop).await }
        });
    }
    let api = Arc::new(api);
    supervisor.start_simple("api", move |stop| server.clone().serve(Arc::clone(&api), stop));
    Ok(())
}

/// Nextcloud tells who calls, where there is one; else the configuration does.
fn authenticator(settings: &Settings, tls: rustls::ClientConfig) -> Result<Authenticator, RunError> {
    let Some(url) = &settings.nextcloud_url else {
        return Ok(Authenticator::Standalone(LocalAccounts::new(
            &settings.admins,
            &[],
        )?));
    };
    if !settings.admins.is_empty() {
        tracing::warn!(
            "ORW_ADMINS is not used: with ORW_NEXTCLOUD_URL, Nextcloud says who is an administrator"
        );
    }
    let upstream = Upstream::new(url, tls, settings.connect_timeout, settings.nextcloud_timeout)?;
    let proxy = Proxy::new(Arc::new(upstream))?;
    Ok(Authenticator::Nextcloud(Arc::new(NextcloudAccounts::new(
        Arc::new(proxy),
    )?)))
}
