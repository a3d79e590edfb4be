//! Wires what listens: the API, and the listener for metrics and health.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::error::RunError;
use super::shared::Shared;
use crate::capture::CaptureStatus;
use crate::config::Settings;
use crate::console::{self, Console};
use crate::listener_tls::ListenerTls;
use crate::ocs::{Api, Authenticator, DeliveryContext, LocalAccounts, NextcloudAccounts, Server};
use crate::page::{Page, Sources};
use crate::proxy::{Proxy, Upstream};
use crate::supervise::{Board, Supervisor};
use crate::telemetry::{self, Health, Readiness};
use orw_egress::Guard;

/// The connections of the console alone.
const CONSOLE_POOL: usize = 3;

pub(super) async fn start(shared: &Shared, supervisor: &mut Supervisor) -> Result<(), RunError> {
    if let Some(address) = shared.settings.metrics_listen {
        start_metrics(shared, address, supervisor).await?;
    }
    start_api(shared, supervisor).await?;
    start_console(shared, supervisor).await
}

async fn start_metrics(
    shared: &Shared,
    address: SocketAddr,
    supervisor: &mut Supervisor,
) -> Result<(), RunError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen { address, source })?;
    let listener = Arc::new(listener);
    let (board, status) = (shared.board.clone(), shared.status.subscribe());
    let health = Health::new(shared.metrics.clone(), move || {
        readiness(&board, &status.borrow())
    });
    supervisor.start_simple("metrics", move |stop| {
        telemetry::serve(Arc::clone(&listener), health.clone(), stop)
    });
    Ok(())
}

/// The answer of `/readyz`: every part runs, and capture leads or stands by.
fn readiness(board: &Board, status: &CaptureStatus) -> Readiness {
    if let Some(reason) = board.down_now() {
        return Readiness { ready: false, reason };
    }
    let (ready, reason) = match status {
        CaptureStatus::Leading => (true, "leading".to_owned()),
        CaptureStatus::Standby => (true, "standby: another process leads".to_owned()),
        CaptureStatus::Away(reason) => (false, format!("capture is away: {reason}")),
        CaptureStatus::Held { .. } => (
            false,
            "held: this database was restored from another cluster; run `openregister-webhooks adopt --deliver` or `--discard`"
                .to_owned(),
        ),
    };
    Readiness { ready, reason }
}

async fn start_api(shared: &Shared, supervisor: &mut Supervisor) -> Result<(), RunError> {
    let settings = &shared.settings;
    let guard = Guard::new(settings.targets_allow.clone(), settings.targets_allow_http);
    let authenticator = authenticator(settings, shared.tls.clone())?;
    let api = Api::new(Arc::clone(&shared.registry), Arc::new(guard), authenticator)?.with_deliveries(
        DeliveryContext {
            pool: shared.pool.clone(),
            client: shared.client.clone(),
            traces: shared.traces.clone(),
            table_prefix: Arc::clone(&shared.table_prefix),
        },
    );
    let page = Page::new(Sources {
        inside: api.inside(),
        settings: Arc::clone(&shared.settings),
        database: shared.database.clone(),
        pool: shared.pool.clone(),
        feed: shared.feed.clone(),
        status: shared.status.subscribe(),
        stop: supervisor.shutdown().clone(),
    })?;
    let api = api.with_pages(Arc::new(page));
    let address = settings.listen;
    let mut server = Server::bind(address, settings.trusted_proxies.clone())
        .await
        .map_err(|source| RunError::Listen { address, source })?;
    if let Some((certificate, key)) = &settings.tls {
        let tls = ListenerTls::load_shown_by(certificate, key, shared.certificate_end.clone())?;
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

/// The SQL console, if it is asked for.
async fn start_console(shared: &Shared, supervisor: &mut Supervisor) -> Result<(), RunError> {
    let settings = &shared.settings;
    let Some(address) = settings.console_listen else {
        return Ok(());
    };
    let tls = match &settings.tls {
        None => None,
        Some((certificate, key)) => {
            let tls = ListenerTls::load_for(certificate, key, console::ALPN)?;
            let watched = Arc::clone(&tls);
            supervisor.start_simple("console_certificate", move |stop| {
                let tls = Arc::clone(&watched);
                async move { tls.watch(stop).await }
            });
            Some(tls)
        }
    };
    let context = console::Context {
        registry: Arc::clone(&shared.registry),
        pool: shared.database.pool(CONSOLE_POOL)?,
        client: shared.client.clone(),
        settings: settings.shown.clone(),
        feed: shared.feed.clone(),
        traces: shared.traces.clone(),
    };
    let console = Console::bind(
        address,
        &settings.console_users,
        settings.master_key.as_ref(),
        tls,
        console::Limits::default(),
        context,
    )
    .await
    .map_err(|source| RunError::Listen { address, source })?;
    supervisor.start_simple("console", move |stop| console.clone().serve(stop));
    Ok(())
}

/// Nextcloud says who a caller is if `ORW_NEXTCLOUD_URL` is set; otherwise the configuration does.
fn authenticator(settings: &Settings, tls: rustls::ClientConfig) -> Result<Authenticator, RunError> {
    let Some(url) = &settings.nextcloud_url else {
        return Ok(Authenticator::Standalone(LocalAccounts::new(
            &settings.admins,
            &settings.readers,
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
